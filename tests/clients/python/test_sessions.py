"""Sessions: kept, resumed, taken over, ended."""

import time

import pytest

import raw as mqtt
from client import properties

KEPT = properties("CONNECT", SessionExpiryInterval=3600)
VERSIONS = ["3.1", "3.1.1", "5"]


def kept(client, client_id, version, **options):
    props = KEPT if version == "5" else None
    return client(client_id, version, clean=False, connect_properties=props, **options)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_wait_for_an_absent_client(client, name, version, qos):
    subscriber = kept(client, "s", version)
    subscriber.subscribe(f"{name}/t", qos)
    subscriber.disconnect()
    client("p").publish_all([(f"{name}/t", b"%d" % n, qos) for n in range(100)])
    subscriber = kept(client, "s", version)
    if version != "3.1":
        assert subscriber.session_present
    assert subscriber.payloads(100) == [b"%d" % n for n in range(100)]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_session_present(client, version):
    assert not kept(client, "s", version).session_present
    assert kept(client, "s", version).session_present
    assert not client("s", version).session_present
    assert not kept(client, "s", version).session_present


@pytest.mark.parametrize("version", VERSIONS)
def test_subscriptions_are_kept(client, name, version):
    subscriber = kept(client, "s", version)
    subscriber.subscribe(f"{name}/#", 1)
    subscriber.cut()
    subscriber = kept(client, "s", version)
    client("p").publish_and_wait(f"{name}/t", b"x", 1)
    assert subscriber.next().payload == b"x"


def test_takeover_tells_the_old_connection(client, raw, name):
    old = raw(5)
    old.connect(f"{name}-same")
    new = client("same", "5")
    assert [(first, body[:1]) for first, body in old.expect_end()] == [(0xE0, b"\x8e")]
    assert new.publish_and_wait(f"{name}/t", b"x", 1) in (0, 0x10)


def test_takeover_is_seen_by_paho(client):
    old = client("same", "5")
    client("same", "5")
    assert old.wait_disconnected() == 0x8E


def test_takeover_across_versions(client, raw, name):
    old = raw(4)
    old.connect(f"{name}-same")
    client("same", "5")
    assert old.expect_end() == []


def test_takeover_passes_the_queue_on_without_loss(client, name):
    publisher = client("p")
    subscriber = kept(client, "s", "5")
    subscriber.subscribe(f"{name}/t", 2)
    total, seen = 0, []
    for _ in range(10):
        publisher.publish_all([(f"{name}/t", b"%d" % (total + n), 2) for n in range(20)])
        total += 20
        previous, subscriber = subscriber, kept(client, "s", "5")
        assert previous.wait_disconnected() == 0x8E
        while not previous.messages.empty():
            seen.append(previous.messages.get())
    seen += subscriber.take(total - len(seen))
    assert [int(m.payload) for m in seen] == list(range(total))


def test_session_expiry_interval(client, name):
    short = properties("CONNECT", SessionExpiryInterval=1)
    client("s", "5", connect_properties=short).disconnect()
    mqtt.wait(2.5)
    again = client("s", "5", clean=False, connect_properties=short)
    assert not again.session_present


def test_session_expiry_changed_at_disconnect(client):
    first = kept(client, "s", "5")
    first.disconnect(SessionExpiryInterval=0)
    assert not kept(client, "s", "5").session_present
    kept(client, "s", "5").disconnect(SessionExpiryInterval=1000)
    assert kept(client, "s", "5").session_present


def test_assigned_client_id(raw, name):
    names = set()
    for _ in range(20):
        one = raw(5)
        one.send(mqtt.connect("", 5))
        body = one.expect(0x20)
        assert body[1] == 0
        assert b"\x12" in body
        names.add(body)
    assert len(names) == 20


def test_assigned_client_id_is_unique_to_paho(broker):
    from client import V5, Client
    clients = [Client(broker, "", V5).connect() for _ in range(20)]
    names = {one.connack.AssignedClientIdentifier for one in clients}
    assert len(names) == 20
    for one in clients:
        one.close()


def test_keep_alive_timeout(raw, name):
    silent, lively = raw(5), raw(5)
    silent.connect(f"{name}-silent", keep_alive=1)
    lively.connect(f"{name}-lively", keep_alive=0)
    assert [(first, body[:1]) for first, body in silent.expect_end()] == [(0xE0, b"\x8d")]
    assert lively.is_open()


@pytest.mark.ringmq
def test_a_slow_reader_is_not_silent(raw, name):
    """Its PINGREQs wait in the socket while too much waits to be sent to it."""
    slow, publisher = raw(4, receive_buffer=4096), raw(4)
    slow.connect(f"{name}-slow", keep_alive=2)
    slow.subscribe((f"{name}/t", 0))
    publisher.connect(f"{name}-p")
    end = time.monotonic() + 8
    while time.monotonic() < end:
        publisher.send(mqtt.publish(f"{name}/t", b"x" * 900_000))
        slow.send(b"\xc0\0")
        for _ in range(20):
            assert slow.socket.recv(4096), "it is closed"


def test_unacknowledged_qos1_is_sent_again_with_dup(raw, client, name):
    first = raw(4)
    first.connect(f"{name}-s", clean=False)
    first.subscribe((f"{name}/t", 1))
    client("p").publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(5)])
    ids = [first.expect_publish().packet_id for _ in range(5)]
    assert len(set(ids)) == 5
    first.close()
    second = raw(4)
    assert second.connect(f"{name}-s", clean=False)
    again = [second.expect_publish() for _ in range(5)]
    assert [p.packet_id for p in again] == ids
    assert all(p.dup for p in again)
    assert [p.payload for p in again] == [b"%d" % n for n in range(5)]
    second.send(*(mqtt.ack(0x40, i) for i in ids))
    assert second.ping() == []


def test_qos2_handshake_goes_on_after_resume(raw, client, name):
    first = raw(5)
    first.connect(f"{name}-s", clean=False, properties=b"\x11\0\0\x0e\x10")
    first.subscribe((f"{name}/t", 2))
    client("p").publish_and_wait(f"{name}/t", b"x", 2)
    number = first.expect_publish().packet_id
    first.send(mqtt.ack(0x50, number))
    first.expect(0x62)
    first.close()
    second = raw(5)
    assert second.connect(f"{name}-s", clean=False, properties=b"\x11\0\0\x0e\x10")
    assert second.expect(0x62)[:2] == number.to_bytes(2, "big")
    second.send(mqtt.ack(0x70, number))
    assert second.ping() == []


def test_incoming_qos2_is_exactly_once_over_reconnects(raw, client, name):
    subscriber = client("s")
    subscriber.subscribe(f"{name}/#", 0)
    for attempt in range(5):
        publisher = raw(4)
        publisher.connect(f"{name}-p", clean=False)
        publisher.send(mqtt.publish(f"{name}/t", b"once", 2, 9, dup=attempt > 0))
        publisher.expect(0x50)
        publisher.close()
    publisher = raw(4)
    assert publisher.connect(f"{name}-p", clean=False)
    publisher.send(mqtt.ack(0x62, 9))
    publisher.expect(0x70)
    publisher.send(mqtt.publish(f"{name}/end"))
    assert [m.payload for m in subscriber.until(f"{name}/end")] == [b"once"]


def test_a_storm_of_reconnects_leaves_others_alone(raw, client, name):
    bystander, publisher = client("by", "5"), client("p")
    bystander.subscribe(f"{name}/t", 1)
    for n in range(300):
        one = raw(5 if n % 2 else 4)
        one.connect(f"{name}-storm", clean=n % 3 == 0)
        if n % 50 == 0:
            publisher.publish_and_wait(f"{name}/t", b"%d" % n, 1)
            assert bystander.next().payload == b"%d" % n
    last = raw(4)
    last.connect(f"{name}-storm")
    assert last.is_open()


@pytest.mark.ringmq
def test_queue_limit_drops_the_oldest(start, client, name):
    broker = start(queue_messages_max=10)
    keep = b"\x11\0\0\0\x64"  # Session Expiry Interval 100 s
    subscriber = mqtt.Raw(broker, version=5)
    subscriber.connect("s", properties=keep)
    subscriber.subscribe((f"{name}/t", 1))
    subscriber.send(b"\xe0\0")
    subscriber.expect_end()  # only now is the client certainly away
    publisher = client("p", to=broker)
    publisher.publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(50)])
    subscriber = mqtt.Raw(broker, version=5)
    assert subscriber.connect("s", clean=False, properties=keep)
    payloads = [subscriber.expect_publish().payload for _ in range(10)]
    assert payloads == [b"%d" % n for n in range(40, 50)]


