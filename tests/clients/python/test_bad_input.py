"""Bad input: the right answer, bounded memory, and no other client notices."""

import os
import random
import socket
import time

import pytest

import raw as mqtt
from broker import IS_MOSQUITTO, Broker

VERSIONS = [3, 4, 5]


@pytest.fixture(autouse=True)
def others_are_untouched(raw, name):
    """A client connected before still works afterwards."""
    bystander = raw(5)
    bystander.connect(f"{name}-bystander")
    bystander.subscribe((f"{name}/by", 1))
    yield
    bystander.send(mqtt.publish(f"{name}/by", b"x", 1, 1, version=5))
    kinds = {bystander.receive()[0] & 0xF0 for _ in range(2)}
    assert kinds == {0x30, 0x40}


def reason(packets, version):
    """Nothing but the reason code, when the version has one, may come before the end."""
    if version < 5:
        assert packets == []
        return None
    assert [first for first, _ in packets] == [0xE0]
    return packets[0][1][0]


FIRST_PACKETS = {
    "pingreq": b"\xc0\0",
    "publish": mqtt.publish("t", b"x"),
    "subscribe": mqtt.subscribe(1, [("t", 0)]),
    "disconnect": b"\xe0\0",
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "zeroes": bytes(1000),
    "ones": b"\xff" * 1000,
}


@pytest.mark.parametrize("first", FIRST_PACKETS)
def test_first_packet_is_not_connect(raw, first):
    one = raw()
    one.send_as_far_as_possible(FIRST_PACKETS[first])
    assert one.expect_end() == []


@pytest.mark.ringmq
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("packet, code", [
    (b"\x30\xff\xff\xff\x7f", 0x95),
    (b"\x30\xff\xff\xff\xff\x01", 0x81),
    (b"\x36\x05\0\1t\0\1", 0x81),
    (b"\xc1\0", 0x81),
    (b"\x80\x06\0\1\0\1t\0", 0x81),
    (b"\x00\0", None),
    (b"\x20\x02\0\0", None),
], ids=["256MiB", "5bytes", "qos3", "flags", "subscribe-flags", "type0", "connack"])
def test_malformed(raw, name, version, packet, code):
    one = raw(version)
    one.connect(f"{name}-bad")
    one.send(packet)
    given = reason(one.expect_end(), version)
    if code and version == 5:
        assert given == code


@pytest.mark.ringmq
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bad", [b"a\0b", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_invalid_utf8(raw, name, version, bad):
    one = raw(version)
    one.connect(f"{name}-bad")
    one.send(mqtt.publish(bad, b"x", version=version))
    assert reason(one.expect_end(), version) in (None, 0x81, 0x90)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_of_65535_levels(raw, name, version):
    one = raw(version)
    one.connect(f"{name}-levels")
    one.send_as_far_as_possible(mqtt.subscribe(1, [("/" * 65_535, 0)], version))
    packets = one.expect_end() if IS_MOSQUITTO else [one.receive()]
    if packets and packets[0] and packets[0][0] == 0x90:
        assert packets[0][1][-1] >= 0x80
    two = raw(version)
    two.connect(f"{name}-levels2")
    two.send_as_far_as_possible(mqtt.publish("/" * 65_535, b"x", 0, version=version))
    two.send_as_far_as_possible(b"\xc0\0")
    two.receive()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hundred_thousand_filters_in_one_subscribe(broker, raw, name, version):
    """In pieces of what a packet may hold: 1 MiB."""
    one = raw(version)
    one.connect(f"{name}-filters")
    before = broker.resident_kib()
    count = 100_000
    filters = [(f"f/{n:x}", 0) for n in range(count)]
    packet = mqtt.subscribe(1, filters, version)
    assert len(packet) < 1 << 20
    one.send_as_far_as_possible(packet)
    received = one.receive()
    if received and received[0] == 0x90:
        codes = received[1][-count:]
        assert len(codes) == count
        if not IS_MOSQUITTO:
            assert sum(code < 0x80 for code in codes) <= 10_000
    one.close()
    assert broker.resident_kib() - before < 200_000


@pytest.mark.parametrize("size", [1, 2, 5, 14])
def test_half_a_packet_costs_only_its_connection(raw, name, size):
    whole = mqtt.connect(f"{name}-half")
    one = raw()
    one.send(whole[:size])
    other = raw()
    other.connect(f"{name}-other")
    assert other.is_open()
    one.close()


@pytest.mark.ringmq
def test_no_connect_within_the_time(start, raw):
    broker = start(connect_timeout="1s")
    silent, slow = raw(to=broker), raw(to=broker)
    slow.send(b"\x10")
    assert silent.expect_end() == []
    assert slow.expect_end() == []


def test_a_claimed_size_allocates_nothing(broker, raw, name):
    """Many connections that announce a large packet and send none of it."""
    before = broker.resident_kib()
    held = []
    for n in range(200):
        one = raw()
        one.connect(f"{name}-{n}")
        one.send(b"\x30\xf0\xff\x3f\0\1t")
        held.append(one)
    last = raw()
    last.connect(f"{name}-last")
    last.ping()
    assert broker.resident_kib() - before < 50_000


@pytest.mark.parametrize("qos", [0, 1])
def test_a_flood_to_a_client_that_never_reads(broker, raw, name, qos):
    """Its messages are dropped or held back within its limits; others get theirs."""
    deaf = raw(4, receive_buffer=4096)
    deaf.connect(f"{name}-deaf")
    deaf.send(mqtt.subscribe(1, [(f"{name}/#", qos)]))
    deaf.expect(0x90)
    reader = raw(4)
    reader.connect(f"{name}-reader")
    reader.subscribe((f"{name}/end", 1))
    publisher = raw(4)
    publisher.connect(f"{name}-p")
    before = broker.resident_kib()
    payload = os.urandom(10_000)
    for n in range(1, 3001):
        publisher.send(mqtt.publish(f"{name}/t", payload, qos, n))
        if qos:
            publisher.expect(0x40)
    publisher.send(mqtt.publish(f"{name}/end", b"", 1, 5000))
    assert reader.expect_publish().topic == f"{name}/end"
    if not IS_MOSQUITTO:
        assert broker.resident_kib() - before < 40_000


def test_a_client_that_sends_and_never_reads(broker, raw, name):
    """PINGREQ without end: the answers are not kept without end."""
    one = raw(4, receive_buffer=4096)
    one.connect(f"{name}-deaf")
    before = broker.resident_kib()
    one.socket.setblocking(False)
    pings = b"\xc0\0" * 32_768
    sent, end = 0, time.monotonic() + 5
    while sent < 64 << 20 and time.monotonic() < end:
        try:
            sent += one.socket.send(pings)
        except BlockingIOError:
            other = mqtt.Raw(broker)
            other.connect(f"{name}-other")
            other.close()
        except OSError:
            break
    if not IS_MOSQUITTO:
        assert broker.resident_kib() - before < 30_000


@pytest.mark.ringmq
def test_few_bytes_for_one_client_in_many_groups(broker, name):
    """A publication goes once to each group; that it goes to one client makes it cheap to ask for."""
    groups = 2_000
    own = Broker(broker.shards, memory_max=broker.shards * (250 << 20))  # small: without huge pages
    try:
        member = mqtt.Raw(own, 5)
        member.connect(f"{name}-member")
        member.subscribe(*((f"$share/{n}/{name}/t", 0) for n in range(groups)))
        before = own.resident_kib()
        for n in range(4):  # on more than one shard
            publisher, other = mqtt.Raw(own), mqtt.Raw(own)
            publisher.connect(f"{name}-p{n}")
            publisher.send(mqtt.publish(f"{name}/t", b"x" * 100) * 50)
            other.connect(f"{name}-o{n}")
            other.ping()
            publisher.ping()
        assert own.resident_kib() - before < 20_000
    finally:
        own.close()


def test_a_port_scan(broker, raw, name):
    before = broker.resident_kib()
    for _ in range(2000):
        socket.create_connection(("127.0.0.1", broker.port), 5).close()
    one = raw()
    one.connect(f"{name}-after")
    assert one.is_open()
    assert broker.resident_kib() - before < 30_000


def test_random_bytes(broker, raw, name):
    """Noise before and after CONNECT, reproducible: the process lives on."""
    random.seed(name[:20])
    for n in range(300):
        one = raw(random.choice(VERSIONS))
        if n % 3:
            one.connect(f"{name}-{n}")
        noise = bytearray(random.randbytes(random.randint(1, 400)))
        if n % 2:
            noise[0] = random.choice([0x10, 0x30, 0x32, 0x34, 0x62, 0x82, 0xA2, 0xE0, 0xF0])
            if len(noise) > 1:
                noise[1] = min(len(noise) - 2, 127)
        one.send_as_far_as_possible(bytes(noise))
        one.close()
    assert broker.is_running()


def test_every_cut_of_a_conversation(raw, name):
    """The connection ends after each byte of an ordinary conversation."""
    whole = (mqtt.connect(f"{name}-cut", 5) + mqtt.subscribe(1, [(f"{name}/t", 1)], 5)
             + mqtt.publish(f"{name}/t", b"x", 2, 1, version=5) + mqtt.ack(0x62, 1))
    for size in range(len(whole)):
        one = raw(5)
        one.send(whole[:size])
        one.close()
    # A CONNECT of before may be on its way from the shard that accepted it to the client's home shard
    # and take the session over from the next one. Each can do so once, and at any time: so one answer
    # to a ping is what is asked for, not a second one after it.
    for _ in range(len(whole)):
        last = raw(5)
        last.connect(f"{name}-cut")
        if last.is_open():
            return
    pytest.fail("no connection stayed open after the cuts")
