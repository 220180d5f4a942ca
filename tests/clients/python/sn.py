"""A client of MQTT-SN 1.2 written by hand: one datagram at a time, and every answer is looked at."""

import socket
import struct

WAIT_S = 10

ADVERTISE, SEARCHGW, GWINFO = 0x00, 0x01, 0x02
CONNECT, CONNACK = 0x04, 0x05
WILLTOPICREQ, WILLTOPIC, WILLMSGREQ, WILLMSG = 0x06, 0x07, 0x08, 0x09
REGISTER, REGACK = 0x0A, 0x0B
PUBLISH, PUBACK, PUBCOMP, PUBREC, PUBREL = 0x0C, 0x0D, 0x0E, 0x0F, 0x10
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 0x12, 0x13, 0x14, 0x15
PINGREQ, PINGRESP, DISCONNECT = 0x16, 0x17, 0x18
WILLTOPICUPD, WILLTOPICRESP, WILLMSGUPD, WILLMSGRESP = 0x1A, 0x1B, 0x1C, 0x1D
FORWARDED = 0xFE

NORMAL, PREDEFINED, SHORT = 0, 1, 2
DUP, RETAIN, WILL, CLEAN = 0x80, 0x10, 0x08, 0x04


def message(kind, body=b""):
    length = 2 + len(body)
    if length < 256:
        return bytes([length, kind]) + body
    return b"\x01" + struct.pack(">HB", length + 2, kind) + body


def flags(qos=0, retain=False, dup=False, topic_type=NORMAL):
    return (qos & 3) << 5 | (RETAIN if retain else 0) | (DUP if dup else 0) | topic_type


class Sn:
    """One client at a port of its own; `node` is its id behind a forwarder at that port."""

    def __init__(self, port, client_id="", node=None):
        self.client_id = client_id.encode()
        self.node = node
        self.next_id = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(WAIT_S)

    def close(self):
        self.socket.close()

    def send(self, kind, body=b""):
        self.raw(message(kind, body))

    def raw(self, datagram):
        if self.node is not None:
            datagram = bytes([3 + len(self.node), FORWARDED, 0]) + self.node + datagram
        self.socket.send(datagram)

    def receive(self):
        """The next message as its type and body."""
        datagram = self.socket.recv(65536)
        if self.node is not None:
            length = datagram[0]
            assert datagram[1] == FORWARDED and datagram[3:length] == self.node, datagram
            datagram = datagram[length:]
        if datagram[0] == 1:
            length, kind = struct.unpack(">HB", datagram[1:4])
            assert length == len(datagram), datagram
            return kind, datagram[4:]
        assert datagram[0] == len(datagram), datagram
        return datagram[1], datagram[2:]

    def expect(self, kind, body=None):
        found, rest = self.receive()
        assert found == kind and body in (None, rest), (hex(found), rest)
        return rest

    def expect_nothing(self):
        """Everything that was sent has been handled, and nothing was answered to it: the next answer is that of
        another request."""
        self.send(PINGREQ)
        self.expect(PINGRESP)

    def connect(self, clean=True, will=None, duration=60, code=0):
        has_will = WILL if will else 0
        terms = bytes([has_will | (CLEAN if clean else 0), 1]) + struct.pack(">H", duration)
        self.send(CONNECT, terms + self.client_id)
        if will:
            topic, payload, will_flags = will
            self.expect(WILLTOPICREQ, b"")
            self.send(WILLTOPIC, bytes([will_flags]) + topic)
            self.expect(WILLMSGREQ, b"")
            self.send(WILLMSG, payload)
        self.expect(CONNACK, bytes([code]))
        return self

    def fresh(self):
        self.next_id += 1
        return self.next_id

    def register(self, topic, code=0):
        number = self.fresh()
        self.send(REGISTER, struct.pack(">HH", 0, number) + topic)
        topic_id, answered, found = struct.unpack(">HHB", self.expect(REGACK))
        assert (answered, found) == (number, code)
        return topic_id

    def publish(self, topic_id, payload, qos=0, topic_type=NORMAL, code=0, **more):
        number = self.fresh() if qos > 0 else 0
        if isinstance(topic_id, int):
            topic_id = struct.pack(">H", topic_id)
        head = bytes([flags(qos, topic_type=topic_type, **more)]) + topic_id
        self.send(PUBLISH, head + struct.pack(">H", number) + payload)
        if qos == 1 or code:
            self.expect(PUBACK, topic_id + struct.pack(">HB", number, code))
        elif qos == 2:
            self.expect(PUBREC, struct.pack(">H", number))
            self.send(PUBREL, struct.pack(">H", number))
            self.expect(PUBCOMP, struct.pack(">H", number))

    def subscribe(self, topic, qos=0, topic_type=NORMAL, code=0):
        """Returns the topic id that the gateway names."""
        number = self.fresh()
        if isinstance(topic, int):
            topic = struct.pack(">H", topic)
        self.send(SUBSCRIBE, bytes([flags(qos, topic_type=topic_type)]) + struct.pack(">H", number) + topic)
        granted, topic_id, answered, found = struct.unpack(">BHHB", self.expect(SUBACK))
        assert (answered, found) == (number, code)
        assert granted == (flags(qos) if code == 0 else 0)
        return topic_id

    def unsubscribe(self, topic, topic_type=NORMAL):
        number = self.fresh()
        self.send(UNSUBSCRIBE, bytes([topic_type]) + struct.pack(">H", number) + topic)
        self.expect(UNSUBACK, struct.pack(">H", number))

    def take(self, answer=True):
        """The next PUBLISH as flags, topic id, message id and payload; acknowledged."""
        body = self.expect(PUBLISH)
        found, topic_id, number = struct.unpack(">BHH", body[:5])
        qos = found >> 5 & 3
        if answer and qos == 1:
            self.send(PUBACK, struct.pack(">HHB", topic_id, number, 0))
        elif answer and qos == 2:
            self.send(PUBREC, struct.pack(">H", number))
            self.expect(PUBREL, struct.pack(">H", number))
            self.send(PUBCOMP, struct.pack(">H", number))
        return found, topic_id, number, body[5:]

    def take_registration(self, code=0):
        """The next REGISTER as its id and topic; answered."""
        body = self.expect(REGISTER)
        topic_id, number = struct.unpack(">HH", body[:4])
        self.send(REGACK, struct.pack(">HHB", topic_id, number, code))
        return topic_id, body[4:]

    def sleep(self, duration):
        self.send(DISCONNECT, struct.pack(">H", duration))
        self.expect(DISCONNECT, b"")

    def wake(self):
        self.send(PINGREQ, self.client_id)

    def disconnect(self):
        self.send(DISCONNECT)
        self.expect(DISCONNECT, b"")
