"""MQTT-SN over UDP: a client by hand for each statement, one of another maker, and MQTT clients on the other side.

Names like SN-30 are those of docs/mqtt-sn.md."""

import json
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from admin import Admin
from broker import free_port
from client import VERSIONS, Client, eventually
from sn import (
    ADVERTISE, CLEAN, CONNACK, CONNECT, DISCONNECT, DUP, GWINFO, NORMAL, PINGREQ, PINGRESP, PREDEFINED, PUBACK, PUBCOMP, PUBLISH,
    PUBREC, PUBREL, REGACK, REGISTER, RETAIN, SEARCHGW, SHORT, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, WILLMSG,
    WILLMSGREQ, WILLMSGRESP, WILLMSGUPD, WILLTOPIC, WILLTOPICREQ, WILLTOPICRESP, WILLTOPICUPD, Sn, flags, message,
)
from test_metrics import samples
from test_mqload_kubernetes import MQLOAD

pytestmark = pytest.mark.ringmq

LISTENER = """
[[listener]]
address = "127.0.0.1:{port}"
transport = "udp"
protocol = "mqtt-sn"
"""


def free_udp_port():
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture
def start_sn(start, tmp_path):
    """Starts brokers with a listener of MQTT-SN, whose port is `sn_port`; `more` are lines of its table."""

    def run(shards=2, more="", top="", **options):
        port = free_udp_port()
        config = tmp_path / f"{port}.toml"
        config.write_text(top + LISTENER.format(port=port) + more, encoding="utf-8")
        broker = start(shards, config=str(config), **options)
        broker.sn_port = port
        return broker

    return run


@pytest.fixture(scope="module", params=[1, 2], ids=lambda n: f"shards{n}")
def sn_broker(request, tmp_path_factory):
    """A broker with default options, shared by tests."""
    from broker import Broker

    port = free_udp_port()
    config = tmp_path_factory.mktemp("sn") / "ringmq.toml"
    config.write_text(LISTENER.format(port=port), encoding="utf-8")
    running = Broker(request.param, config=str(config))
    running.sn_port = port
    yield running
    assert running.is_running(), running.log()
    running.close()


@pytest.fixture
def sn(sn_broker, name):
    """Makes clients of MQTT-SN; the client id gets the test's name in front."""
    made = []

    def make(client_id, to=None, node=None):
        made.append(Sn((to or sn_broker).sn_port, f"{name}-{client_id}", node))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def mqtt(sn_broker, name):
    made = []

    def make(client_id, version="3.1.1", to=None, **options):
        one = Client(to or sn_broker, f"{name}-{client_id}", VERSIONS[version], **options)
        made.append(one)
        return one.connect()

    yield make
    for one in made:
        one.close()


# conformance: SN-24 SN-39 SN-57 SN-60 SN-72 SN-76
def test_the_walk(sn, mqtt, name):
    """CONNECT, REGISTER, PUBLISH at each QoS, SUBSCRIBE, PINGREQ, DISCONNECT [SN-24, 39, 57, 60, 72, 76]."""
    topic = f"{name}/t"
    listener = mqtt("listener")
    listener.subscribe(topic, 2)
    one = sn("one").connect()
    topic_id = one.register(topic.encode())
    assert topic_id not in (0, 0xFFFF)
    assert one.register(topic.encode()) == topic_id  # SN-40
    for qos in (0, 1, 2):
        one.publish(topic_id, b"up%d" % qos, qos)
    assert [m.payload for m in listener.take(3)] == [b"up0", b"up1", b"up2"]
    other = sn("other").connect()
    assert other.subscribe(topic.encode(), 2) not in (0, 0xFFFF)
    for qos in (0, 1, 2):
        listener.publish(topic, b"down%d" % qos, qos)
        found, _, _, payload = other.take()
        assert (found >> 5, payload) == (qos, b"down%d" % qos)
    one.send(PINGREQ)
    one.expect(PINGRESP, b"")
    other.unsubscribe(topic.encode())
    listener.publish(topic, b"unheard", 1)
    other.expect_nothing()
    one.disconnect()
    one.send(PINGREQ)
    one.expect(DISCONNECT, b"")  # it is no client any more [SN-77]


# conformance: SN-42 SN-43 SN-61
def test_wildcards_are_registered_before_they_deliver(sn, mqtt, name):
    """SN-42, 43, 61: REGISTER, then REGACK, then PUBLISH."""
    one = sn("one").connect()
    assert one.subscribe(f"{name}/+".encode(), 1) == 0
    sender = mqtt("sender")
    sender.publish(f"{name}/a", b"1", 1)
    topic_id, topic = one.take_registration()
    assert topic == f"{name}/a".encode()
    assert one.take()[1:] == (topic_id, 1, b"1")
    sender.publish(f"{name}/a", b"2", 1)
    assert one.take()[1] == topic_id
    # Refused: dropped, and the topic is never tried again; others go on [SN-45, 46].
    sender.publish(f"{name}/b", b"3", 2)
    assert one.take_registration(code=3)[1] == f"{name}/b".encode()
    sender.publish(f"{name}/b", b"4", 1)
    sender.publish(f"{name}/a", b"5", 2)
    found, taken, _, payload = one.take()
    assert (found >> 5, taken, payload) == (1, topic_id, b"5")


def test_short_names_need_no_registration(sn, mqtt):
    """SN-54, 55, 62."""
    one = sn("one").connect()
    assert one.subscribe(b"zq", 1, SHORT) == 0
    one.publish(b"zq", b"self", 1, SHORT)
    found, topic, _, payload = one.take()
    assert (found & 3, topic.to_bytes(2, "big"), payload) == (SHORT, b"zq", b"self")
    one.publish(b"a#", b"", 1, SHORT, code=2)
    one.publish(b"\xff\xfe", b"", 1, SHORT, code=2)


def test_unknown_ids_are_refused_at_every_qos(sn):
    """SN-47, 48."""
    one = sn("one").connect()
    for qos in (0, 1, 2):
        one.publish(77, b"", qos, code=2)
        one.publish(77, b"", qos, PREDEFINED, code=2)
    assert one.register(b"a/+", code=3) == 0
    assert one.subscribe(b"a/#/b", code=3) == 0


# conformance: SN-25 SN-73
def test_the_will_is_asked_for_and_published_when_its_client_is_lost(sn, mqtt, name):
    """SN-25, 73: silence for longer than its duration."""
    listener = mqtt("listener")
    listener.subscribe(f"{name}/will", 1)
    sn("one").connect(will=(f"{name}/will".encode(), b"gone", flags(1)), duration=1)
    assert [m.payload for m in listener.take(1)] == [b"gone"]


# conformance: SN-30 SN-32 SN-34
def test_the_will_stays_with_the_session_and_can_be_changed(sn, mqtt, name):
    """SN-30 to 34: WILLTOPICUPD and WILLMSGUPD; a CONNECT without a will keeps the stored one."""
    listener = mqtt("listener")
    listener.subscribe(f"{name}/#", 1)
    one = sn("one").connect(clean=False, will=(f"{name}/w1".encode(), b"one", flags(1)))
    one.send(WILLTOPICUPD, bytes([flags(1)]) + f"{name}/w2".encode())
    one.expect(WILLTOPICRESP, b"\0")
    one.send(WILLMSGUPD, b"two")
    one.expect(WILLMSGRESP, b"\0")
    one.disconnect()  # not published, and kept
    one.connect(clean=False, duration=1)
    found = listener.take(1)[0]
    assert (found.topic, found.payload) == (f"{name}/w2", b"two")
    other = sn("other").connect()
    other.send(WILLMSGUPD, b"no topic")
    other.expect(WILLMSGRESP, b"\3")


# conformance: SN-31 SN-33
def test_a_will_can_be_taken_back(sn, mqtt, name):
    """SN-31, 33: an empty WILLTOPIC, an empty WILLTOPICUPD."""
    listener = mqtt("listener")
    listener.subscribe(f"{name}/#", 1)
    one = sn("one")
    one.send(CONNECT, bytes([0x0C, 1, 0, 1]) + one.client_id)
    one.expect(WILLTOPICREQ)
    one.send(WILLTOPIC)
    one.expect(CONNACK, b"\0")
    two = sn("two").connect(will=(f"{name}/w".encode(), b"two", 0), duration=1)
    two.send(WILLTOPICUPD)
    two.expect(WILLTOPICRESP, b"\0")
    sn("three").connect(will=(f"{name}/w".encode(), b"three", 0), duration=2)
    assert [m.payload for m in listener.take(1)] == [b"three"]  # the others are lost by now


# conformance: SN-79 SN-80 SN-81 SN-82 SN-83 SN-85
def test_messages_wait_while_their_client_sleeps(sn, mqtt, name):
    """SN-79 to 83: all of them come before PINGRESP, QoS 0, too, and those acknowledged after it."""
    topic = f"{name}/t"
    one = sn("one").connect()
    topic_id = one.subscribe(topic.encode(), 2)
    one.sleep(60)
    sender = mqtt("sender")
    messages = [(topic, b"m%d" % number, qos) for number, qos in enumerate((0, 1, 2, 1))]
    for _ in range(2):  # nothing comes twice
        sender.publish_all(messages)
        one.wake()
        for _, payload, _ in messages:
            assert one.take()[1:4:2] == (topic_id, payload)
        one.expect(PINGRESP, b"")
        one.wake()
        one.expect(PINGRESP, b"")
    sender.publish_all(messages)
    one.connect(clean=False)  # back to active [SN-85, 86]
    # It may have started anew, and is told each id again.
    assert one.take_registration() == (topic_id, topic.encode())
    assert [one.take()[3] for _ in messages] == [payload for _, payload, _ in messages]


# conformance: SN-80
def test_a_sleeper_that_does_not_wake_is_lost(sn, mqtt, name):
    """SN-80."""
    listener = mqtt("listener")
    listener.subscribe(f"{name}/will", 1)
    one = sn("one").connect(will=(f"{name}/will".encode(), b"gone", 0), duration=1)
    one.sleep(2)
    assert [m.payload for m in listener.take(1)] == [b"gone"]
    one.wake()
    one.expect(DISCONNECT, b"")  # SN-91


def test_a_wrong_id_wakes_nobody(sn):
    one = sn("one").connect()
    one.sleep(60)
    one.send(PINGREQ, b"other")
    one.expect(DISCONNECT, b"")
    one.wake()
    one.expect(PINGRESP, b"")


# conformance: SN-58 SN-92 SN-93
def test_what_is_not_answered_is_sent_again(start_sn, mqtt, sn, name):
    """SN-58, 92, 93: one outstanding message, repeated with DUP and its id, then the client is lost."""
    broker = start_sn(more='sn-retry = "1s"\nsn-retries = 2\n')
    topic = f"{name}/t"
    one = sn("one", to=broker).connect(clean=False, will=(f"{name}/will".encode(), b"gone", 0))
    topic_id = one.subscribe(topic.encode(), 1)
    sender = mqtt("sender", to=broker)
    sender.subscribe(f"{name}/will", 1)
    sender.publish_all([(topic, b"1", 1), (topic, b"2", 1)])
    first = one.take(answer=False)
    for _ in range(2):
        again = one.take(answer=False)
        assert again == (first[0] | DUP, *first[1:])
    assert sender.next().payload == b"gone"
    one.send(PINGREQ)
    one.expect(DISCONNECT, b"")
    one.connect(clean=False)
    assert one.take_registration()[0] == topic_id
    assert [one.take()[3], one.take()[3]] == [b"1", b"2"]  # the session kept both


def test_a_session_is_kept_and_taken_over(sn, mqtt, name):
    """One client id, one session: an MQTT client takes it over, with what waits in it."""
    topic = f"{name}/t"
    one = sn("one").connect(clean=False)
    one.subscribe(topic.encode(), 1)
    one.disconnect()
    mqtt("sender").publish_and_wait(topic, b"kept", 1)
    heir = mqtt("one", clean=False)
    assert [m.payload for m in heir.take(1)] == [b"kept"]
    heir.publish_and_wait(f"{name}/x", b"", 1)  # what it has acknowledged before is known
    one.connect(clean=False)
    mqtt("sender2").publish(topic, b"mine", 1)
    assert one.take_registration()[1] == topic.encode()
    assert one.take()[3] == b"mine"
    mqtt("one", clean=False)
    one.expect(DISCONNECT, b"")


# conformance: SN-52 SN-53
def test_predefined_ids(start_sn, sn, mqtt, name, tmp_path):
    """SN-52, 53: of all clients and of one; a subscription by id is delivered by it."""
    file = tmp_path / "topics.csv"
    file.write_text(f"*, {name}/all, 1\n{name}-one, {name}/own, 1\n", encoding="utf-8")
    broker = start_sn(more=f'sn-predefined = "{file}"\n')
    listener = mqtt("listener", to=broker)
    listener.subscribe(f"{name}/+", 1)
    one = sn("one", to=broker).connect()
    two = sn("two", to=broker).connect()
    one.publish(1, b"1", 1, PREDEFINED)
    two.publish(1, b"2", 1, PREDEFINED)
    found = [(m.topic, m.payload) for m in listener.take(2)]
    assert found == [(f"{name}/own", b"1"), (f"{name}/all", b"2")]
    assert two.subscribe(1, 1, PREDEFINED) == 1
    assert one.subscribe(9, 1, PREDEFINED, code=2) == 0
    listener.publish(f"{name}/all", b"down", 1)
    found, topic_id, _, payload = two.take()
    assert (found & 3, topic_id, payload) == (PREDEFINED, 1, b"down")


def test_a_predefined_file_that_is_wrong_is_told_at_the_start(tmp_path):
    from broker import BINARY

    file = tmp_path / "topics.csv"
    file.write_text("*, a/b, 1\n*, a/#, 2\n", encoding="utf-8")
    config = tmp_path / "ringmq.toml"
    more = f'sn-predefined = "{file}"\n'
    config.write_text(LISTENER.format(port=1) + more, encoding="utf-8")
    run = subprocess.run([BINARY, "--config", config, "--check-config"], capture_output=True, text=True, check=False)
    assert run.returncode != 0 and 'line 2: "a/#" is not a topic' in run.stderr + run.stdout


# conformance: SN-96 SN-97
def test_nodes_behind_a_forwarder_are_clients_of_their_own(start_sn, sn, mqtt, name):
    """SN-96, 97: one address, two nodes, and the forwarder's own traffic."""
    broker = start_sn(more="sn-forwarders = true\n")
    listener = mqtt("listener", to=broker)
    listener.subscribe(f"{name}/t", 1)
    one = sn("one", to=broker, node=b"n1")
    two = sn("two", to=broker, node=b"node-2")
    two.socket.close()
    two.socket = one.socket
    one.connect()
    two.connect()
    for client, payload in ((one, b"1"), (two, b"2")):
        client.publish(client.register(f"{name}/t".encode()), payload, 1)
    assert sorted(m.payload for m in listener.take(2)) == [b"1", b"2"]
    one.disconnect()
    two.expect_nothing()
    one.socket.send(bytes([5, 0xFE, 0, 65, 66]) + bytes([4, 0xFE, 0, 65]) + message(PINGREQ))  # nested
    two.expect_nothing()


# conformance: SN-77 SN-78 SN-4
def test_strangers_are_told_to_connect_and_get_no_more_than_they_sent(sn):
    """SN-77, 78: and only once in a second; nothing is answered to what answers, nor to what is malformed."""
    one = sn("one")
    one.send(PUBLISH, b"\0\0\1\0\0x")
    one.expect(DISCONNECT, b"")
    one.send(PUBLISH, b"\0\0\1\0\0x")
    one.send(PUBACK, b"\0\1\0\1\0")
    one.send(DISCONNECT)
    for datagram in (b"", b"\0", b"\1", b"\1\0\2", b"\5\x04\0", b"\3\x03\0", b"\2\xfe", b"\xff" * 300):
        one.raw(datagram)
    one.connect()  # the next that is answered


def test_a_connect_that_cannot_be_taken_is_refused(sn):
    """SN-12, 13, 26."""
    one = sn("one")
    one.send(CONNECT, bytes([4, 2, 0, 60]) + one.client_id)
    one.expect(CONNACK, b"\3")
    one.send(CONNECT, bytes([4, 1, 0, 60]))
    one.expect(CONNACK, b"\3")
    one.connect()


def test_a_second_connect_in_each_state(sn, name):
    """SN-36: a repeat is answered again; another id at the same address is another client."""
    one = sn("one").connect()
    one.connect()
    topic_id = one.register(f"{name}/t".encode())
    one.publish(topic_id, b"", 1)
    one.client_id += b"-other"
    one.connect()
    one.publish(topic_id, b"", 1, code=2)  # its table is its own [SN-41]
    one.send(CONNECT, bytes([0x0C, 1, 0, 60]) + one.client_id)
    one.expect(WILLTOPICREQ)
    one.send(CONNECT, bytes([0x0C, 1, 0, 60]) + one.client_id)
    one.expect(WILLTOPICREQ)
    one.send(WILLMSG, b"too early")
    one.send(PUBLISH, b"\0\0\1\0\0x")
    one.send(WILLTOPIC, b"\0" + name.encode())
    one.expect(WILLMSGREQ)
    one.connect()


# conformance: SN-26 SN-38
def test_clients_beyond_the_limit_of_a_listener_are_told_of_congestion(start_sn, sn):
    """Who is there stays, and whoever comes has a place when one has gone."""
    broker = start_sn(more="connections-max = 2\n")
    clients = [sn(text, to=broker) for text in ("one", "two", "three")]
    one, two, three = clients
    one.connect()
    two.connect().sleep(60)
    for _ in range(3):
        three.connect(code=1)
    one.expect_nothing()
    two.wake()
    two.expect(PINGRESP)
    one.disconnect()
    eventually(lambda: connack_of(three) == b"\0")


def connack_of(client):
    client.send(CONNECT, bytes([CLEAN, 1, 0, 60]) + client.client_id)
    return client.expect(CONNACK)


def test_a_source_is_read_at_its_rate_and_no_longer_held_up_afterwards(start_sn, sn):
    broker = start_sn(more="sn-datagram-rate-source = 10\n")
    one = sn("one", to=broker).connect()
    for _ in range(100):
        one.send(PINGREQ)
    answers = 0
    one.socket.settimeout(0.5)
    try:
        while one.receive()[0] == PINGRESP:
            answers += 1
    except TimeoutError:
        pass
    # A burst of one second, and what passed meanwhile.
    assert 5 <= answers <= 30, answers
    time.sleep(1)
    one.socket.settimeout(5)
    one.expect_nothing()


# conformance: SN-66 SN-67
def test_a_repeated_request_is_answered_again_and_not_acted_upon(sn, mqtt, name):
    """SN-66: retained messages come once."""
    topic = f"{name}/t"
    mqtt("sender").publish_and_wait(topic, b"kept", 1, retain=True)
    one = sn("one").connect()
    request = bytes([flags(1)]) + struct.pack(">H", 9) + topic.encode()
    one.send(SUBSCRIBE, request)
    first = one.expect(SUBACK)
    assert one.take()[0] & RETAIN
    one.send(SUBSCRIBE, request)
    assert one.expect(SUBACK) == first
    one.expect_nothing()
    for _ in range(2):
        one.send(UNSUBSCRIBE, request)
        one.expect(UNSUBACK, b"\0\t")


# conformance: SN-51
def test_an_id_that_its_client_has_lost_is_registered_again(sn, mqtt, name):
    """SN-51: PUBACK with code 2, then REGISTER, then the same message with DUP."""
    topic = f"{name}/t"
    one = sn("one").connect()
    topic_id = one.subscribe(topic.encode(), 1)
    mqtt("sender").publish(topic, b"m", 1)
    first = one.take(answer=False)
    one.send(PUBACK, struct.pack(">HHB", topic_id, first[2], 2))
    assert one.take_registration() == (topic_id, topic.encode())
    assert one.take() == (first[0] | DUP, *first[1:])
    one.expect_nothing()


# conformance: SN-3 SN-56
def test_messages_of_more_than_255_octets_and_too_large_ones(sn, mqtt, name):
    """SN-3, 56: the long form; what does not fit a datagram is dropped, and what follows comes."""
    topic = f"{name}/t"
    one = sn("one").connect()
    topic_id = one.subscribe(topic.encode(), 2)
    one.publish(topic_id, b"x" * 900, 1)
    assert one.take()[3] == b"x" * 900
    sender = mqtt("sender")
    for qos in (0, 1, 2):
        sender.publish(topic, b"y" * 2000, qos)
    sender.publish(topic, b"fits", 2)
    assert one.take()[3] == b"fits"
    one.raw(message(PUBLISH, b"\0" * 5 + b"x" * 2000))
    one.expect_nothing()


def test_a_gateway_is_found(sn):
    """SN-19, with the asker's own address in place of a broadcast."""
    one = sn("one")
    one.send(SEARCHGW, b"\0")
    one.expect(GWINFO, b"\1")


# conformance: SN-17 SN-19 SN-23
@pytest.mark.parametrize("shards", [1, 2])
def test_a_gateway_is_found_in_a_group(start_sn, sn, shards):
    """SN-17, 19, 23: ADVERTISE at the start; a search in the group is answered once there and once to the asker, from the
    address where the gateway is."""
    group = ("239.255.77.77", free_udp_port())
    own = socket.inet_aton("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as member:
        member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        member.bind(group)
        member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group[0]) + own)
        member.settimeout(10)
        more = f'sn-gateway-id = 7\nsn-multicast = "{group[0]}:{group[1]}"\nsn-advertise = 1000\n'
        broker = start_sn(shards, more=more)
        gateway = ("127.0.0.1", broker.sn_port)
        assert member.recvfrom(99) == (message(ADVERTISE, b"\7" + struct.pack(">H", 1000)), gateway)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            asker.settimeout(10)
            search = message(SEARCHGW, b"\1")
            for _ in range(2):
                asker.sendto(search, group)
                assert asker.recvfrom(99) == (message(GWINFO, b"\7"), gateway)
                found = [member.recvfrom(99) for _ in range(2)]
                assert found == [(search, ("127.0.0.1", asker.getsockname()[1])), (message(GWINFO, b"\7"), gateway)]
        sn("one", to=broker).connect()
        member.settimeout(0.3)
        with pytest.raises(TimeoutError):
            member.recv(99)


# conformance: SN-90
def test_a_client_wakes_elsewhere_only_where_that_is_allowed(start_sn, sn, mqtt, name):
    """SN-90."""
    topic = f"{name}/t"
    for more, is_allowed in (("", False), ('sn-address-change = "asleep"\n', True)):
        broker = start_sn(more=more)
        one = sn("one", to=broker).connect()
        topic_id = one.subscribe(topic.encode(), 1)
        one.sleep(60)
        mqtt(f"sender{is_allowed}", to=broker).publish_and_wait(topic, b"m", 1)
        moved = sn("one", to=broker)
        moved.wake()
        if is_allowed:
            assert moved.take()[1:] == (topic_id, 1, b"m")
            moved.expect(PINGRESP, b"")
            one.wake()  # and back
            one.expect(PINGRESP, b"")
        else:
            moved.expect(DISCONNECT, b"")
            one.wake()
            assert one.take()[3] == b"m"


def test_a_client_of_another_maker(sn_broker, mqtt, name):
    """mqtt-sn-12: publishes at each QoS, and a subscriber of it."""
    topic = f"{name}/t"
    tools = ["-h", "127.0.0.1", "-p", str(sn_broker.sn_port)]
    folder = sys.executable.rsplit("/", 1)[0]
    listener = mqtt("listener")
    listener.subscribe(topic, 2)
    for qos in (0, 1, 2):
        command = [f"{folder}/mqtt_sn_pub", *tools, "-t", topic, "-m", f"m{qos}", "-q", str(qos), "-i", f"pub-{name[-8:]}"]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert [m.payload for m in listener.take(3)] == [b"m0", b"m1", b"m2"]


# conformance: SN-68 SN-69
def test_publications_without_a_connection(start_sn, sn, mqtt, name, tmp_path):
    """SN-68, 69: off by default, under a user of their own, and never answered; counted by reason."""
    file = tmp_path / "topics.csv"
    file.write_text(f"*, {name}/t, 1\n", encoding="utf-8")
    predefined = f'sn-predefined = "{file}"\n'
    broker = start_sn(more=predefined + 'sn-qos-minus-one = "sensors"\n')
    listener = mqtt("listener", to=broker)
    listener.subscribe([f"{name}/t", "zq"], 1)
    one = sn("one", to=broker)
    one.publish(b"zz", b"unheard", -1, SHORT)
    one.publish(1, b"normal", -1)
    one.publish(9, b"unknown", -1, PREDEFINED)
    one.publish(b"zq", b"short", -1, SHORT)
    assert [m.payload for m in listener.take(1)] == [b"short"]
    one.publish(1, b"predefined", -1, PREDEFINED)
    assert [m.payload for m in listener.take(1)] == [b"predefined"]
    one.connect()  # nothing was answered before
    closed = start_sn(more=predefined)
    deaf = mqtt("deaf", to=closed)
    deaf.subscribe(f"{name}/t", 1)
    other = sn("other", to=closed)
    other.publish(1, b"refused", -1, PREDEFINED)
    other.connect()
    other.publish(1, b"taken", 1, PREDEFINED)
    assert [m.payload for m in deaf.take(1)] == [b"taken"]
    other.raw(b"\3\x03\0")
    other.expect_nothing()
    closed.stop()
    counters = closed.log()
    assert " mqtt_sn_malformed=1 " in counters and " mqtt_sn_minus_one_refused=1" in counters


# conformance: SN-77
def test_the_broker_stops_and_its_clients_are_told(start_sn, sn):
    broker = start_sn()
    one = sn("one", to=broker).connect()
    sleeper = sn("two", to=broker).connect()
    sleeper.sleep(60)
    status, _ = broker.stop()
    assert status == 0
    one.expect(DISCONNECT, b"")
    sleeper.expect(DISCONNECT, b"")


@pytest.fixture
def run_again(start, tmp_path):
    """Starts a broker with a data directory, and kills the one before."""
    port = free_udp_port()
    config = tmp_path / "sn.toml"
    config.write_text(LISTENER.format(port=port), encoding="utf-8")
    brokers = []

    def run():
        if brokers:
            brokers.pop().kill()
        broker = start(2, config=str(config), data_dir=tmp_path / "data")
        broker.sn_port = port
        brokers.append(broker)
        return broker

    return run


# conformance: SN-39 SN-42 SN-52
def test_topic_ids_after_a_kill(run_again, sn, mqtt, name):
    """A session outlives the process with the ids that its client has asked for, which none else gets."""
    # Two topics that would have one id: whichever comes first gets it.
    first, second, own = "t/369", "t/686", f"{name}/own"
    broker = run_again()
    one = sn("one", to=broker).connect(clean=False)
    before = one.register(second.encode())
    one.subscribe(b"t/+", 1)
    own_id = one.subscribe(own.encode(), 1)
    broker = run_again()
    listener = mqtt("listener", to=broker)
    listener.subscribe([first, second], 1)
    one.send(PINGREQ)
    one.expect(DISCONNECT, b"")
    one.connect(clean=False)
    listener.publish(first, b"1", 1)
    other, topic = one.take_registration()
    assert topic == first.encode() and other not in (before, own_id)
    assert one.take()[1:4:2] == (other, b"1")
    assert [(m.topic, m.payload) for m in listener.take(1)] == [(first, b"1")]
    for topic_id, topic in ((before, second), (own_id, own)):
        one.send(PUBLISH, bytes([flags(1)]) + struct.pack(">HH", topic_id, 77) + b"2")
        assert one.take_registration() == (topic_id, topic.encode())
        found = dict(one.receive() for _ in range(2))
        assert found[PUBACK] == struct.pack(">HHB", topic_id, 77, 0)
        delivered = found[PUBLISH]
        one.send(PUBACK, delivered[1:5] + b"\0")
        assert delivered[1:3] == struct.pack(">H", topic_id) and delivered[5:] == b"2"
    assert [(m.topic, m.payload) for m in listener.take(1)] == [(second, b"2")]


# conformance: SN-30 SN-32
def test_the_will_after_a_kill(run_again, sn, mqtt, name):
    broker = run_again()
    one = sn("one", to=broker).connect(clean=False, will=(f"{name}/w".encode(), b"one", flags(1)))
    one.send(WILLMSGUPD, b"two")
    one.expect(WILLMSGRESP, b"\0")
    one.disconnect()
    broker = run_again()
    listener = mqtt("listener", to=broker)
    listener.subscribe(f"{name}/#", 1)
    one.connect(clean=False, duration=1)
    found = listener.take(1)[0]
    assert (found.topic, found.payload) == (f"{name}/w", b"two")


# conformance: SN-41
def test_topic_ids_over_a_takeover_and_back(sn, mqtt, name):
    topic = f"{name}/t"
    one = sn("one").connect(clean=False)
    topic_id = one.register(topic.encode())
    mqtt("one", clean=False)
    one.expect(DISCONNECT, b"")
    one.connect(clean=False)
    one.publish(topic_id, b"", 1)


# conformance: SN-13 SN-26
def test_client_ids_that_may_come(start_sn, sn, name, tmp_path):
    file = tmp_path / "sensors.txt"
    file.write_text(f"# of the house\n{name}-one\n", encoding="utf-8")
    broker = start_sn(more=f'sn-clients = "{file}"\n')
    sn("one", to=broker).connect()
    other = sn("other", to=broker).connect(code=3)
    other.send(PINGREQ)
    other.expect(DISCONNECT, b"")  # it has left nothing
    file.write_text(f"{name}-one\n{name}-other\n", encoding="utf-8")
    broker.process.send_signal(signal.SIGHUP)
    broker.wait_log("were read again")
    other.connect()


def test_metrics_of_clients(start_sn, sn):
    port = free_port()
    broker = start_sn(admin_listen=f"127.0.0.1:{port}")
    sn("one", to=broker).connect()
    sleeper = sn("two", to=broker).connect()
    sleeper.sleep(60)
    one = sn("three", to=broker).connect()
    one.raw(b"\3\x03\0")
    one.disconnect()
    found = samples(Admin(port).get("/metrics").text)
    states = [found["ringmq_mqtt_sn_clients", ("state", state)] for state in ("connecting", "active", "asleep", "awake")]
    assert states == [0, 1, 1, 0]
    assert found["ringmq_mqtt_sn_dropped_total", ("reason", "malformed")] == 1
    assert found["ringmq_mqtt_sn_datagrams_total", ("direction", "received")] == 6


def test_mqload_proves_what_arrives(start_sn, tmp_path):
    """Publications at each QoS, and sensors that sleep, each with an address of its own and as nodes of forwarders."""
    broker = start_sn(more='sn-qos-minus-one = "sensors"\nsn-forwarders = true\n')
    result = tmp_path / "result.json"

    def run(*arguments):
        command = [MQLOAD, "sn", *arguments, "--target", f"127.0.0.1:{broker.sn_port}", "--json", result]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(result.read_text(encoding="utf-8"))

    assert run("connect", "--clients", 20)["connected"] == 20
    for qos in (-1, 0, 1):
        found = run("publish", "--clients", 5, "--messages", 20, "--qos", qos)
        assert (found["sent"], found["received"], found["lost"]) == (100, 100, 0)
    for qos in (-1, 0):
        subscriber = ["--subscriber", f"127.0.0.1:{broker.port}", "--broker-pid", broker.process.pid]
        found = run("flood", "--qos", qos, "--clients", 3, "--rate", 2_000, "--batch", 8, "--duration", "1s", *subscriber)
        assert found["sent"] == found["received"] > 1_000 and found["wrong"] == 0
        assert found["broker_cpu_ns_each"] > 0
    for nodes in (0, 7):
        found = run("sleepers", "--clients", 20, "--rounds", 2, "--messages", 3, "--topics", 4, "--nodes", nodes)
        assert (found["received"], found["lost"], found["too_early"], found["wrong"]) == (120, 0, 0, 0)
