"""A Sparkplug host application by pysparkplug, as a process: port and name are its arguments. It leaves when its
standard input ends."""

import sys

from pysparkplug import Client, Message, MessageType, QoS, State, Topic, get_current_timestamp

PORT, NAME = sys.argv[1:]
SINCE = get_current_timestamp()


def state(online, timestamp):
    topic = Topic(message_type=MessageType.STATE, sparkplug_host_id=NAME)
    return Message(topic=topic, payload=State(timestamp, online), qos=QoS.AT_LEAST_ONCE, retain=True)


client = Client(client_id=NAME)
client.set_will(state(False, SINCE))
# Its birth has the timestamp of its will (tck-id-host-topic-phid-birth-payload-timestamp).
client.connect("127.0.0.1", port=int(PORT), callback=lambda connected: connected.publish(state(True, SINCE)))
sys.stdin.read()
client.publish(state(False, get_current_timestamp()))
client.disconnect()
