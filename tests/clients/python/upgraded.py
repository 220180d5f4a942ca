"""A broker whose process is replaced by another one, again and again, as tests see it."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from broker import Broker, free_port
from client import V5, Client, eventually
from test_mqload_kubernetes import MQLOAD

PATIENCE_S = 30
SERVES = re.compile(r"upgrade: process (\d+) serves")


class Upgraded(Broker):
    """Knows the process that serves now; what it has started ends with the test."""

    def __init__(self, *args, program=None, **options):
        self.now, self.program = None, program
        super().__init__(*args, **options)
        self.now = self.process.pid

    def _ringmq(self, options, is_told):
        command = super()._ringmq(options, is_told)
        if "config" in options:
            command = [command[0], *command[3:]]  # the file has the number of shards
        return [self.program or command[0], *command[1:]]

    @property
    def pid(self):
        return self.now or self.process.pid

    def is_running(self):
        return is_alive(self.pid) if self.now else super().is_running()

    def upgrade(self, keeps_layers=False):
        """Asks for another process and waits for what comes of it; what was logged meanwhile. With `keeps_layers` the old
        process stays."""
        since, before = len(self.log()), self.pid
        os.kill(before, signal.SIGUSR2)
        end = time.monotonic() + PATIENCE_S
        while True:
            said = self.log()[since:]
            found = SERVES.search(said)
            if found and "INFO ready" in said:
                self.now = int(found.group(1))
                if not keeps_layers:
                    wait_for_end(before, self.process)
                return said
            if "this process goes on" in said:
                return said
            assert time.monotonic() < end, said
            time.sleep(0.005)

    def close(self):
        if self.now not in (None, self.process.pid):
            if is_alive(self.now):
                os.kill(self.now, signal.SIGKILL)
            end = time.monotonic() + PATIENCE_S
            while is_alive(self.now):
                assert time.monotonic() < end
                time.sleep(0.005)
        self.now = None
        super().close()


def is_alive(pid):
    """False also of one that nobody has waited for."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_end(pid, process):
    end = time.monotonic() + PATIENCE_S
    while is_alive(pid):
        if pid == process.pid:
            process.poll()
        assert time.monotonic() < end, f"process {pid} has not ended"
        time.sleep(0.005)


@pytest.fixture
def upgraded():
    running = []

    def run(shards=2, **options):
        running.append(Upgraded(shards, **options))
        return running[-1]

    yield run
    for one in running:
        one.close()


@pytest.fixture
def joined():
    """Connects clients that are closed with the test."""
    made = []

    def run(broker, client_id, version=V5, **options):
        made.append(Client(broker, client_id, version, **options))
        return made[-1].connect()

    yield run
    for one in made:
        one.close()


class Configured:
    """A file that the broker reads again when it is replaced."""

    def __init__(self, folder):
        self.path, self.port = folder / "ringmq.toml", free_port()

    def write(self, shards, *more):
        lines = [f"shards = {shards}", *more, "[[listener]]", f'address = "127.0.0.1:{self.port}"']
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, upgraded):
        return upgraded(0, port=self.port, config=self.path)


class Flow:
    """Verified pairs of mqload, which runs until it is asked for its result."""

    def __init__(self, broker, folder, qos, seconds, *more, port=None, clients=10, rate=1000, targets=()):
        self.port = port or broker.port
        targets = targets or ["--target", f"127.0.0.1:{self.port}"]
        self.path = folder / f"flow-{qos}.json"
        self.process = subprocess.Popen(
            [MQLOAD, "pairs", "--clients", str(clients), "--rate", str(rate), "--qos", str(qos), "--duration", f"{seconds}s",
             *targets, "--quiet", "--json", str(self.path), *more],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait_until_it_runs(self):
        eventually(lambda: established(self.port) >= 20)

    def is_running(self):
        return self.process.poll() is None

    def proves_it(self):
        """Nothing lost, twice or in another order, and nobody was disconnected."""
        told = self.process.communicate(timeout=60)[0]
        assert self.process.returncode == 0, told
        counted = re.search(r"expected (\d+), received (\d+), lost 0, duplicates 0, reordered 0", told)
        assert counted and counted.group(1) == counted.group(2) != "0", told
        assert "lost connections 0" in told, told
        json.loads(self.path.read_text(encoding="utf-8"))


def established(port):
    """Connections of the port, at the broker's end."""
    wanted = f"{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(1 for row in rows if row[1].endswith(f":{wanted}") and row[3] == "01")


def serves(said):
    found = re.search(r"upgrade: (\d+) clients are served by this process, (\d+) did not fit", said)
    assert found, said
    return int(found.group(1)), int(found.group(2))
