"""Three NATS servers and brokers that are nodes of one cluster, on loopback."""

import base64
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from broker import START_S, Broker, free_port

# nats-server comes by name in an environment of its own (scripts/test.sh).
NATS = os.environ.get("NATS_SERVER", os.path.join(sys.prefix, "nats", "bin", "nats-server"))


class Nats:
    """NATS servers with JetStream and sync_interval: always; one by itself has no cluster."""

    def __init__(self, count=3, extra="", is_awaited=True, scheme="nats", sync=("always",) * 3):
        self.scheme = scheme
        self.folder = tempfile.mkdtemp(prefix="ringmq-nats-")
        self.ports = [free_port() for _ in range(count)]
        self.monitors = [free_port() for _ in range(count)]
        routes = [free_port() for _ in range(count)]
        self.processes = [None] * count
        for n in range(count):
            text = (
                f'server_name: n{n}\nlisten: "127.0.0.1:{self.ports[n]}"\nhttp: "127.0.0.1:{self.monitors[n]}"\n'
                f'jetstream {{ store_dir: "{self.folder}/n{n}", sync_interval: {sync[n]} }}\n{extra}\n'
            )
            if count > 1:
                others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
                text += f'cluster {{ name: tests, listen: "127.0.0.1:{routes[n]}", routes: [{others}] }}\n'
            with open(os.path.join(self.folder, f"n{n}.conf"), "w", encoding="utf-8") as config:
                config.write(text)
            self.start(n)
        for n in range(count if is_awaited else 0):
            self.wait_healthy(n)

    def start(self, n):
        with open(os.path.join(self.folder, f"n{n}.log"), "ab") as log:
            self.processes[n] = subprocess.Popen(
                [NATS, "--config", os.path.join(self.folder, f"n{n}.conf")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def wait_healthy(self, n):
        end = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.monitors[n]}/healthz", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            assert time.monotonic() < end, f"NATS server {n} is not healthy"
            time.sleep(0.05)

    def urls(self):
        return [f"{self.scheme}://127.0.0.1:{port}" for port in self.ports]

    def signal(self, number):
        for process in self.processes:
            process.send_signal(number)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class NatsClient:
    """Requests to a NATS server, by its text protocol."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=START_S)
        self.file = self.socket.makefile("rb")
        self.numbers = itertools.count(1)
        self._send(b'CONNECT {"verbose":false,"headers":true}\r\nSUB _INBOX.tests.> 1\r\n')

    def _send(self, data):
        self.socket.sendall(data)

    def request(self, subject, payload=b"", headers=b""):
        """The answer's payload."""
        inbox = f"_INBOX.tests.{next(self.numbers)}"
        if headers:
            head = f"HPUB {subject} {inbox} {len(headers)} {len(headers) + len(payload)}"
        else:
            head = f"PUB {subject} {inbox} {len(payload)}"
        self._send(head.encode() + b"\r\n" + headers + payload + b"\r\n")
        while True:
            line = self.file.readline()
            assert line, "the server has closed the connection"
            if line == b"PING\r\n":
                self._send(b"PONG\r\n")
            elif line.startswith(b"MSG "):
                _, to, _, *_, length = line.split()
                answer = self.file.read(int(length) + 2)[:-2]
                if to.decode() == inbox:
                    return answer
            else:
                assert not line.startswith((b"-ERR", b"HMSG")), line

    def api(self, subject, **fields):
        answer = json.loads(self.request(f"$JS.API.{subject}", json.dumps(fields).encode()))
        assert "error" not in answer, answer
        return answer

    def forget_newest(self, stream, count):
        """Has the servers lose the newest messages of a stream, as an older copy of their files would."""
        info = self.api(f"STREAM.INFO.{stream}")
        first, last = info["state"]["first_seq"], info["state"]["last_seq"] - count
        assert first <= last
        kept = []
        for number in range(first, last + 1):
            try:
                kept.append(self.api(f"STREAM.MSG.GET.{stream}", seq=number)["message"])
            except AssertionError:
                kept.append(None)  # purged
        assert None not in kept
        self.api(f"STREAM.DELETE.{stream}")
        config = {key: value for key, value in info["config"].items() if key != "metadata"}
        self.api(f"STREAM.CREATE.{stream}", **{**config, "first_seq": first})
        for message in kept:
            headers = base64.b64decode(message.get("hdrs", ""))
            lines = [line for line in headers.split(b"\r\n") if line and b"Expected" not in line]
            headers = b"\r\n".join(lines or [b"NATS/1.0"]) + b"\r\n\r\n"
            answer = json.loads(self.request(message["subject"], base64.b64decode(message.get("data", "")), headers))
            assert answer.get("seq") == message["seq"], answer

    def close(self):
        self.file.close()
        self.socket.close()


def start_node(start, nats, name, shards=2, joins=True, **options):
    """A broker that is a node; it has joined, unless it is not to."""
    broker = start(shards, cluster=nats.urls(), node=name, **options)
    if joins:
        broker.wait_log(f"node {name} is one of")
    return broker


__all__ = ["Broker", "Nats", "NatsClient", "start_node"]
