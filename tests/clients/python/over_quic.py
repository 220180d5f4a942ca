"""MQTT over QUIC by aioquic, which has nothing in common with the broker's QUIC: without its event loop, as a socket."""

import socket
import time

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived, StreamReset
from raw import DEADLINE_S, Raw


class QuicSocket:
    """One stream of a connection, with the calls of a socket that tests use."""

    def __init__(self, port, authority=None, own=None, alpn="mqtt", **settings):
        configuration = QuicConfiguration(is_client=True, alpn_protocols=[alpn], server_name="localhost", **settings)
        if authority:
            configuration.load_verify_locations(authority.ca)
        if own:
            configuration.load_cert_chain(*own)
        self.to = ("127.0.0.1", port)
        self.udp = self._socket()
        self.quic = QuicConnection(configuration=configuration)
        self.received, self.ended, self.terminated, self.is_open = b"", False, None, False
        self.quic.connect(self.to, now=time.monotonic())
        self._until(lambda: self.is_open or self.terminated)
        if self.terminated:
            raise ConnectionError(self.terminated.reason_phrase)
        self.stream = self.quic.get_next_available_stream_id()

    @staticmethod
    def _socket():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        return udp

    def _turn(self, patience):
        now = time.monotonic()
        for data, _ in self.quic.datagrams_to_send(now=now):
            self.udp.sendto(data, self.to)
        timer = self.quic.get_timer()
        wait = min(patience, max(0, (timer or now + patience) - now))
        self.udp.settimeout(wait or 0.0001)
        try:
            data, _ = self.udp.recvfrom(1 << 16)
            self.quic.receive_datagram(data, self.to, now=time.monotonic())
        except (TimeoutError, BlockingIOError):
            pass
        if timer is not None and time.monotonic() >= timer:
            self.quic.handle_timer(now=time.monotonic())
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self.is_open = True
            elif isinstance(event, StreamDataReceived):
                self.received += event.data
                self.ended |= event.end_stream
            elif isinstance(event, StreamReset):
                self.ended = True
            elif isinstance(event, ConnectionTerminated):
                self.terminated = event

    def _until(self, is_so, seconds=DEADLINE_S):
        end = time.monotonic() + seconds
        while not is_so():
            left = end - time.monotonic()
            assert left > 0, "no answer over QUIC"
            self._turn(left)

    def sendall(self, data):
        self.quic.send_stream_data(self.stream, data)
        for packet, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            self.udp.sendto(packet, self.to)

    def recv(self, _):
        self._until(lambda: self.received or self.ended or self.terminated)
        data, self.received = self.received, b""
        return data

    def settimeout(self, _):
        pass

    def code(self):
        """The code with which the broker closes the connection."""
        self._until(lambda: self.terminated)
        return self.terminated.error_code

    def move(self):
        """The client is at another address from now on: what is on its way to the old one is lost."""
        before, self.udp = self.udp, self._socket()
        before.close()

    def close(self):
        if not self.terminated:
            self.quic.close()
            for packet, _ in self.quic.datagrams_to_send(now=time.monotonic()):
                self.udp.sendto(packet, self.to)
        self.udp.close()


class QuicRaw(Raw):
    """A stream and the packets that come out of it."""

    def __init__(self, broker, version=4, **options):  # pylint: disable=super-init-not-called
        self.version = version
        self.socket = QuicSocket(broker.tls_port, **options)
        self.buffer = b""
