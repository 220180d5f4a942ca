"""paho-mqtt with waiting: every call returns when what it asked for has happened."""

import queue
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE_S = 20
V31, V311, V5 = paho.MQTTv31, paho.MQTTv311, paho.MQTTv5
VERSIONS = {"3.1": V31, "3.1.1": V311, "5": V5}


def properties(packet, **values):
    result = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(result, name, value)
    return result


class Client:
    """One client id; may connect, drop and connect again."""

    def __init__(self, broker, client_id, version=V311, clean=True, keepalive=60, manual_ack=False,
                 will=None, connect_properties=None):
        self.broker, self.version, self.clean, self.keepalive = broker, version, clean, keepalive
        self.connect_properties = connect_properties
        self.messages = queue.Queue()
        self.connected, self.disconnected = queue.Queue(), queue.Queue()
        self._acks, self._acks_changed = {}, threading.Condition()
        arguments = {} if version == V5 else {"clean_session": clean}
        self.paho = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id,
                                protocol=version, reconnect_on_failure=False,
                                manual_ack=manual_ack, **arguments)
        if will:
            self.paho.will_set(**will)
        self.paho.max_inflight_messages_set(20)
        self.paho.on_connect = lambda c, u, flags, reason, props: self.connected.put(
            (flags, reason, props))
        self.paho.on_disconnect = lambda c, u, flags, reason, props: self.disconnected.put(reason)
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda c, u, mid, codes, props: self._ack(("s", mid), codes)
        self.paho.on_unsubscribe = lambda c, u, mid, codes, props: self._ack(("u", mid), codes)
        self.paho.on_publish = lambda c, u, mid, code, props: self._ack(("p", mid), code)

    def _ack(self, key, value):
        with self._acks_changed:
            self._acks[key] = value
            self._acks_changed.notify_all()

    def _wait_ack(self, key):
        with self._acks_changed:
            if not self._acks_changed.wait_for(lambda: key in self._acks, DEADLINE_S):
                raise AssertionError(f"no acknowledgement {key}")
            return self._acks.pop(key)

    def connect(self):
        """Connects and waits for the CONNACK; returns self."""
        arguments = {}
        if self.version == V5:
            arguments = {"clean_start": self.clean, "properties": self.connect_properties}
        self.paho.connect("127.0.0.1", self.broker.port, self.keepalive, **arguments)
        self.paho.loop_start()
        flags, self.reason, self.connack = self.connected.get(timeout=DEADLINE_S)
        self.session_present = flags.session_present
        return self

    def subscribe(self, filters, qos=0, options=None, **subscribe_properties):
        """Returns the reason codes as numbers."""
        if isinstance(filters, str):
            filters = [filters]
        if self.version == V5:
            topics = [(f, options or SubscribeOptions(qos=qos)) for f in filters]
            props = properties("SUBSCRIBE", **subscribe_properties) if subscribe_properties else None
            result, mid = self.paho.subscribe(topics, properties=props)
        else:
            result, mid = self.paho.subscribe([(f, qos) for f in filters])
        assert result == paho.MQTT_ERR_SUCCESS
        return [code.value for code in self._wait_ack(("s", mid))]

    def unsubscribe(self, filters):
        result, mid = self.paho.unsubscribe(filters)
        assert result == paho.MQTT_ERR_SUCCESS
        return [code.value for code in self._wait_ack(("u", mid))]

    def publish(self, topic, payload=b"", qos=0, retain=False, **publish_properties):
        """Publishes without waiting; returns the message id."""
        props = properties("PUBLISH", **publish_properties) if publish_properties else None
        info = self.paho.publish(topic, payload, qos, retain, properties=props)
        assert info.rc in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_QUEUE_SIZE), info.rc
        return info.mid

    def publish_all(self, messages):
        """Publishes (topic, payload, qos) and waits until all are acknowledged."""
        mids = [self.publish(*message) for message in messages]
        for mid in mids:
            self._wait_ack(("p", mid))

    def publish_and_wait(self, *arguments, **keywords):
        """Returns the reason code as a number."""
        code = self._wait_ack(("p", self.publish(*arguments, **keywords)))
        return getattr(code, "value", 0)

    def next(self, seconds=DEADLINE_S):
        try:
            return self.messages.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError("no message") from None

    def take(self, count):
        return [self.next() for _ in range(count)]

    def payloads(self, count):
        return [message.payload for message in self.take(count)]

    def until(self, topic):
        """The messages before the one with this topic."""
        messages = []
        while True:
            message = self.next()
            if message.topic == topic:
                return messages
            messages.append(message)

    def disconnect(self, **disconnect_properties):
        if self.version == V5 and disconnect_properties:
            code = disconnect_properties.pop("reason", None)
            props = properties("DISCONNECT", **disconnect_properties)
            self.paho.disconnect(reasoncode=code, properties=props)
        else:
            self.paho.disconnect()
        self.paho.loop_stop()

    def cut(self):
        """Closes the socket without DISCONNECT and waits until the thread has ended."""
        connection = self.paho.socket()
        if connection:
            try:
                connection.shutdown(2)
            except OSError:
                pass
        self.wait_disconnected()
        self.paho.loop_stop()

    def wait_disconnected(self):
        """Waits for the end of the connection; returns the reason code as a number."""
        try:
            reason = self.disconnected.get(timeout=DEADLINE_S)
        except queue.Empty:
            raise AssertionError("not disconnected") from None
        return reason.value

    def close(self):
        try:
            self.paho.disconnect()
        finally:
            self.paho.loop_stop()


def eventually(condition, seconds=DEADLINE_S):
    """Waits for a condition that no event tells."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
