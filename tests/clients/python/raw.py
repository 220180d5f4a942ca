"""MQTT by hand over a socket: for what a well-behaved library cannot send."""

import socket
import struct
import time

DEADLINE_S = 20


def length(value):
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(first, *parts):
    body = b"".join(parts)
    return bytes([first]) + length(len(body)) + body


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def section(version, content=b""):
    return length(len(content)) + content if version == 5 else b""


NAMES = {3: b"\0\x06MQIsdp\x03", 4: b"\0\x04MQTT\x04", 5: b"\0\x04MQTT\x05"}


def connect(client_id, version=4, clean=True, keep_alive=0, properties=b"", will=None, login=()):
    """`will`: (topic, payload, properties) or None; `login`: user name, or user name and password."""
    flags = 0x02 if clean else 0
    tail = b""
    if will:
        flags |= 0x04
        tail = section(version, will[2]) + text(will[0]) + text(will[1])
    flags |= (0, 0x80, 0xC0)[len(login)]
    tail += b"".join(map(text, login))
    return packet(0x10, NAMES[version], bytes([flags]), struct.pack("!H", keep_alive),
                  section(version, properties), text(client_id), tail)


def publish(topic, payload=b"", qos=0, packet_id=None, version=4, properties=b"", retain=False,
            dup=False):
    first = 0x30 | (0x08 if dup else 0) | qos << 1 | retain
    number = struct.pack("!H", packet_id) if qos else b""
    return packet(first, text(topic), number, section(version, properties), payload)


def subscribe(packet_id, filters, version=4, properties=b""):
    """`filters`: pairs of filter and options."""
    body = b"".join(text(f) + bytes([options]) for f, options in filters)
    return packet(0x82, struct.pack("!H", packet_id), section(version, properties), body)


def ack(first, packet_id):
    return packet(first, struct.pack("!H", packet_id))


class Publish:
    """A received PUBLISH."""

    def __init__(self, first, body, version):
        self.qos, self.dup, self.retain = first >> 1 & 3, bool(first & 8), bool(first & 1)
        size = struct.unpack_from("!H", body)[0]
        self.topic = body[2:2 + size].decode()
        at = 2 + size
        self.packet_id = None
        if self.qos:
            self.packet_id = struct.unpack_from("!H", body, at)[0]
            at += 2
        self.properties = b""
        if version == 5:
            size, used = read_length(body[at:])
            self.properties = body[at + used:at + used + size]
            at += used + size
        self.payload = body[at:]


def read_length(data):
    value = 0
    for index, byte in enumerate(data[:4]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, index + 1
    raise ValueError("incomplete")


class Raw:
    """A socket and the packets that come out of it."""

    def __init__(self, broker, version=4, receive_buffer=None):
        self.version = version
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", broker.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, *packets):
        self.socket.sendall(b"".join(packets))

    def send_as_far_as_possible(self, data):
        """For data the broker may refuse midway."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def receive(self):
        """First byte and body of the next packet; None at the end of the connection."""
        while True:
            try:
                size, used = read_length(self.buffer[1:])
                end = 1 + used + size
                if len(self.buffer) >= end:
                    first, body = self.buffer[0], self.buffer[1 + used:end]
                    self.buffer = self.buffer[end:]
                    return first, body
            except ValueError:
                pass
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self.buffer += data

    def expect(self, first):
        received = self.receive()
        assert received is not None, f"closed instead of {first:02x}"
        assert received[0] & 0xF0 == first & 0xF0, f"{received} instead of {first:02x}"
        return received[1]

    def expect_publish(self):
        received = self.receive()
        assert received is not None, "closed instead of a PUBLISH"
        assert received[0] & 0xF0 == 0x30, f"{received} instead of a PUBLISH"
        return Publish(received[0], received[1], self.version)

    def expect_end(self):
        """Reads to the end of the connection; returns the packets before it."""
        packets = []
        while (received := self.receive()) is not None:
            packets.append(received)
        return packets

    def connect(self, client_id, **options):
        """CONNECT and its CONNACK; returns session present."""
        self.send(connect(client_id, self.version, **options))
        body = self.expect(0x20)
        assert body[1] == 0, f"refused with {body[1]:02x}"
        return bool(body[0])

    def subscribe(self, *filters, packet_id=1, properties=b""):
        self.send(subscribe(packet_id, filters, self.version, properties))
        body = self.expect(0x90)
        return body[-len(filters):]

    def ping(self):
        """Everything sent before has been handled when this returns; other packets are passed by."""
        self.send(b"\xc0\0")
        passed = []
        while (received := self.receive()) is not None:
            if received[0] == 0xD0:
                return passed
            passed.append(received)
        raise AssertionError("closed instead of PINGRESP")

    def is_open(self):
        try:
            self.ping()
            return True
        except (AssertionError, OSError):
            return False

    def close(self):
        self.socket.close()


def wait(seconds):
    """Lets time pass where the passing of time is what is tested."""
    time.sleep(seconds)
