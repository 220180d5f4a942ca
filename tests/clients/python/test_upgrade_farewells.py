"""Connections that do not go on in the new process: each client of MQTT 5.0 gets the reason, over whatever it speaks."""

import types

import pytest

import raw as mqtt
from broker import free_port
from over_quic import QuicRaw
from raw import Raw
from secured import authority, table  # noqa: F401
from test_websocket import Frames
from upgraded import Configured, joined, serves, upgraded  # noqa: F401

pytestmark = pytest.mark.ringmq

LIVES_ON = b"\x11\0\0\2\0"  # Session Expiry Interval


def with_listener(configured, address, options):
    with open(configured.path, "a", encoding="utf-8") as out:
        out.write(table(address, **options))


def webbed(port, client_id):
    """Connected over WebSocket with MQTT 5.0."""
    frames = Frames(port)
    assert " 101 " in frames.head()
    frames.send(0x82, mqtt.connect(client_id, 5, properties=LIVES_ON))
    assert frames.frame()[1][:1] == b"\x20"
    return frames


def test_a_client_of_websocket_whose_listener_ends_is_told_in_frames(upgraded, joined, tmp_path):
    configured, port = Configured(tmp_path), free_port()
    configured.write(2)
    with_listener(configured, f"127.0.0.1:{port}", dict(transport="ws"))
    broker = configured.start(upgraded)
    stays, goes = joined(broker, "stays"), webbed(port, "goes")
    configured.write(2)
    assert serves(broker.upgrade()) == (1, 1)
    assert goes.frame() == (0x82, b"\xe0\x01\x8b")
    first, why = goes.frame()
    assert (first, why[:2]) == (0x88, b"\x03\xe9"), "1001: the other end goes away"
    assert goes.rest() == b""
    assert stays.disconnected.empty()


@pytest.mark.parametrize("limit", ["connections-max", "sessions-max"])
def test_who_is_beyond_a_limit_of_the_new_process_is_told_so(upgraded, tmp_path, limit):
    configured, port = Configured(tmp_path), free_port()
    listener = (f"127.0.0.1:{port}", dict(transport="ws"))
    configured.write(1)
    with_listener(configured, *listener)
    broker = configured.start(upgraded)
    plain = Raw(types.SimpleNamespace(port=broker.port), 5)
    plain.connect("plain", properties=LIVES_ON)
    webs = webbed(port, "webs")
    configured.write(1, f"{limit} = 1")
    with_listener(configured, *listener)
    said = broker.upgrade()
    assert serves(said) == (1, 1) and f"{limit} is reached" in said, said
    # Which of the two is there first is chance.
    if f'"webs": {limit}' in said:
        assert webs.frame() == (0x82, b"\xe0\x01\x97")
        assert webs.frame()[1][:2] == b"\x03\xf5", "1013: try again later"
        assert plain.is_open()
    else:
        assert plain.expect_end() == [(0xE0, b"\x97")]
        webs.send(0x82, b"\xc0\0")
        assert webs.frame() == (0x82, b"\xd0\0")


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_clients_of_quic_are_told_and_come_back_to_their_sessions(upgraded, joined, authority, tmp_path, shards):
    """Nobody is let go without a word, wherever a connection and its session are."""
    configured, port = Configured(tmp_path), free_port()
    configured.write(shards)
    with_listener(configured, f"127.0.0.1:{port}", dict(
        transport="quic", tls_certificate=[authority.path("server.pem")], tls_key=[authority.path("server.key")]))
    broker = configured.start(upgraded)
    watcher = joined(broker, "watcher")
    watcher.subscribe("will/#", qos=1)
    at = types.SimpleNamespace(tls_port=port)
    count, made = 8, []
    delay = b"\x18\0\0\0\x1e"  # Will Delay Interval: 30 s
    try:
        for number in range(count):
            one = QuicRaw(at, 5, authority=authority)
            made.append(one)
            one.connect(f"quic-{number}", properties=LIVES_ON, will=(f"will/{number}", b"gone", delay))
            assert one.subscribe((f"down/{number}", 1)) == b"\x01"
        said = broker.upgrade()
        assert serves(said) == (1, 0) and f"{count} connections were not" in said, said
        for one in made:
            assert one.expect_end() == [(0xE0, b"\x8b")]
            assert one.socket.code() == 0
        sender = joined(broker, "sender")
        for number in range(count):
            sender.publish_and_wait(f"down/{number}", b"kept", qos=1)
            back = QuicRaw(at, 5, authority=authority)
            made.append(back)
            assert back.connect(f"quic-{number}", clean=False, properties=LIVES_ON), "its session is there"
            assert back.expect_publish().payload == b"kept"
        assert watcher.messages.empty(), "a will was published although its client came back in time"
    finally:
        for one in made:
            one.close()
