"""How WebSocket says why MQTT ends it (RFC 6455 7.4.1), and proxies that name nobody."""

import signal
import struct
import subprocess

import pytest

import raw as mqtt
import socket
from broker import BINARY, Broker, IS_MOSQUITTO, free_port
from client import DEADLINE_S
from test_websocket import PINGREQ, Frames, listener

pytestmark = [pytest.mark.ringmq,
              pytest.mark.skipif(IS_MOSQUITTO, reason="Debian's Mosquitto is built without WebSocket")]


@pytest.fixture
def start_file(tmp_path):
    running = []

    def run(*tables, port, more="", shards=1):
        path = tmp_path / f"ringmq-{len(running)}.toml"
        path.write_text(more + "".join(tables))
        running.append(Broker(shards, port=port, config=path))
        return running[-1]

    yield run
    for one in running:
        one.close()


def code(client):
    """The code of the close frame, whatever comes before it."""
    while True:
        first, payload = client.frame()
        if first == 0x88:
            assert client.rest() == b""
            return struct.unpack("!H", payload)[0]


HUGE = b"\x30\xff\xff\xff\x7f"  # a PUBLISH of 256 MiB
FIVE_BYTES = b"\x30\xff\xff\xff\xff\x01"  # [MQTT-2.2.3] has four at most


@pytest.mark.parametrize("sent, expected", [
    (HUGE, 1009),
    (FIVE_BYTES, 1002),
    (b"\xf7\0", 1002),
    (b"\x36\x05\0\x01a\0\x01", 1002),
    (b"\x82\x05\0\x01\0\0\0", 1002),
    (b"\xe0\0", 1000),
    (mqtt.connect("again"), 1002),
])
@pytest.mark.parametrize("version", [4, 5])
def test_mqtt_that_is_wrong_ends_with_its_code(start_file, sent, expected, version):
    port = free_port()
    start_file(listener(port, "ws"), port=port, more='packet-size-max = "1MiB"\n')
    client = Frames(port)
    assert " 101 " in client.head()
    client.send(0x82, mqtt.connect("codes", version))
    assert client.frame()[1][:1] == b"\x20"
    client.send(0x82, sent)
    assert code(client) == expected


@pytest.mark.parametrize("sent, expected", [
    (b"\x10\xff\xff\xff\x7f\0\x04MQTT", 1009),
    (b"\x10\xff\xff\xff\xff\x01", 1002),
    (PINGREQ, 1002),
    (b"hello world, this is no MQTT", 1002),
])
def test_what_is_no_connect_ends_with_its_code(start_file, sent, expected):
    port = free_port()
    start_file(listener(port, "ws"), port=port, more='packet-size-max = "1MiB"\n')
    client = Frames(port)
    assert " 101 " in client.head()
    client.send(0x82, sent)
    assert code(client) == expected


def test_other_ends_have_their_codes(start_file):
    port = free_port()
    broker = start_file(listener(port, "ws"), port=port)
    first, second = Frames(port).opened("same"), Frames(port).opened("same")
    assert code(first) == 1008, "taken over"
    broker.send_signal(signal.SIGTERM)
    assert code(second) == 1001, "going away"


def passwords(folder):
    path = folder / "passwords"
    subprocess.run([BINARY, "passwd", "-c", "-b", "--rounds", "10", path, "ann", "one"], check=True)
    return path


def login(password):
    return mqtt.packet(0x10, mqtt.NAMES[4], b"\xc2\0\0", *map(mqtt.text, ["b", "ann", password]))


PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"
TRUSTED = 'trusted-proxies = ["127.0.0.0/8"]'


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("header", [
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP4 127.0.0.9 127.0.0.1 4711 1883\r\n",
    PROXY_V2 + b"\x20\0\0\0",
    PROXY_V2 + b"\x21\0\0\0",
])
def test_a_proxy_that_names_nobody_is_not_banned(start_file, tmp_path, header, shards):
    port = free_port()
    broker = start_file(
        listener(port, "tcp", "proxy-protocol = true", "connect-rate-source = 2", TRUSTED), port=port, shards=shards,
        more=f'password-file = "{passwords(tmp_path)}"\nban-failures = 3\n')

    def try_(password, named=header):
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as one:
            one.sendall(named + login(password))
            return one.recv(4)

    for _ in range(10):
        assert try_("two") == b"\x20\x02\0\x04"
    assert try_("one") == b"\x20\x02\0\0"
    assert "is banned" not in broker.log()
    # Whoever is named pays for himself.
    client = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 1883\r\n"
    assert try_("two", client) == b"\x20\x02\0\x04"


@pytest.mark.parametrize("fields", [{}, {"X_Forwarded_For": "127.0.0.7"}, {"X_Forwarded_For": "127.0.0.7, 127.0.0.8"},
                                    {"X_Forwarded_For": "unknown"}])
def test_a_proxy_of_websocket_that_names_nobody_is_not_banned(start_file, tmp_path, fields):
    port = free_port()
    broker = start_file(listener(port, "ws", "connect-rate-source = 2", TRUSTED), port=port,
                        more=f'password-file = "{passwords(tmp_path)}"\nban-failures = 3\n')

    def try_(password):
        client = Frames(port, **fields)
        assert " 101 " in client.head()
        client.send(0x82, login(password))
        answer = client.frame()[1]
        client.socket.close()
        return answer

    for _ in range(10):
        assert try_("two") == b"\x20\x02\0\x04"
    assert try_("one") == b"\x20\x02\0\0"
    assert "is banned" not in broker.log()


def test_a_ban_of_another_listener_is_none_of_a_proxy(start_file, tmp_path):
    """Somebody on the proxy's machine guesses passwords on a listener without proxies."""
    direct, proxied = free_port(), free_port()
    broker = start_file(
        listener(direct, "tcp"), listener(proxied, "tcp", "proxy-protocol = true", TRUSTED), port=direct,
        more=f'password-file = "{passwords(tmp_path)}"\nban-failures = 3\n')

    def try_(port, packet):
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as one:
            one.sendall(packet)
            try:
                return one.recv(4)
            except ConnectionError:
                return b""

    for _ in range(3):
        try_(direct, login("two"))
    broker.wait_log("127.0.0.1 is banned")
    assert try_(direct, login("one")) == b""
    client = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 1883\r\n"
    assert try_(proxied, client + login("one")) == b"\x20\x02\0\0"
    assert try_(proxied, b"PROXY UNKNOWN\r\n" + login("one")) == b"\x20\x02\0\0"


@pytest.mark.parametrize("path", ["", "*"])
def test_any_path(start_file, path):
    port = free_port()
    start_file(listener(port, "ws", f'websocket-path = "{path}"'), port=port)
    for asked in ["/", "/mqtt", "/any/where?with=query"]:
        Frames(port, line=f"GET {asked} HTTP/1.1").opened()


def test_a_wrong_path_names_both(start_file):
    port = free_port()
    broker = start_file(listener(port, "ws"), port=port)
    client = Frames(port, line="GET /other?token=secret HTTP/1.1")
    assert client.head().startswith("HTTP/1.1 404 ")
    sentence = 'there is nothing at "/other": MQTT over WebSocket is spoken at "/mqtt"'
    assert sentence in client.rest().decode()
    broker.wait_log(sentence)
    assert "secret" not in broker.log()
