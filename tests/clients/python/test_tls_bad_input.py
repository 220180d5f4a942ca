"""What a hostile or mistaken peer sends to a TLS listener: each ends alone, with a sentence in the log."""

import shutil
import socket
import ssl

import pytest

import raw as mqtt
from authority import Authority
from broker import free_port
from client import DEADLINE_S
from secured import authority, client_hello, context, exchange, secure, start_tls, table

pytestmark = [
    pytest.mark.ringmq,
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]

PINGREQ, PINGRESP = b"\xc0\0", b"\xd0\0"
PROXY_V1 = b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 1883\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


class Wire:
    """A TLS client whose records are in the hands of the test."""

    def __init__(self, port, tls):
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self._until(self.tls.do_handshake)
        self.socket.sendall(self.outgoing.read())

    def _until(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                more = self.socket.recv(65_536)
                if not more:
                    return b""
                self.incoming.write(more)

    def sealed(self, data):
        """The record that carries these bytes."""
        self.tls.write(data)
        return self.outgoing.read()

    def read(self, count):
        return self._until(lambda: self.tls.read(count))

    def connected(self, client_id="wire"):
        self.socket.sendall(self.sealed(mqtt.connect(client_id)))
        assert self.read(4) == b"\x20\x02\0\0"
        return self

    def ends(self):
        """What comes until the broker closes, its alert included."""
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionError:
            pass  # closed while bytes of ours were unread


def changed(record):
    return record[:-1] + bytes([record[-1] ^ 1])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_cut_changed_or_too_large_end_their_connection_alone(start_tls, authority, version):
    broker = start_tls(shards=1)
    tls = context(authority, version=version)
    witness = Wire(broker.tls_port, tls).connected("witness")
    rows = [
        (changed, "a TLS record does not decrypt"),
        (lambda record: b"\x17\x03\x03\xff\xff" + bytes(65_535), "larger than 16 KiB"),
        (lambda record: b"\x17\x03\x03\x48\x01" + bytes(0x4801), "larger than 16 KiB"),
        (lambda record: PINGREQ * 3, "what came is no TLS record"),
        (lambda record: b"\x16\x03\x03\x00\x04\x01\x00\x00\x00", ""),
        (lambda record: record[:-3], "the stream ended inside a TLS record"),
        (lambda record: record[:3], "the stream ended inside a TLS record"),
    ]
    for bend, sentence in rows:
        since = len(broker.log())
        wire = Wire(broker.tls_port, tls).connected("bent")
        wire.socket.sendall(bend(wire.sealed(PINGREQ)))
        wire.socket.shutdown(socket.SHUT_WR)
        wire.ends()
        broker.wait_log(sentence, since)
    witness.socket.sendall(witness.sealed(PINGREQ))
    assert witness.read(2) == PINGRESP


def test_a_record_in_pieces_is_whole(start_tls, authority):
    wire = Wire(start_tls(shards=1).tls_port, context(authority)).connected()
    for byte in wire.sealed(PINGREQ):
        wire.socket.sendall(bytes([byte]))
    assert wire.read(2) == PINGRESP


def test_a_handshake_byte_by_byte_has_no_more_time(start_tls, authority):
    """Bytes that come do not put the deadline off."""
    broker = start_tls(shards=1, options={"connect_timeout": 1})
    with socket.create_connection(("127.0.0.1", broker.tls_port), DEADLINE_S) as slow:
        slow.settimeout(0.05)
        for byte in client_hello(authority):
            try:
                slow.sendall(bytes([byte]))
                assert slow.recv(1) == b"", "an answer to half a handshake"
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the whole handshake fitted into the time")
    broker.wait_log("no end of its handshake within connect-timeout")


def named_in_the_log(broker, rows):
    """No more than ten rows: a shard logs ten lines a second at most."""
    for port, data, _ in rows:
        exchange(port, data)
    for _, _, sentence in rows:
        broker.wait_log(sentence)


HTTP = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n"
CONNECT = mqtt.connect("lost")


def test_other_protocols_on_listeners_of_tls_and_tcp_are_named(start_tls, authority):
    broker = start_tls(shards=1)
    named_in_the_log(broker, [
        (broker.tls_port, CONNECT, "plain MQTT on a TLS listener"),
        (broker.tls_port, HTTP, "plain HTTP on a TLS listener"),
        (broker.tls_port, PROXY_V1, "a PROXY header on a TLS listener without"),
        (broker.tls_port, PROXY_V2, "a PROXY header on a TLS listener without"),
        (broker.tls_port, b"\0\1\2", "not TLS: the first byte is 0x00"),
        (broker.port, client_hello(authority), "TLS on a listener without"),
        (broker.port, HTTP, "HTTP on a listener of MQTT"),
        (broker.port, PROXY_V1, "a PROXY header on a listener without"),
    ])


def test_other_protocols_on_listeners_of_websocket_and_behind_proxies_are_named(
        start_tls, authority):
    server = {"tls_certificate": authority.path("server.pem"), "tls_key": authority.path("server.key")}
    ws, wss, proxied = free_port(), free_port(), free_port()
    more = table(f"127.0.0.1:{wss}", transport="wss", **server)
    more += table(f"127.0.0.1:{ws}", transport="ws")
    more += table(f"127.0.0.1:{proxied}", transport="tls", trusted_proxies=["127.0.0.0/8"], **server)
    broker = start_tls(shards=1, more=more + "proxy-protocol = true\n")
    hello = client_hello(authority)
    named_in_the_log(broker, [
        (wss, CONNECT, "plain MQTT on a TLS listener"),
        (wss, HTTP, "plain HTTP on a TLS listener"),
        (ws, hello, "TLS came to a listener of WebSocket without TLS"),
        (ws, CONNECT, "MQTT without WebSocket came to a listener of WebSocket"),
        (proxied, hello, "does not begin with a PROXY header"),
        (proxied, PROXY_V1 + CONNECT, "plain MQTT on a TLS listener"),
    ])
    # Inside TLS, where WebSocket is spoken.
    wire = Wire(wss, context(authority))
    wire.socket.sendall(wire.sealed(HTTP))
    assert wire.read(100).startswith(b"HTTP/1.1 426 ")
    since = len(broker.log())
    wire = Wire(wss, context(authority))
    wire.socket.sendall(wire.sealed(CONNECT))
    wire.ends()
    broker.wait_log("MQTT without WebSocket came to a listener of WebSocket", since)


def test_a_client_that_does_not_trust_us_is_told_so_in_the_log(start_tls, authority, tmp_path):
    """Certificates of the broker that are of another authority, for another host, expired, self-signed."""
    authority.expired("old")
    authority.self_signed("own")
    strangers = context(Authority(tmp_path / "stranger", "a stranger"))
    trusting = context(authority)
    rows = [
        ("server", strangers, "localhost", "does not accept the certificate of this listener"),
        ("server", trusting, "wrong.example", "does not accept the certificate of this listener"),
        ("old", trusting, "localhost", "the certificate of this listener has expired"),
        ("own", trusting, "localhost", "does not accept the certificate of this listener"),
    ]
    for server, tls, host, sentence in rows:
        broker = start_tls(shards=1, server=(server,))
        with socket.create_connection(("127.0.0.1", broker.tls_port), DEADLINE_S) as plain:
            with pytest.raises(ssl.SSLCertVerificationError):
                tls.wrap_socket(plain, server_hostname=host)
        broker.wait_log(sentence)
    secure(start_tls(), trusting).connect().close()
