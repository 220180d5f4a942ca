"""Bridges over TLS, WebSocket and Unix sockets, to Mosquitto and to another ringmq."""

import pytest

from bridges import at, bridging, connect, is_up, mosquitto, needs_mosquitto  # noqa: F401
from broker import free_port
from secured import authority, pair, table  # noqa: F401

pytestmark = pytest.mark.ringmq


def tls(authority, *more):
    return "\n".join([f"tls-ca = \"{authority.ca}\"", *more]) + "\n"


def own(authority, name="device"):
    certificate, key = pair(authority, name)
    return f"tls-certificate = \"{certificate}\"\ntls-key = \"{key}\""


def crosses(here, there, count):
    """A message goes each way over each of the bridges."""
    near, far = connect(here, "near"), connect(there, "far")
    near.subscribe("+/down", qos=2)
    far.subscribe("+/up", qos=2)
    for number in range(count):
        is_up(here, f"b{number}")
        payload = bytes(1 << 16) + str(number).encode()  # many records and frames
        near.publish_all([(f"b{number}/up", payload, 2)])
        got = far.next()
        assert (got.topic, got.payload) == (f"b{number}/up", payload)
        far.publish_all([(f"b{number}/down", payload, 2)])
        got = near.next()
        assert (got.topic, got.payload) == (f"b{number}/down", payload)
    near.close()
    far.close()


def with_topics(texts):
    return [f"{text}topics = [\"b{number}/up out 2\", \"b{number}/down in 2\"]" for number, text in enumerate(texts)]


@needs_mosquitto
def test_mosquitto_over_tls_websocket_and_unix_sockets(bridging, mosquitto, authority, tmp_path):
    plain, certain, ws, wss = (free_port() for _ in range(4))
    certificate, key = pair(authority, "server")
    files = f"cafile {authority.ca}\ncertfile {certificate}\nkeyfile {key}\n"
    unix = tmp_path / "mosquitto.socket"
    there = mosquitto(
        f"listener {plain} 127.0.0.1\n{files}"
        f"listener {certain} 127.0.0.1\n{files}require_certificate true\n"
        f"listener {ws} 127.0.0.1\nprotocol websockets\n"
        f"listener {wss} 127.0.0.1\nprotocol websockets\n{files}"
        f"listener 0 {unix}\n"
    )
    bridges = [
        f"addresses = [\"localhost:{plain}\"]\ntransport = \"tls\"\n" + tls(authority),
        f"addresses = [\"127.0.0.1:{certain}\"]\ntransport = \"tls\"\n" + tls(authority, own(authority)),
        f"addresses = [\"127.0.0.1:{ws}\"]\ntransport = \"ws\"\n",
        f"addresses = [\"127.0.0.1:{wss}\"]\ntransport = \"wss\"\n" + tls(authority),
        f"addresses = [\"unix:{unix}\"]\n",
    ]
    here = bridging(*with_topics(bridges), shards=2)
    crosses(here, there, len(bridges))


@pytest.mark.parametrize("shards", [1, 2])
def test_ringmq_over_tls_websocket_and_unix_sockets(bridging, start, authority, tmp_path, shards):
    plain, certain, ws, wss = (free_port() for _ in range(4))
    certificate, key = pair(authority, "server")
    files = {"tls_certificate": [certificate], "tls_key": [key]}
    unix = tmp_path / "ringmq.socket"
    config = tmp_path / "there.toml"
    config.write_text("".join([
        table(f"127.0.0.1:{plain}", transport="tls", **files, tls_alpn=["mqtt", "x-amzn-mqtt-ca"]),
        table(f"127.0.0.1:{certain}", transport="tls", **files, tls_client_certificate="required",
              tls_client_ca=authority.ca),
        table(f"127.0.0.1:{ws}", transport="ws", websocket_path="/here"),
        table(f"127.0.0.1:{wss}", transport="wss", **files),
        table(f"unix:{unix}"),
        table(f"unix:{unix}-tls", transport="tls", **files),
    ]))
    there = start(shards, config=config)
    bridges = [
        f"addresses = [\"localhost:{plain}\"]\ntransport = \"tls\"\n"
        + tls(authority, "tls-alpn = [\"x-amzn-mqtt-ca\"]"),
        f"addresses = [\"127.0.0.1:{certain}\"]\ntransport = \"tls\"\n" + tls(authority, own(authority)),
        f"addresses = [\"127.0.0.1:{ws}\"]\ntransport = \"ws\"\nwebsocket-path = \"/here\"\n",
        f"addresses = [\"127.0.0.1:{wss}\"]\ntransport = \"wss\"\n" + tls(authority),
        f"addresses = [\"unix:{unix}\"]\n",
        f"addresses = [\"unix:{unix}-tls\"]\ntransport = \"tls\"\n" + tls(authority, "tls-server-name = \"localhost\""),
        f"addresses = [\"127.0.0.1:{plain}\"]\ntransport = \"tls\"\ntls-insecure = true\n",
    ]
    here = bridging(*with_topics(bridges), shards=shards)
    crosses(here, there, len(bridges))


@needs_mosquitto
def test_what_is_wrong_with_tls_or_websocket_is_a_sentence(bridging, mosquitto, start, authority, tmp_path):
    """One broker has all of them at once, and serves its client."""
    expired_pair = authority.expired("expired")
    good, expired, certain, psk, alpn = (free_port() for _ in range(5))
    certificate, key = pair(authority, "server")
    files = f"cafile {authority.ca}\ncertfile {certificate}\nkeyfile {key}\n"
    (tmp_path / "psk").write_text("someone:0123456789abcdef\n")
    other = type(authority)(tmp_path / "other", "another authority")
    there = mosquitto(
        f"listener {good} 127.0.0.1\n{files}"
        f"listener {expired} 127.0.0.1\ncertfile {expired_pair[0]}\nkeyfile {expired_pair[1]}\n"
        f"listener {certain} 127.0.0.1\n{files}require_certificate true\n"
        f"listener {psk} 127.0.0.1\npsk_hint hint\npsk_file {tmp_path}/psk\n"
    )
    config = tmp_path / "there.toml"
    config.write_text(
        table(f"127.0.0.1:{alpn}", transport="tls", tls_certificate=[certificate], tls_key=[key], tls_alpn=["mqtt"])
    )
    start(1, config=config)
    secure, trusted = "transport = \"tls\"\n", tls(authority)
    rows = [
        (good, secure + f"tls-ca = \"{other.ca}\"\n", "is of no authority in tls-ca"),
        (good, secure + trusted + "tls-server-name = \"elsewhere\"\n", "is for another host: give the name it has with tls-server-name"),
        (expired, secure + trusted, "has expired"),
        (certain, secure + trusted, "wants a certificate"),
        (psk, secure + trusted, "pre-shared key"),
        (there.port, secure + trusted, "does not speak TLS"),
        (good, "", "closed before the remote had accepted it"),
        (alpn, secure + trusted + "tls-alpn = [\"other\"]\n", "none of the protocols in tls-alpn"),
        (there.port, "transport = \"ws\"\n", "WebSocket"),
        (good, secure + f"tls-ca = \"{tmp_path}/nowhere\"\n", "No such file"),
        (good, secure + f"tls-ca = \"{authority.path('server.key')}\"\n", "no certificate of an authority in tls-ca"),
        (good, secure + trusted + f"tls-certificate = \"{certificate}\"\ntls-key = \"{authority.path('device.key')}\"\n",
         "tls-certificate and tls-key"),
    ]
    here = bridging(*(
        f"addresses = [\"127.0.0.1:{port}\"]\n{text}topics = [\"b{number} out 1\"]"
        for number, (port, text, _) in enumerate(rows)
    ))
    for number, (_, _, sentence) in enumerate(rows):
        assert "WARN" in here.wait_line(f"bridge b{number}:", sentence)
    near = connect(here, "near")
    near.subscribe("t", qos=1)
    near.publish_all([("t", b"x", 1)])
    assert near.next().payload == b"x"
    near.close()
