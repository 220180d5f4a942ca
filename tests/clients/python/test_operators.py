"""What an operator meets: configuration, files, log, start after a crash."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

import raw as mqtt
from broker import BINARY, free_port

pytestmark = pytest.mark.ringmq

START_S = 20


class Process:
    """A broker that listens where its file says; what it writes goes into a file."""

    def __init__(self, folder, text, *arguments, name="ringmq.toml"):
        self.path = folder / name
        self.path.write_text(text, encoding="utf-8")
        self.log_path = folder / "log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BINARY, "--config", str(self.path), "--shards", "1", *arguments],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def wait_log(self, text):
        end = time.monotonic() + START_S
        while text not in self.log():
            assert time.monotonic() < end and self.process.poll() is None, self.log()
            time.sleep(0.01)

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def raw():
    """Raw connections to brokers of the test's own."""
    made = []

    def connect(version, to):
        made.append(mqtt.Raw(to, version))
        return made[-1]

    yield connect
    for one in made:
        one.close()


@pytest.fixture
def launch(tmp_path):
    running = []

    def run(text, *arguments, **options):
        running.append(Process(tmp_path, text, *arguments, **options))
        return running[-1]

    yield run
    for one in running:
        one.kill()


def refused(tmp_path, text, name="ringmq.toml"):
    """What is said of a bad file, as lines."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    ended = subprocess.run([BINARY, "--config", str(path), "--check-config"], capture_output=True, timeout=30, check=False)
    assert ended.returncode == 2
    return ended.stderr.decode().splitlines()


@pytest.mark.parametrize("beside", ["", "listen = []\n"])
def test_a_table_alone_is_all_that_is_listened_on(launch, beside):
    port = free_port()
    broker = launch(f'{beside}[[listener]]\naddress = "127.0.0.1:{port}"\n')
    broker.wait_log("ready")
    said = re.findall(r"listening on (\S+)", broker.log())
    assert said == [f"127.0.0.1:{port}"]
    socket.create_connection(("127.0.0.1", port)).close()


def test_the_address_of_the_default_may_be_in_a_table(tmp_path):
    path = tmp_path / "ringmq.toml"
    path.write_text('[[listener]]\naddress = "127.0.0.1:1883"\n', encoding="utf-8")
    subprocess.run([BINARY, "--config", str(path), "--check-config"], capture_output=True, timeout=30, check=True)


def test_a_file_of_mosquitto_is_told_in_one_line(tmp_path):
    said = refused(tmp_path, "# Default\n\npid_file /run/mosquitto.pid\npersistence true\nlistener 1883\n"
                             "log_dest file /var/log/mosquitto.log\ninclude_dir /etc/mosquitto/conf.d\n", "mosquitto.conf")
    assert len(said) == 1
    assert "looks like a mosquitto.conf" in said[0] and "docs/migrating-from-mosquitto.md" in said[0]


def test_a_unix_socket_is_free_after_a_crash(launch, tmp_path):
    path = tmp_path / "s"
    text = f'[[listener]]\naddress = "unix:{path}"\n'
    for n in range(8):
        broker = launch(text)
        end = time.monotonic() + START_S
        while broker.log().count("ready") <= n:
            assert time.monotonic() < end and broker.process.poll() is None, broker.log()
            time.sleep(0.005)
        clients = []
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(path))
            clients.append(client)
        broker.kill()
        for client in clients:
            client.close()
    assert "another program" not in broker.log()


def test_a_unix_socket_that_was_stopped_is_removed(launch, tmp_path):
    path = tmp_path / "s"
    broker = launch(f'[[listener]]\naddress = "unix:{path}"\n')
    broker.wait_log("ready")
    assert path.exists()
    broker.process.send_signal(signal.SIGTERM)
    assert broker.process.wait(START_S) == 0
    assert not path.exists()


def test_acl_and_password_files_as_editors_leave_them(start, raw, tmp_path):
    passwords = tmp_path / "passwords"
    subprocess.run([BINARY, "passwd", "-c", "-b", "--rounds", "100", str(passwords), "ann", "one"], check=True)
    line = passwords.read_text(encoding="utf-8").strip()
    passwords.write_bytes(f"\ufeff\t{line} \r\n  # a comment\r\n\t\r\n".encode())
    acl = tmp_path / "acl"
    acl.write_bytes("\ufeffuser ann\r\n topic readwrite a/#\r\n\t# a comment\r\n".encode())
    subprocess.run([BINARY, "passwd", "--verify", "-b", str(passwords), "ann", "one"], check=True)
    broker = start(1, password_file=passwords, acl_file=acl)
    one = raw(5, to=broker)
    flags = b"\xc2"
    body = mqtt.text("MQTT") + b"\x05" + flags + b"\0\0\0" + mqtt.text("c") + mqtt.text("ann") + mqtt.text("one")
    one.send(mqtt.packet(0x10, body))
    assert one.expect(0x20)[1] == 0
    one.send(mqtt.subscribe(1, [("a/b", 0)], version=5))
    assert one.expect(0x90)[-1] == 0


def test_debug_tells_every_connection(start, raw):
    broker = start(2, log_level="debug")
    one = raw(4, to=broker)
    one.connect("told")
    one.send(b"\xe0\x00")
    opened = broker.wait_line("DEBUG", "opened on 127.0.0.1:")
    assert f"opened on 127.0.0.1:{broker.port}" in opened
    broker.wait_line("DEBUG", "told", "CONNECT accepted: MQTT 3.1.1", "the session is new")
    closed = broker.wait_line("DEBUG", "told", "connection closed: DISCONNECT of the client")
    assert re.search(r"\d+ bytes received, \d+ bytes sent", closed)


def test_info_tells_takeovers_and_not_every_connection(start, raw):
    broker = start(2)
    for _ in range(20):
        raw(4, to=broker).connect("same")
    line = broker.wait_line("session taken over", "same")
    assert len(re.findall(r"127\.0\.0\.1:\d+", line)) == 2, "both addresses"
    assert broker.stop()[0] == 0
    lines = [line for line in broker.log().splitlines() if "taken over" in line]
    assert len(lines) == 2, "the first, and how many more at the end"
    assert "18 more since the last line, 19 in all" in lines[1]
    assert "CONNECT accepted" not in broker.log()


def test_a_client_that_is_away_does_not_hide_who_is_refused(start, raw):
    broker = start(1, queue_messages_max=10)
    gone = raw(4, to=broker)
    gone.connect("gone", clean=False)
    gone.subscribe(("s/#", 1))
    gone.close()
    publisher = raw(4, to=broker)
    publisher.connect("publisher")
    for n in range(1, 500):
        publisher.send(mqtt.publish("s/t", b"x", 1, n))
    for n in range(1, 500):
        publisher.expect(0x40)
    for n in range(8):
        raw(4, to=broker).send_as_far_as_possible(mqtt.packet(0x10, mqtt.text("MQTX"), b"\x04\x02\0\0", mqtt.text("c")))
    broker.wait_log("connection refused")
    assert broker.stop()[0] == 0
    lines = broker.log().splitlines()
    dropped = [line for line in lines if "queue is full" in line]
    assert len(dropped) == 2 and "queue-messages-max (10)" in dropped[0], dropped
    assert "489 in all" in dropped[1]
    assert not any("suppressed" in line for line in lines)


def test_a_packet_that_is_too_large_is_told_with_size_limit_and_option(start, raw):
    broker = start(1)
    one = raw(5, to=broker)
    one.connect("large")
    one.send_as_far_as_possible(b"\x30" + mqtt.length(1_500_000) + b"\0\1t\0")
    broker.wait_line("large", "1500004 bytes, more than the 1048576 of packet-size-max")
    ended = one.expect_end()
    assert ended[-1][0] == 0xE0 and b"1500004 bytes, more than the 1048576 of packet-size-max" in ended[-1][1]


def test_the_folder_of_a_unix_socket_is_named_when_it_is_not_there(tmp_path):
    path = tmp_path / "ringmq.toml"
    path.write_text(f'[[listener]]\naddress = "unix:{tmp_path}/none/s"\n', encoding="utf-8")
    ended = subprocess.run([BINARY, "--config", str(path), "--shards", "1"], capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "folder must exist" in ended.stderr.decode().splitlines()[-1]
    assert not os.path.exists(tmp_path / "none")
