"""The process: start, stop, load that must not disturb."""

import ctypes
import os
import resource
import signal
import socket
import struct
import subprocess

import pytest

import raw as mqtt
from broker import BINARY, IS_MOSQUITTO
from conftest import SHARDS

pytestmark = pytest.mark.ringmq


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_tells_v5_clients(start, raw, client, shards, number):
    broker = start(shards)
    v5 = [raw(5, to=broker) for _ in range(20)]
    v3 = [raw(4, to=broker) for _ in range(20)]
    for n, one in enumerate(v5 + v3):
        one.connect(f"c{n}")
    half = raw(to=broker)
    half.send(b"\x10")
    status, seconds = broker.stop(number)
    assert status == 0, broker.log()
    assert seconds < 5
    for one in v5:
        assert [(first, body[0]) for first, body in one.expect_end()] == [(0xE0, 0x8B)]
    for one in v3:
        assert one.expect_end() == []


def test_shutdown_is_seen_by_paho(start, client):
    broker = start(2)
    one = client("c", "5", to=broker)
    broker.send_signal()
    assert one.wait_disconnected() == 0x8B


def test_shutdown_flushes_what_was_accepted(start, raw):
    broker = start(2)
    subscriber, publisher = raw(5, to=broker), raw(5, to=broker)
    subscriber.connect("s")
    subscriber.subscribe(("t", 0))
    publisher.connect("p")
    publisher.send(*(mqtt.publish("t", b"%d" % n, 1, n + 1, version=5) for n in range(500)))
    for _ in range(500):
        publisher.expect(0x40)
    assert broker.stop()[0] == 0
    packets = subscriber.expect_end()
    numbers = [int(mqtt.Publish(f, b, 5).payload) for f, b in packets if f & 0xF0 == 0x30]
    assert numbers == list(range(500))
    assert packets[-1][0] == 0xE0


def test_shutdown_publishes_wills(start, raw):
    broker = start(2)
    observer = raw(5, to=broker)
    observer.connect("observer")
    observer.subscribe(("w/#", 0))
    for n in range(4):
        raw(4, to=broker).connect(f"w{n}", will=(f"w/{n}", b"gone", b""))
    assert broker.stop()[0] == 0
    topics = {mqtt.Publish(f, b, 5).topic for f, b in observer.expect_end() if f & 0xF0 == 0x30}
    assert topics == {f"w/{n}" for n in range(4)}


def flood_a_deaf_client(raw, broker, count):
    deaf = raw(4, to=broker, receive_buffer=4096)
    deaf.connect("deaf")
    deaf.send(mqtt.subscribe(1, [("t", 0)]))
    deaf.expect(0x90)
    publisher = raw(4, to=broker)
    publisher.connect("p")
    for _ in range(count):
        publisher.send(mqtt.publish("t", b"x" * 10_000))
    publisher.ping()


def test_shutdown_with_clients_that_do_not_read(start, raw):
    broker = start(2)
    flood_a_deaf_client(raw, broker, 500)
    status, seconds = broker.stop()
    assert status == 0 and seconds < 5


def test_a_second_signal_ends_at_once(start, raw):
    """A client that does not read holds up the first for a while."""
    broker = start(2)
    flood_a_deaf_client(raw, broker, 1000)
    broker.send_signal()
    broker.wait_log("stopping")
    assert broker.stop()[0] == 128 + signal.SIGTERM


def forbid_io_uring(errno):
    """Lets io_uring_setup fail, as a container's seccomp profile does."""
    load, jump_if_equal, give = 0x20, 0x15, 0x06
    io_uring_setup = 425
    program = [(load, 0, 0, 0), (jump_if_equal, 0, 1, io_uring_setup), (give, 0, 0, 0x00050000 | errno),
               (give, 0, 0, 0x7FFF0000)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    description = struct.pack("HxxxxxxP", len(program), ctypes.addressof(filters))
    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0
    assert libc.prctl(set_seccomp, mode_filter, description) == 0


@pytest.mark.parametrize("what, limit, said", [
    ("memory", lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0)), "ulimit -l"),
    ("files", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)), "ulimit -n"),
    ("forbidden", lambda: forbid_io_uring(1), "io_uring_disabled"),
    ("missing", lambda: forbid_io_uring(38), "Linux 5.13"),
])
def test_limits_of_the_system_say_what_to_change(what, limit, said):
    ended = subprocess.run([BINARY, "--listen", "127.0.0.1:0", "--shards", "4"], preexec_fn=limit,
                           capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1, what
    assert said in ended.stderr.decode().splitlines()[-1]


def test_the_port_is_free_again(start, raw):
    broker = start(2)
    raw(to=broker).connect("c")
    assert broker.stop()[0] == 0
    again = start(2, port=broker.port)
    raw(to=again).connect("c")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_finds_its_port_free(start, raw, number):
    """The kernel lets go of what a ring watched a little after the process is gone."""
    port = None
    for _ in range(8 if number == signal.SIGKILL else 2):  # a stop waits for clients that do not leave
        broker = start(1, port=port)
        broker.wait_log("ready")
        port = broker.port
        for n in range(20):
            raw(to=broker).connect(f"c{n}")
        broker.send_signal(number)
        broker.process.wait(10)


def test_port_in_use(start, tmp_path):
    broker = start(1)
    second = subprocess.run([BINARY, "--listen", f"127.0.0.1:{broker.port}", "--shards", "1"],
                            capture_output=True, timeout=30, check=False)
    assert second.returncode != 0
    said = (second.stdout + second.stderr).decode()
    assert str(broker.port) in said and "in use" in said.lower()
    # Nothing else has begun: no file of another socket, and no data directory.
    folder = tmp_path / "data"
    second = subprocess.run([BINARY, "--listen", "127.0.0.1:0", "--shards", "1", "--data-dir", str(folder),
                             "--admin-listen", f"unix:{tmp_path}/admin", "--admin-listen", f"127.0.0.1:{broker.port}"],
                            capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1 and second.stderr.splitlines()[-1].endswith("choose another port with --admin-listen")
    assert os.listdir(tmp_path) == ["data"]


def test_an_environment_of_a_service_manager_that_cannot_be_read():
    for variable in ["LISTEN_FDS=two", "LISTEN_FDS=-1"]:
        command = f'LISTEN_PID=$$ {variable} exec "$0" --listen 127.0.0.1:0 --shards 1'
        done = subprocess.run(["sh", "-c", command, BINARY], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert variable.replace("=", ' is "') + '" in its environment' in done.stderr


@pytest.mark.parametrize("arguments", [["--shards", "0"], ["--listen", "127.0.0.1:70000"], ["--no-such-option"],
                                       ["--config", "/no/such/file"]])
def test_bad_options_are_refused(arguments):
    ended = subprocess.run([BINARY, *arguments], capture_output=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert ended.stderr


def test_start_up_is_readable(start):
    broker = start(2)
    assert broker.stop()[0] == 0
    said = broker.log()
    assert str(broker.port) in said
    assert "shards: 2" in said


@pytest.mark.skipif(IS_MOSQUITTO, reason="limits of the system")
def test_ten_thousand_idle_clients(start, raw):
    broker = start(4)
    before = broker.resident_kib()
    count = 10_000
    idle = []
    for n in range(count):
        one = mqtt.Raw(broker)
        one.send(mqtt.connect(f"idle{n}"))
        idle.append(one)
        if n % 500 == 499:
            for late in idle[n - 499:]:
                assert late.expect(0x20)[1] == 0
    grown = broker.resident_kib() - before
    busy, reader = raw(to=broker), raw(to=broker)
    busy.connect("busy")
    reader.connect("reader")
    reader.subscribe(("t", 1))
    for n in range(500):
        busy.send(mqtt.publish("t", b"%d" % n, 1, n + 1))
        assert reader.expect_publish().payload == b"%d" % n
        busy.expect(0x40)
    assert grown < count * 8, f"{grown / count:.1f} KiB per idle client"
    for one in idle:
        one.close()


def test_connections_beyond_the_limit_are_refused(start, raw):
    broker = start(2, connections_max=10)
    held = []
    refused = 0
    for n in range(20):
        one = raw(to=broker)
        one.send_as_far_as_possible(mqtt.connect(f"c{n}"))
        received = one.receive()
        if received and received[0] == 0x20 and received[1][1] == 0:
            held.append(one)
        else:
            refused += 1
    assert 1 <= len(held) <= 10 and refused >= 10
    assert all(one.is_open() for one in held)
    held.pop().close()


def test_a_half_open_port_is_no_hindrance(start):
    broker = start(1)
    probes = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(50)]
    one = mqtt.Raw(broker)
    one.connect("c")
    assert one.is_open()
    for probe in probes:
        probe.close()
