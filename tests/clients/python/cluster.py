"""Three NATS servers and brokers that are nodes of one cluster, on loopback."""

import os
import shutil
import signal
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

    def __init__(self, count=3, extra="", is_awaited=True):
        self.folder = tempfile.mkdtemp(prefix="ringmq-nats-")
        self.ports = [free_port() for _ in range(count)]
        self.monitors = [free_port() for _ in range(count)]
        routes = [free_port() for _ in range(count)]
        self.processes = [None] * count
        for n in range(count):
            text = (
                f'server_name: n{n}\nlisten: "127.0.0.1:{self.ports[n]}"\nhttp: "127.0.0.1:{self.monitors[n]}"\n'
                f'jetstream {{ store_dir: "{self.folder}/n{n}", sync_interval: always }}\n{extra}\n'
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
        return [f"nats://127.0.0.1:{port}" for port in self.ports]

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


def start_node(start, nats, name, shards=2, joins=True, **options):
    """A broker that is a node; it has joined, unless it is not to."""
    broker = start(shards, cluster=nats.urls(), node=name, **options)
    if joins:
        broker.wait_log(f"node {name} is one of")
    return broker


__all__ = ["Broker", "Nats", "start_node"]
