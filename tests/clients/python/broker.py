"""Starting the broker under test and ending it, by its process id."""

import itertools
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BINARY = os.environ.get("RINGMQ_BIN", os.path.join(ROOT, "target", "release", "ringmq"))
# The same tests run against Mosquitto, to find mistakes in the tests: BROKER=mosquitto.
IS_MOSQUITTO = os.environ.get("BROKER") == "mosquitto"

START_S = 60  # no more than a bound: a node of a cluster waits for servers that begin with it
STOP_S = 10


# Ports for servers lie below those that the kernel gives to outgoing connections, and each process of the tests has a
# part of them for itself: a port that was free a moment ago is not another's now.
PORTS, PART = 10_000, 2_500
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# From a random one on: another run of the tests may be beside this.
_tried = itertools.count(random.randrange(PART))


def free_port(kind=socket.SOCK_STREAM):
    """A port of 127.0.0.1 that no server has, and that no other call returns soon."""
    for _ in range(PART):
        port = PORTS + WORKER * PART + next(_tried) % PART
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port from {PORTS + WORKER * PART} on")


def allow_many_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prepare(cgroup):
    """In the new process."""
    allow_many_files()
    if cgroup:
        with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as members:
            members.write(str(os.getpid()))


class Broker:
    """A running broker process; `cgroup` is the folder of the group that it starts in. Without `wait` it may not be
    there yet."""

    def __init__(self, shards=1, port=None, cgroup=None, wait=True, **options):
        self.shards = shards
        self.port = port or free_port()
        self.folder = tempfile.mkdtemp(prefix="ringmq-test-")
        self.log_path = os.path.join(self.folder, "log")
        is_told = port is not None and "config" in options  # the file says that it listens there
        command = self._mosquitto(options) if IS_MOSQUITTO else self._ringmq(options, is_told)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                preexec_fn=lambda: prepare(cgroup),
            )
        if not wait:
            return
        self._wait_until_it_accepts()
        if not IS_MOSQUITTO:
            self.wait_log("ready")  # of several listeners the others may be open later

    def _ringmq(self, options, is_told):
        command = [BINARY, "--shards", str(self.shards)]
        if not is_told:
            command += ["--listen", f"127.0.0.1:{self.port}"]
        for name, value in options.items():
            for one in value if isinstance(value, list) else [value]:
                command += ["--" + name.replace("_", "-"), str(one)]
        return command

    def _mosquitto(self, options):
        names = {"queue_messages_max": "max_queued_messages", "packet_size_max": "max_packet_size"}
        path = os.path.join(self.folder, "mosquitto.conf")
        with open(path, "w", encoding="utf-8") as config:
            config.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
            config.write("max_topic_alias 64\n")
            options.setdefault("packet_size_max", 1 << 20)
            for name, value in options.items():
                if name in names:
                    config.write(f"{names[name]} {value}\n")
        return [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", path]

    def _wait_until_it_accepts(self):
        end = time.monotonic() + START_S
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"the broker ended: {self.log()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    self.kill()
                    raise AssertionError(f"the broker does not accept: {self.log()}") from None
                time.sleep(0.01)

    def wait_log(self, text, since=0):
        """Waits for a line of the log behind a position."""
        end = time.monotonic() + START_S
        while text not in self.log()[since:]:
            assert time.monotonic() < end, f"no {text!r} in {self.log()[since:]}"
            assert self.is_running(), self.log()
            time.sleep(0.01)

    def wait_line(self, *parts):
        """Waits for a line of the log that has all these parts; returns it."""
        end = time.monotonic() + START_S
        while True:
            for line in self.log().splitlines():
                if all(part in line for part in parts):
                    return line
            assert time.monotonic() < end, f"no line with {parts} in {self.log()}"
            assert self.is_running(), self.log()
            time.sleep(0.01)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def is_running(self):
        return self.process.poll() is None

    def send_signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Asks it to end; returns the exit status and the seconds it took."""
        start = time.monotonic()
        self.send_signal(number)
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {STOP_S} s: {self.log()}") from None
        return status, time.monotonic() - start

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.is_running():
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
