"""`ringmq top` against a real broker: on a pseudo-terminal, and where there is none."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pyte
import pytest

from admin import start_admin
from broker import BINARY
from client import DEADLINE_S, Client

pytestmark = pytest.mark.ringmq


def command(admin, *arguments):
    return [BINARY, "top", "--admin", f"http://127.0.0.1:{admin.port}", "--interval", "1", *arguments]


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def busy(start):
    """A broker whose client `meter` publishes all the time."""
    broker, admin = start_admin(start, 2)
    meter, reader = Client(broker, "meter").connect(), Client(broker, "reader").connect()
    reader.subscribe("a/#", 0)
    stop = threading.Event()

    def publish():
        while not stop.wait(0.005):
            meter.publish_and_wait("a/b", b"x", 1)

    load = threading.Thread(target=publish)
    load.start()
    yield broker, admin
    stop.set()
    load.join()
    meter.close()
    reader.close()


class Terminal:
    """A program on a pseudo-terminal, and the screen as a person sees it."""

    def __init__(self, words, lines=30, columns=110):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.master, slave = pty.openpty()
        self.resize(lines, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave

        def prepare():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, preexec_fn=prepare,
                                        env={**os.environ, "TERM": "xterm-256color"})

    def resize(self, lines, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def read(self, seconds=0.1):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                return
            self.written += piece
            self.stream.feed(piece)

    def sees(self, look):
        end = time.monotonic() + DEADLINE_S
        while not look(self.screen.display):
            assert time.monotonic() < end, "\n".join(self.screen.display)
            self.read()

    def press(self, key):
        os.write(self.master, key)

    def ended(self):
        end = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            self.read()
        self.read(0)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal():
    made = []

    def make(words, **options):
        made.append(Terminal(words, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def has(*parts):
    return lambda lines: all(any(part in line for line in lines) for part in parts)


def is_restored(shown):
    assert termios.tcgetattr(shown.slave) == shown.before
    assert shown.written.count(b"\x1b[?1049h") == 1
    assert shown.written.rindex(b"\x1b[?1049l") > shown.written.rindex(b"\x1b[?1049h")
    assert shown.written.rindex(b"\x1b[?25h") > shown.written.rindex(b"\x1b[?25l")


def test_once_as_text(busy):
    _, admin = busy
    done = run(*command(admin, "--once"))
    assert done.returncode == 0, done.stderr
    for part in ["ringmq 0.1.0, ready", "messages in ", "SHARD  BUSY", "delivery", "P99.9", "meter", "/s"]:
        assert part in done.stdout, done.stdout
    assert "\x1b" not in done.stdout


def test_as_json(busy):
    _, admin = busy
    done = run(*command(admin, "--once", "--json"))
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["total"]["messages_in_per_s"] > 1 and shown["total"]["messages_out_per_s"] > 1
    assert shown["total"]["connections"] == 2 and len(shown["shards"]) == 2
    assert shown["clients"][0]["client_id"] in ("meter", "reader") and shown["broker"]["stage"] == "ready"
    running = subprocess.Popen(command(admin, "--json", "--sort", "deliveries", "--rows", "1"), stdout=subprocess.PIPE)
    try:
        lines = [json.loads(running.stdout.readline()) for _ in range(2)]
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
    assert [[one["client_id"] for one in line["clients"]] for line in lines] == [["reader"], ["reader"]]


def test_what_is_wrong_is_said(busy):
    broker, admin = busy
    done = run(*command(admin))
    assert (done.returncode, done.stderr) == (2, "ringmq top: standard output is no terminal: use --once or --json\n")
    done = run(BINARY, "top", "--admin", "unix:/nowhere/admin.sock", "--once")
    assert done.returncode == 3 and "is the broker running" in done.stderr
    done = run(*command(admin, "--sort", "beauty"))
    assert done.returncode == 2 and "rate" in done.stderr
    assert broker.is_running()


def test_on_a_terminal(busy, terminal):
    _, admin = busy
    shown = terminal(command(admin))
    shown.sees(has("ringmq 0.1.0, ready", "LATENCY", "delivery", "meter", "order: rate"))
    shown.press(b"s")
    shown.sees(has("order: bytes"))
    shown.resize(45, 140)
    shown.sees(lambda lines: "q ends" in lines[44] and has("meter")(lines))
    shown.resize(12, 50)
    shown.sees(lambda lines: "q ends" in lines[11] and has("ringmq 0.1.0")(lines))
    shown.press(b"p")
    shown.sees(has("paused"))
    shown.press(b"q")
    assert shown.ended() == 0
    is_restored(shown)


@pytest.mark.parametrize("end", ["control-c", "signal"])
def test_the_terminal_is_restored(busy, terminal, end):
    _, admin = busy
    shown = terminal(command(admin))
    shown.sees(has("q ends"))
    if end == "signal":
        shown.process.send_signal(signal.SIGTERM)
    else:
        shown.press(b"\x03")
    assert shown.ended() == 0
    is_restored(shown)


def test_a_broker_that_ends_is_said_on_the_screen(start, terminal):
    broker, admin = start_admin(start, 1)
    shown = terminal(command(admin))
    shown.sees(has("q ends"))
    broker.stop()
    shown.sees(has("is the broker running"))
    shown.press(b"q")
    assert shown.ended() == 0
    is_restored(shown)
