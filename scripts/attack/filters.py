#!/usr/bin/env python3
"""What filters and aliases cost: memory that a few clients can pin, and how long others wait.

    filters.py BINARY [--shards N] [-- more options of the broker]

Starts the broker on a free port, attacks it, and prints memory of the process (RSS) and the longest
round trip of a bystander's pings. Python's standard library only; nothing leaves this machine.
"""

import argparse
import os
import socket
import subprocess
import sys
import threading
import time


def length(n):
    out = bytearray()
    while True:
        out.append(n & 127 | (128 if n > 127 else 0))
        n >>= 7
        if not n:
            return bytes(out)


def packet(first, body):
    return bytes([first]) + length(len(body)) + body


def text(string):
    raw = string.encode()
    return len(raw).to_bytes(2, "big") + raw


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    def __init__(self, port, name):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.socket.sendall(packet(0x10, text("MQTT") + b"\x05\x02\0\0\0" + text(name)))
        first, body = self.receive()
        assert first == 0x20 and body[1] == 0, f"CONNACK {body!r}"

    def receive(self):
        while True:
            end = self.end_of_packet()
            if end:
                start, end = end
                first, body = self.buffer[0], bytes(self.buffer[start:end])
                del self.buffer[:end]
                return first, body
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionError("closed")
            self.buffer += more

    def end_of_packet(self):
        size = shift = 0
        for at in range(1, min(len(self.buffer), 5)):
            size |= (self.buffer[at] & 127) << shift
            shift += 7
            if self.buffer[at] < 128:
                return (at + 1, at + 1 + size) if len(self.buffer) > at + size else None
        return None

    def subscribe(self, filters):
        """Returns how many are granted."""
        body = b"\0\1\0" + b"".join(text(one) + b"\0" for one in filters)
        self.socket.sendall(packet(0x82, body))
        first, body = self.receive()
        assert first == 0x90, hex(first)
        return sum(code < 0x80 for code in body[3:])


class Bystander(threading.Thread):
    """Pings, and notes the longest round trip since it was last asked."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client = Client(port, "bystander")
        self.longest = 0
        self.start()

    def run(self):
        while True:
            began = time.monotonic()
            try:
                self.client.socket.sendall(b"\xc0\0")
                self.client.receive()
            except OSError:
                return  # the broker was stopped
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.002)

    def take(self):
        longest, self.longest = self.longest, 0
        return f"longest round trip {longest * 1000:.0f} ms"


def rss_mib(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def report(what, process, bystander):
    print(f"{what:<58} {rss_mib(process.pid):>5} MiB, {bystander.take()}", flush=True)


def long_filters(port, process, bystander):
    attacker = Client(port, "long")
    granted = 0
    for first in range(0, 10_000, 10):
        more = attacker.subscribe(f"{n:05}{'x' * 64_995}" for n in range(first, first + 10))
        granted += more
        if not more:
            break
    report(f"one client, {granted} filters of 65,000 bytes granted", process, bystander)
    attacker.socket.close()
    time.sleep(2)
    report("it has left", process, bystander)


def many_sessions(port, process, bystander, sessions, share):
    clients = []
    for n in range(sessions):
        clients.append(Client(port, f"many-{n}"))
        granted = clients[-1].subscribe(f"{share}a/{n}/{m}" for m in range(8_000))
        assert granted == 8_000, granted
    kind = "shared" if share else "plain"
    report(f"{sessions} sessions with 8,000 {kind} filters each", process, bystander)
    for client in clients:
        client.socket.close()
    time.sleep(4)
    report("they have left together", process, bystander)


def aliases(port, process, bystander):
    refused = 0
    clients = [Client(port, f"alias-{n}") for n in range(20)]
    for client in clients:
        for n in range(1, 65):
            topic = text(f"{n:05}{'x' * 64_995}")
            client.socket.sendall(packet(0x30, topic + b"\x03\x23" + n.to_bytes(2, "big")))
            if n % 8 == 0:
                time.sleep(0.01)
            try:
                client.socket.sendall(b"\xc0\0")
                if client.receive()[0] == 0xE0:
                    raise ConnectionError
            except (ConnectionError, TimeoutError):
                refused += 1
                break
    report(f"20 clients, aliases of 65,000 bytes, {refused} ended", process, bystander)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--shards", default="1")
    parser.add_argument("--sessions", type=int, default=131)
    parser.add_argument("--settle", type=float, default=0, help="seconds to wait at the end")
    arguments, more = parser.parse_known_args()
    port = free_port()
    command = [arguments.binary, "--listen", f"127.0.0.1:{port}", "--shards", arguments.shards]
    process = subprocess.Popen([*command, *(one for one in more if one != "--")])
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        bystander = Bystander(port)
        time.sleep(1)
        report("at the start", process, bystander)
        long_filters(port, process, bystander)
        many_sessions(port, process, bystander, arguments.sessions, "")
        many_sessions(port, process, bystander, arguments.sessions, "$share/g/")
        aliases(port, process, bystander)
        if arguments.settle:
            time.sleep(arguments.settle)
            report(f"after {arguments.settle:.0f} s", process, bystander)
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    sys.exit(main())
