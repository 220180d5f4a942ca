"""MQTT over QUIC, with aioquic as its client: sessions, QoS, large messages, certificates, and a client that moves."""

import os
import shutil
import signal

import pytest

from authority import Authority
from over_quic import QuicRaw
from raw import Raw, ack, publish
from secured import authority, start_tls, pair  # noqa: F401  (fixtures)

SHARDS = [1, 2, 4]


@pytest.fixture(params=SHARDS, ids=lambda n: f"shards{n}")
def listening(request, start_tls):  # noqa: F811
    return start_tls(shards=request.param, transport="quic")


@pytest.fixture
def quic(authority):  # noqa: F811
    """Makes clients over QUIC."""
    made = []

    def make(broker, version=4, **options):
        made.append(QuicRaw(broker, version, authority=authority, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
def test_messages_at_each_qos_between_quic_and_tcp(listening, quic, version):
    """Client ids with different homes: each is served whichever shard has its connection."""
    tcp = Raw(listening, version)
    tcp.connect("by-tcp")
    assert tcp.subscribe(("up/#", 2)) == b"\x02"
    for number in range(4):
        one = quic(listening, version)
        one.connect(f"by-quic-{number}")
        assert one.subscribe((f"down/{number}/#", 2)) == b"\x02"
        for qos in (0, 1, 2):
            deliver(one, publish(f"up/{number}/{qos}", b"from QUIC", qos, qos, version), qos, qos)
            got = tcp.expect_publish()
            assert (got.topic, got.payload, got.qos) == (f"up/{number}/{qos}", b"from QUIC", qos)
            finish(tcp, got)
            deliver(tcp, publish(f"down/{number}/{qos}", b"from TCP", qos, 7, version), qos, 7)
            got = one.expect_publish()
            assert (got.topic, got.payload, got.qos) == (f"down/{number}/{qos}", b"from TCP", qos)
            finish(one, got)
        one.ping()


def deliver(client, packet, qos, packet_id):
    """Publishes, with all acknowledgements."""
    client.send(packet)
    if qos == 1:
        client.expect(0x40)
    if qos == 2:
        client.expect(0x50)
        client.send(ack(0x62, packet_id))
        client.expect(0x70)


def finish(client, message):
    """Acknowledges what was received."""
    if message.qos == 1:
        client.send(ack(0x40, message.packet_id))
    if message.qos == 2:
        client.send(ack(0x50, message.packet_id))
        client.expect(0x60)
        client.send(ack(0x70, message.packet_id))


def test_large_messages_both_ways(listening, quic):
    one = quic(listening)
    one.connect("large")
    one.subscribe(("large", 1))
    payload = os.urandom(1_000_000)
    one.send(publish("large", payload, 1, 1))
    received = [one.receive(), one.receive()]
    kinds = sorted(first & 0xF0 for first, _ in received)
    assert kinds == [0x30, 0x40]
    body = next(body for first, body in received if first & 0xF0 == 0x30)
    assert body.endswith(payload)


def test_a_client_that_moves_loses_nothing(listening, quic):
    """Its port is another one in the middle of messages both ways: no new connection, and each message once."""
    tcp = Raw(listening)
    tcp.connect("stays")
    tcp.subscribe(("up", 1))
    one = quic(listening)
    one.connect("moves")
    one.subscribe(("down", 1))
    count = 60
    for number in range(count):
        one.send(publish("up", b"%d" % number, 1, number + 1))
        tcp.send(publish("down", b"%d" % number, 1, number + 1))
        if number in (20, 40):
            one.socket.move()
    down, acknowledged = [], 0
    while len(down) < count or acknowledged < count:
        first, body = one.receive()
        if first & 0xF0 == 0x40:
            acknowledged += 1
        else:
            assert first & 0xF0 == 0x30
            down.append(int(body[8:]))
            one.send(ack(0x40, int.from_bytes(body[6:8], "big")))
    assert down == list(range(count))
    up = []
    while len(up) < count:
        first, body = tcp.receive()
        if first & 0xF0 == 0x30:
            up.append(int(body[6:]))
            tcp.send(ack(0x40, int.from_bytes(body[4:6], "big")))
    assert up == list(range(count))
    assert listening.log().count("moves") <= 1


def test_a_session_is_taken_over_between_tcp_and_quic(listening, quic):
    tcp = Raw(listening)
    tcp.connect("same", clean=False)
    tcp.subscribe(("kept", 1))
    one = quic(listening)
    assert one.connect("same", clean=False), "the session is there"
    assert tcp.receive() is None
    other = Raw(listening)
    other.connect("other")
    other.send(publish("kept", b"x", 1, 1))
    other.expect(0x40)
    got = one.expect_publish()
    assert got.payload == b"x"
    again = Raw(listening)
    assert again.connect("same", clean=False)
    assert one.receive() is None, "the connection of QUIC is closed"
    assert again.expect_publish().payload == b"x"


def test_the_ends_of_a_connection(listening, quic):
    """A DISCONNECT, a client that is gone, and one that the broker refuses."""
    watch = Raw(listening)
    watch.connect("watch")
    watch.subscribe(("will/#", 0))
    polite = quic(listening)
    polite.connect("polite", will=("will/polite", b"x", b""))
    polite.send(b"\xe0\0")
    assert polite.receive() is None
    rude = quic(listening)
    rude.connect("rude", will=("will/rude", b"gone", b""))
    rude.close()
    assert watch.expect_publish().topic == "will/rude"
    wrong = quic(listening)
    wrong.send(b"\x00\x00")
    assert wrong.receive() is None
    assert wrong.socket.code() == 0
    # QoS 0 and DISCONNECT right before the connection is closed.
    last = quic(listening)
    last.connect("last")
    last.send(publish("will/last", b"word"), b"\xe0\0")
    last.close()
    assert watch.expect_publish().payload == b"word"


def test_who_is_not_let_in(authority, start_tls, quic):  # noqa: F811
    broker = start_tls(transport="quic")
    with pytest.raises(ConnectionError):
        quic(broker, alpn="http/1.1")
    with pytest.raises(ConnectionError):
        QuicRaw(broker)  # it does not know the authority


def test_a_certificate_is_the_user(authority, start_tls, quic):  # noqa: F811
    rules = authority.path("quic.acl")
    with open(rules, "w", encoding="utf-8") as file:
        file.write("user device\ntopic readwrite own/#\n")
    broker = start_tls(transport="quic", tls_client_certificate="required", tls_client_ca=[authority.ca],
                       options={"acl_file": rules})
    known = quic(broker, version=5, own=pair(authority, "device"))
    known.connect("known")
    assert known.subscribe(("own/a", 1)) == b"\x01"
    assert known.subscribe(("other/a", 1), packet_id=2) == b"\x87"
    with pytest.raises((ConnectionError, AssertionError)):
        stranger = quic(broker)
        stranger.connect("stranger")


def test_certificates_are_read_again(tmp_path, start_tls, quic):  # noqa: F811
    """A connection outlives the reload, and a new one sees the certificate of another authority."""
    before, after = Authority(tmp_path / "before"), Authority(tmp_path / "after")
    before.sign("server")
    after.sign("server")
    broker = start_tls(by=before, transport="quic")
    one = QuicRaw(broker, authority=before)
    one.connect("before")
    for name in ("server.pem", "server.key"):
        shutil.copyfile(after.path(name), before.path(name))
    since = len(broker.log())
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("were read again", since)
    one.ping()
    two = QuicRaw(broker, authority=after)
    two.connect("after")
    two.ping()
    one.ping()
    two.close()
    one.close()


def test_a_broker_that_stops_says_so(start_tls, quic):  # noqa: F811
    broker = start_tls(transport="quic")
    clients = [quic(broker, version=5) for _ in range(3)]
    for number, one in enumerate(clients):
        one.connect(f"stops-{number}")
    broker.send_signal(signal.SIGTERM)
    for one in clients:
        assert one.expect(0xE0)[0] == 0x8B
        assert one.receive() is None
        assert one.socket.code() == 0
    assert broker.process.wait(timeout=20) == 0
