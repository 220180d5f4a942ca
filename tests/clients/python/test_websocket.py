"""WebSocket: paho-mqtt, the `websockets` library, and frames by hand."""

import base64
import os
import signal
import socket
import ssl
import struct
import subprocess

import paho.mqtt.client as paho
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as open_websocket

import raw as mqtt
from broker import BINARY, Broker, IS_MOSQUITTO, free_port
from client import VERSIONS, Client, eventually

pytestmark = pytest.mark.skipif(IS_MOSQUITTO, reason="Debian's Mosquitto is built without WebSocket")
DEADLINE_S = 20
PINGREQ, PINGRESP = b"\xc0\0", b"\xd0\0"


def listener(port, transport, *more):
    return "\n".join(["[[listener]]", f'address = "127.0.0.1:{port}"',
                      f'transport = "{transport}"', *more, ""])


def start(folder, shards, **options):
    """A broker with listeners for ws and wss, for pages of one origin, and behind proxies."""
    key, chain = folder / "key.pem", folder / "chain.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", chain, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True)
    ports = {name: free_port() for name in ("ws", "wss", "strict", "proxied", "foreign", "tcp")}
    config = folder / "ringmq.toml"
    config.write_text("\n".join([
        listener(ports["ws"], "ws", 'trusted-proxies = ["127.0.0.1"]'),
        listener(ports["wss"], "wss", f'tls-certificate = ["{chain}"]', f'tls-key = ["{key}"]'),
        listener(ports["strict"], "ws", 'websocket-path = "/only"',
                 'websocket-origins = ["https://good.example"]'),
        listener(ports["proxied"], "ws", "proxy-protocol = true",
                 'trusted-proxies = ["127.0.0.0/8"]'),
        listener(ports["foreign"], "tcp", "proxy-protocol = true",
                 'trusted-proxies = ["192.0.2.0/24"]'),
        listener(ports["tcp"], "tcp", "proxy-protocol = true",
                 'trusted-proxies = ["127.0.0.0/8"]'),
    ]))
    running = Broker(shards, port=ports["ws"], config=config, **options)
    running.ports = ports
    return running


@pytest.fixture(scope="module", params=[1, 4], ids=lambda n: f"shards{n}")
def ws(request, tmp_path_factory):
    running = start(tmp_path_factory.mktemp("ws"), request.param)
    yield running
    assert running.is_running(), running.log()
    running.close()


@pytest.fixture
def quiet(tmp_path):
    """One that has logged little: a shard logs ten lines in a second at most."""
    running = start(tmp_path, 1)
    yield running
    running.close()


class Frames:
    """A WebSocket client that does what it is told, right or wrong."""

    KEY = b"\x01\x02\x03\x04"

    def __init__(self, port, first=b"", **fields):
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.bytes = b""
        self.socket.sendall(first + self.request(**fields))

    @staticmethod
    def request(line="GET /mqtt HTTP/1.1", **fields):
        usual = {
            "Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec_WebSocket_Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec_WebSocket_Version": "13", "Sec_WebSocket_Protocol": "mqtt",
        } | fields
        head = [line] + [f"{name.replace('_', '-')}: {value}" for name, value in usual.items()
                         if value is not None]
        return ("\r\n".join(head) + "\r\n\r\n").encode()

    def send(self, first, payload=b"", masked=True):
        size = len(payload)
        bit = 0x80 if masked else 0
        if size < 126:
            head = bytes([first, bit | size])
        elif size < 65_536:
            head = bytes([first, bit | 126]) + struct.pack("!H", size)
        else:
            head = bytes([first, bit | 127]) + struct.pack("!Q", size)
        if masked:
            head += self.KEY
            payload = bytes(byte ^ self.KEY[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(head + payload)

    def take(self, count):
        while len(self.bytes) < count:
            more = self.socket.recv(65_536)
            assert more, f"closed after {self.bytes}"
            self.bytes += more
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def head(self):
        while b"\r\n\r\n" not in self.bytes:
            self.bytes += self.socket.recv(65_536) or pytest.fail("no answer")
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        return head.decode()

    def frame(self):
        first, size = self.take(2)
        if size == 126:
            size, = struct.unpack("!H", self.take(2))
        elif size == 127:
            size, = struct.unpack("!Q", self.take(8))
        return first, self.take(size)

    def rest(self):
        """What comes until the broker closes."""
        while more := self.socket.recv(65_536):
            self.bytes += more
        return self.bytes

    def opened(self, client_id="frames"):
        assert " 101 " in self.head()
        self.send(0x82, mqtt.connect(client_id))
        assert self.frame() == (0x82, b"\x20\x02\0\0")
        return self


class OverWebSocket(Client):
    """paho-mqtt with its own WebSocket."""

    def __init__(self, port, scheme, client_id, version):
        at = type("At", (), {"port": port})
        super().__init__(at, client_id, version)
        self.paho._transport = "websockets"
        self.paho.ws_set_options(path="/mqtt")
        if scheme == "wss":
            self.paho.tls_set(cert_reqs=ssl.CERT_NONE)
            self.paho.tls_insecure_set(True)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("version", VERSIONS)
def test_paho(ws, scheme, version, name):
    port = ws.ports[scheme]
    receiver = OverWebSocket(port, scheme, f"{name[:10]}r", VERSIONS[version]).connect()
    sender = OverWebSocket(port, scheme, f"{name[:10]}s", VERSIONS[version]).connect()
    receiver.subscribe(name, qos=2)
    sizes = [0, 1, 120, 126, 5_000, 65_536, 300_000]
    sender.publish_all([(name, b"x" * size, qos) for qos in (0, 1, 2) for size in sizes])
    seen = sorted((message.qos, len(message.payload)) for message in
                  (receiver.next() for _ in range(3 * len(sizes))))
    assert seen == [(qos, size) for qos in (0, 1, 2) for size in sizes]
    receiver.close()
    sender.close()


def opened(url, context):
    """Over TLS the library at times times out at once, as below: it is asked again then."""
    for _ in range(2 if context else 0):
        try:
            return open_websocket(url, subprotocols=["mqtt"], ssl=context)
        except TimeoutError:
            pass
    return open_websocket(url, subprotocols=["mqtt"], ssl=context)


# conformance: 3.1.1:MQTT-6.0.0-2 3.1.1:MQTT-6.0.0-4 5:MQTT-6.0.0-2 5:MQTT-6.0.0-4
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_another_library_fragments_pings_and_closes(ws, scheme):
    context = ssl._create_unverified_context() if scheme == "wss" else None
    url = f"{scheme}://127.0.0.1:{ws.ports[scheme]}/mqtt"
    with opened(url, context) as connection:
        assert connection.subprotocol == "mqtt"
        assert not connection.protocol.extensions
        # A packet byte by byte, each in a frame of one message; several packets in one message.
        packet = mqtt.connect("fragments")
        connection.send(bytes([byte]) for byte in packet)
        assert connection.recv(DEADLINE_S) == b"\x20\x02\0\0"
        for size in (0, 1, 125):
            assert connection.ping(os.urandom(size)).wait(DEADLINE_S)
        connection.send(PINGREQ * 3)
        answer = b""
        while len(answer) < 6:
            answer += connection.recv(DEADLINE_S)
        assert answer == PINGRESP * 3
        connection.close(3_000, "enough")
        # Over TLS this library at times times out at once instead of reading our close frame: it
        # makes a socket non-blocking that its other thread reads.
        if scheme == "ws":
            assert (connection.close_code, connection.protocol.close_rcvd.code) == (3_000, 3_000)


def test_the_close_frame_is_answered_over_tls(ws):
    plain = socket.create_connection(("127.0.0.1", ws.ports["wss"]), DEADLINE_S)
    client = ssl._create_unverified_context().wrap_socket(plain)
    client.sendall(Frames.request())
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4_096)
    client.sendall(b"\x88\x82" + Frames.KEY + bytes([0x0B ^ 1, 0xB8 ^ 2]))
    answer = b""
    while more := client.recv(100):
        answer += more
    assert answer == b"\x88\x02\x0b\xb8"


# conformance: 3.1.1:MQTT-6.0.0-1 5:MQTT-6.0.0-1
def test_another_library_is_refused_a_text_message(ws):
    url = f"ws://127.0.0.1:{ws.ports['ws']}/mqtt"
    with open_websocket(url, subprotocols=["mqtt"]) as connection:
        connection.send("text")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(DEADLINE_S)
        assert closed.value.rcvd.code == 1003


@pytest.mark.parametrize("status, path, options", [
    (400, "/mqtt", {}),
    (400, "/mqtt", {"subprotocols": ["chat"]}),
    (404, "/other", {"subprotocols": ["mqtt"]}),
    (403, "/only", {"subprotocols": ["mqtt"], "origin": "https://bad.example"}),
])
def test_another_library_is_refused(ws, status, path, options):
    port = ws.ports["strict" if path == "/only" else "ws"]
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(f"ws://127.0.0.1:{port}{path}", **options)
    assert refused.value.response.status_code == status
    assert len(refused.value.response.body) > 20


@pytest.mark.parametrize("origin", [None, "https://good.example"])
def test_pages_on_the_list_and_programs_are_let_in(ws, origin):
    url = f"ws://127.0.0.1:{ws.ports['strict']}/only"
    with open_websocket(url, subprotocols=["mqtt"], origin=origin) as connection:
        connection.send(mqtt.connect("origin"))
        assert connection.recv(DEADLINE_S) == b"\x20\x02\0\0"


@pytest.mark.parametrize("status, fields", [
    (426, {"Upgrade": None, "Connection": None}),
    (426, {"Sec_WebSocket_Version": "8"}),
    (400, {"line": "hello"}),
    (400, {"Sec_WebSocket_Key": "short"}),
    (405, {"line": "POST /mqtt HTTP/1.1"}),
    (431, {"X_Long": "x" * 9_000}),
])
def test_http_that_is_no_upgrade(ws, status, fields):
    client = Frames(ws.ports["ws"], **fields)
    head = client.head()
    assert head.startswith(f"HTTP/1.1 {status} "), head
    assert len(client.rest()) > 20, "a sentence"


def test_plain_http_gets_an_answer(ws):
    with socket.create_connection(("127.0.0.1", ws.ports["ws"]), DEADLINE_S) as browser:
        browser.sendall(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert browser.recv(100).startswith(b"HTTP/1.1 426 ")


@pytest.mark.parametrize("code, first, payload, masked", [
    (1002, 0x82, PINGREQ, False),
    (1002, 0xC2, PINGREQ, True),
    (1002, 0x83, PINGREQ, True),
    (1002, 0x80, PINGREQ, True),
    (1002, 0x09, b"", True),
    (1002, 0x89, b"x" * 126, True),
    (1002, 0x88, b"\x03", True),
    (1002, 0x88, struct.pack("!H", 1005), True),
    (1003, 0x81, b"text", True),
    (1007, 0x88, struct.pack("!H", 1000) + b"\xff", True),
])
def test_violations_end_with_their_code(ws, code, first, payload, masked):
    client = Frames(ws.ports["ws"]).opened()
    client.send(first, payload, masked)
    assert client.frame() == (0x88, struct.pack("!H", code))
    assert client.rest() == b""


def test_a_length_of_64_bits_is_no_memory(ws):
    client = Frames(ws.ports["ws"]).opened()
    client.socket.sendall(b"\x82\xff" + struct.pack("!Q", 1 << 62) + b"\0\0\0\0" + PINGREQ * 2)
    assert client.frame() == (0x82, PINGRESP * 2)


@pytest.mark.parametrize("length", [
    b"\xfe" + struct.pack("!H", 125),
    b"\xff" + struct.pack("!Q", 125),
    b"\xff" + struct.pack("!Q", 0xFFFF),
    b"\xff" + struct.pack("!Q", 1 << 63),
])
def test_lengths_that_are_not_in_their_shortest_form(ws, length):
    client = Frames(ws.ports["ws"]).opened()
    client.socket.sendall(b"\x82" + length + b"\0\0\0\0" + PINGREQ)
    assert client.frame() == (0x88, struct.pack("!H", 1002))
    assert client.rest() == b""


@pytest.mark.parametrize("scheme, first", [
    ("ws", b""), ("ws", b"GET /mqtt HTTP/1.1\r\nHost: x\r\n"), ("proxied", b"PROXY TCP4 203.0.113.7"),
    ("tcp", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"),
])
def test_a_handshake_that_never_finishes_is_closed(tmp_path, scheme, first):
    running = start(tmp_path, 1, connect_timeout=1)
    try:
        with socket.create_connection(("127.0.0.1", running.ports[scheme]), DEADLINE_S) as client:
            client.sendall(first)
            assert client.recv(100) == b""
        running.wait_log("within connect-timeout")
    finally:
        running.close()


def test_ping_between_fragments_and_close(ws):
    client = Frames(ws.ports["ws"]).opened()
    client.send(0x02, PINGREQ[:1])
    client.send(0x89, b"now")
    client.send(0x80, PINGREQ[1:])
    assert client.frame() == (0x8A, b"now")
    assert client.frame() == (0x82, PINGRESP)
    client.send(0x88, struct.pack("!H", 1001) + b"bye")
    assert client.frame() == (0x88, struct.pack("!H", 1001))
    assert client.rest() == b""


def test_other_protocols_are_named_in_the_log(quiet):
    for first, named in [(mqtt.connect("lost"), "MQTT without WebSocket"),
                         (b"\x16\x03\x01\x02\0\x01", "TLS came")]:
        with socket.create_connection(("127.0.0.1", quiet.ports["ws"]), DEADLINE_S) as client:
            client.sendall(first)
            assert client.recv(100) == b""
        quiet.wait_log(named)


def test_bad_proxy_headers_are_named_in_the_log(quiet):
    v2 = b"\r\n\r\n\0\r\nQUIT\n"
    rows = [
        ("tcp", b"", "does not begin with a PROXY header"),
        ("tcp", b"PROXY TCP4 nobody 192.0.2.1 4711 1883\r\n", "malformed PROXY header of version 1"),
        ("tcp", b"PROXY TCP4 " + b"1" * 100, "a PROXY header of version 1 does not end"),
        ("tcp", v2 + b"\x31\x11\0\x0c" + bytes(12), "malformed PROXY header of version 2"),
        ("tcp", v2 + b"\x21\x11\0\x0b" + bytes(11), "malformed PROXY header of version 2"),
        ("foreign", b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 1883\r\n", "is not in trusted-proxies"),
    ]
    for name, first, sentence in rows:
        since = len(quiet.log())
        with socket.create_connection(("127.0.0.1", quiet.ports[name]), DEADLINE_S) as client:
            client.sendall(first + mqtt.connect("proxied"))
            assert client.recv(100) == b""
        quiet.wait_log(sentence, since)


def test_the_address_of_a_client_behind_proxies(quiet):
    def violate(client):
        client.send(0x81, b"text")  # whatever ends it is logged with its address
        client.rest()

    violate(Frames(quiet.ports["ws"], X_Forwarded_For="198.51.100.1, 203.0.113.7").opened("xff"))
    quiet.wait_log("203.0.113.7:0")
    assert "198.51.100.1" not in quiet.log()
    first = b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 1883\r\n"
    violate(Frames(quiet.ports["proxied"], first=first).opened("v1"))
    quiet.wait_log("203.0.113.8:4711")
    first = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 9, 192, 0, 2, 1]) + \
        struct.pack("!HH", 4712, 1883)
    violate(Frames(quiet.ports["proxied"], first=first).opened("v2"))
    quiet.wait_log("203.0.113.9:4712")


@pytest.mark.parametrize("shards", [1, 4])
def test_limits_of_a_source_behind_a_proxy(tmp_path, shards):
    """The client that a trusted proxy names is the source, for rates and for bans."""
    ports = {name: free_port() for name in ("tcp", "ws")}
    more = ["connect-rate-source = 3", 'trusted-proxies = ["127.0.0.1"]']
    config, passwords = tmp_path / "ringmq.toml", tmp_path / "passwords"
    subprocess.run([BINARY, "passwd", "-c", "-b", "--rounds", "10", passwords, "ann", "one"], check=True)
    config.write_text(f'password-file = "{passwords}"\nallow-anonymous = true\nban-failures = 2\n'
                      + listener(ports["tcp"], "tcp", "proxy-protocol = true", *more)
                      + listener(ports["ws"], "ws", *more))
    running = Broker(shards, port=ports["tcp"], config=config)

    def through_proxy(client, packet=mqtt.connect("p")):
        with socket.create_connection(("127.0.0.1", ports["tcp"]), DEADLINE_S) as one:
            one.sendall(f"PROXY TCP4 {client} 192.0.2.1 4711 1883\r\n".encode() + packet)
            try:
                return one.recv(4)
            except ConnectionError:
                return b""

    try:
        for n in range(20):
            assert through_proxy(f"198.51.100.{n}") == b"\x20\x02\0\0", "each for itself"
        assert b"" in [through_proxy("203.0.113.1") for _ in range(20)]
        running.wait_line("203.0.113.1:4711", "connect-rate-source of its listener is reached")
        wrong = mqtt.packet(0x10, mqtt.NAMES[4], b"\xc2\0\0", *map(mqtt.text, ["b", "ann", "two"]))
        assert [through_proxy("203.0.113.2", wrong) for _ in range(2)] == [b"\x20\x02\0\x04"] * 2
        assert through_proxy("203.0.113.2") == b""
        for n in range(20):
            Frames(ports["ws"], X_Forwarded_For=f"198.51.100.{n}").opened(f"x{n}")
        over = [Frames(ports["ws"], X_Forwarded_For="203.0.113.3") for _ in range(20)]
        of_source = {port: 0 for port in ports.values()}

        def counted():
            since = len(running.log())
            running.send_signal(signal.SIGUSR1)
            for port in ports.values():
                running.wait_log(f"refused by the listener on 127.0.0.1:{port}:", since)
                line = running.log()[since:].split(f"127.0.0.1:{port}: ")[1].splitlines()[0]
                of_source[port] = int(line.split("connect-rate-source=")[1].split()[0])
            assert " refused_banned=1 " in running.log()[since:]
            return of_source[ports["ws"]] >= 10

        # The log has ten lines a second; the counters have all.
        eventually(counted)
        assert of_source[ports["tcp"]] >= 10
        for one in over:
            one.socket.close()
    finally:
        running.close()


@pytest.mark.parametrize("listener_name, first, answered", [
    ("tcp", b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 1883\r\n", True),
    ("tcp", b"PROXY UNKNOWN\r\n", True),
    ("tcp", b"", False),
    ("tcp", b"PROXY TCP4 nobody 192.0.2.1 4711 1883\r\n", False),
    ("foreign", b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 1883\r\n", False),
    ("foreign", b"", False),
])
def test_proxy_protocol_in_front_of_mqtt(ws, listener_name, first, answered):
    with socket.create_connection(("127.0.0.1", ws.ports[listener_name]), DEADLINE_S) as client:
        client.sendall(first + mqtt.connect("proxied"))
        assert client.recv(100) == (b"\x20\x02\0\0" if answered else b"")
