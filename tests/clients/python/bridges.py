"""The two ends of a bridge: Mosquitto in either place, ours with tables [[bridge]], and remotes by a script."""

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from broker import START_S, STOP_S, free_port
from client import VERSIONS, Client, eventually

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"

needs_mosquitto = pytest.mark.skipif(not os.path.exists(MOSQUITTO), reason="mosquitto is not installed")


class Mosquitto:
    """A Mosquitto with a plain listener; `text` is what its configuration has besides. Sessions outlive the process."""

    def __init__(self, folder, text="", name="mosquitto"):
        self.port = free_port()
        self.log_path, self.config = folder / f"{name}.log", folder / f"{name}.conf"
        self.config.write_text(
            f"per_listener_settings false\nallow_anonymous true\nlog_type all\nlistener {self.port} 127.0.0.1\n"
            # Started by root it would give up its rights, and not be able to write its file.
            f"user {getpass.getuser()}\npersistence true\npersistence_file {name}.db\n"
            f"persistence_location {folder}/\nautosave_interval 0\nmax_queued_messages 100000\n{text}"
        )
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, self.log()
                time.sleep(0.01)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def close(self):
        """An ordered end, at which it writes its file."""
        self.process.terminate()
        self.process.wait(STOP_S)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def mosquitto(tmp_path):
    running = []

    def make(text=""):
        running.append(Mosquitto(tmp_path, text, f"mosquitto-{len(running)}"))
        return running[-1]

    yield make
    for one in running:
        one.kill()


@pytest.fixture
def bridging(start, tmp_path):
    """A broker of ours with bridges b0, b1 and so on; each is the text of its table, without the name."""
    count = 0

    def make(*bridges, shards=1, port=None, more="", **options):
        nonlocal count
        count += 1
        port = port or free_port()
        config = tmp_path / f"bridging-{count}.toml"
        write_bridges(config, port, bridges, more)
        return start(shards, port=port, config=config, **options)

    return make


def write_bridges(config, port, bridges, more=""):
    tables = "".join(
        f"[[bridge]]\nname = \"b{at}\"\nbackoff-base = 0\nbackoff-cap = 0\n{text}\n" for at, text in enumerate(bridges)
    )
    config.write_text(f"listen = \"127.0.0.1:{port}\"\n{more}\n{tables}")


def at(broker):
    return f"addresses = [\"127.0.0.1:{broker.port}\"]\n"


def is_up(broker, name="b0", times=1):
    eventually(lambda: broker.log().count(f"bridge {name}: up") >= times, START_S)


def connect(broker, client_id, version="5", **options):
    return Client(broker, client_id, VERSIONS[version], **options).connect()


class Scripted:
    """A remote that answers each connection with the next of these; the last one is for all that follow."""

    def __init__(self, *answers):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.answers, self.seen = list(answers), []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            try:
                peer.settimeout(START_S)
                self.seen.append(peer.recv(4096) if answer is not None else b"")
                peer.sendall(answer or b"")
                if answer:
                    peer.recv(4096)
            except OSError:
                pass
            peer.close()

    def close(self):
        self.socket.close()


@pytest.fixture
def scripted():
    made = []

    def make(*answers):
        made.append(Scripted(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()
