"""SIGUSR2: a new process takes over every client without a cut, or the old one goes on as if nothing had happened."""

import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import types

import pytest

import handover
from broker import BINARY, free_port
from client import eventually, properties
from manager import Manager
from raw import Raw
from upgraded import PATIENCE_S, Configured, Flow, joined, serves, upgraded  # noqa: F401

pytestmark = pytest.mark.ringmq

SMALL_JOURNAL = {"journal_segment_bytes": "4MiB"}


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("shards", [1, 2, 4])
def test_flows_go_on_through_several_upgrades(upgraded, tmp_path, shards, qos):
    broker = upgraded(shards)
    flow = Flow(broker, tmp_path, qos, 4)
    flow.wait_until_it_runs()
    for _ in range(3):
        assert serves(broker.upgrade()) == (20, 0)
    assert flow.is_running(), "the upgrades were to be within the flow"
    flow.proves_it()


@pytest.mark.parametrize("shards", [1, 2])
def test_flows_go_on_with_a_journal(upgraded, tmp_path, shards):
    broker = upgraded(shards, data_dir=tmp_path / "data", **SMALL_JOURNAL)
    flow = Flow(broker, tmp_path, 2, 5, "--protocol", "5", "--session-expiry-s", "600")
    flow.wait_until_it_runs()
    for _ in range(3):
        assert serves(broker.upgrade()) == (20, 0)
    assert flow.is_running(), "the upgrades were to be within the flow"
    flow.proves_it()


@pytest.mark.parametrize("has_journal", [False, True], ids=["memory", "journal"])
def test_what_is_kept_is_kept(upgraded, joined, tmp_path, has_journal):
    options = dict(data_dir=tmp_path / "data", **SMALL_JOURNAL) if has_journal else {}
    broker = upgraded(2, **options)
    away = joined(broker, "away", clean=False, connect_properties=expiry(600))
    away.subscribe("a/#", qos=2)
    away.close()
    sub = joined(broker, "sub")
    sub.subscribe("a/#", qos=2)
    sub.subscribe("$share/g/s", qos=1)
    pub = joined(broker, "pub")
    pub.publish("a/kept", b"1", qos=1, retain=True)
    pub.publish("a/2", b"2", qos=2)
    for number in range(2):
        broker.upgrade()
        pub.publish(f"a/{number}", b"later", qos=2)
    pub.publish("s", b"shared", qos=1)
    topics = [sub.messages.get(timeout=PATIENCE_S).topic for _ in range(5)]
    assert sorted(topics) == ["a/0", "a/1", "a/2", "a/kept", "s"]
    late = joined(broker, "late")
    late.subscribe("a/kept")
    assert late.messages.get(timeout=PATIENCE_S).payload == b"1"
    back = joined(broker, "away", clean=False, connect_properties=expiry(600))
    assert back.session_present
    topics = [back.messages.get(timeout=PATIENCE_S).topic for _ in range(4)]
    assert topics == ["a/kept", "a/2", "a/0", "a/1"]
    assert all(one.disconnected.empty() for one in (sub, pub))


def expiry(seconds):
    return properties("CONNECT", SessionExpiryInterval=seconds)


def test_a_packet_that_has_come_in_part_is_completed_in_the_new_process(upgraded, joined):
    broker = upgraded(2)
    sub = joined(broker, "sub")
    sub.subscribe("t", qos=1)
    silent = Raw(broker, 4)  # without its CONNECT
    begun = Raw(broker, 4)
    connect = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04half"
    begun.send(connect[:7])
    half = Raw(broker, 4)
    half.connect("part")
    half.send(b"\x32\x0a\x00\x01t\x00\x07he")
    assert serves(broker.upgrade()) == (4, 0)
    half.send(b"llo")
    assert sub.messages.get(timeout=PATIENCE_S).payload == b"hello"
    assert half.expect(0x40) == b"\x00\x07"
    begun.send(connect[7:])
    silent.connect("silent")
    assert begun.expect(0x20) == b"\x00\x00"


def test_a_will_belongs_to_the_new_process(upgraded, joined):
    broker = upgraded(2)
    watcher = joined(broker, "watcher")
    watcher.subscribe("will")
    mortal = joined(broker, "mortal", will=dict(topic="will", payload=b"gone"))
    broker.upgrade()
    assert watcher.messages.empty()
    mortal.cut()
    assert watcher.messages.get(timeout=PATIENCE_S).payload == b"gone"


class Replaced:
    """A program at a path, which tests put another one in place of."""

    def __init__(self, folder):
        self.path = folder / "ringmq"
        self.put(lambda path: shutil.copy2(BINARY, path))

    def put(self, make):
        other = self.path.with_suffix(".new")
        make(other)
        other.chmod(other.stat().st_mode | stat.S_IXUSR)
        other.rename(self.path)  # as a package manager does

    def script(self, text):
        self.put(lambda path: path.write_text("#!/bin/sh\n" + text + "\n", encoding="utf-8"))


@pytest.mark.parametrize("script, why", [
    ("exit 7", "exit code: 7"),
    ("echo hello >&0", "the new process"),
    ("head -c 200 /dev/zero >&0; sleep 60", "is not understood"),
], ids=["it ends", "it is another program", "it speaks another language"])
def test_a_new_program_that_cannot_do_it_leaves_the_old_one_serving(upgraded, joined, tmp_path, script, why):
    program = Replaced(tmp_path)
    broker = upgraded(2, program=str(program.path))
    client = joined(broker, "client")
    client.subscribe("t")
    program.script(script)
    said = broker.upgrade()
    assert "this process goes on" in said and why in said, said
    client.publish("t", b"1", qos=1)
    assert client.messages.get(timeout=PATIENCE_S).payload == b"1"
    program.put(lambda path: shutil.copy2(BINARY, path))
    assert serves(broker.upgrade()) == (1, 0)
    client.publish("t", b"2", qos=1)
    assert client.messages.get(timeout=PATIENCE_S).payload == b"2"
    assert client.disconnected.empty()


@pytest.mark.parametrize("step", handover.NEW_STEPS)
def test_a_new_process_that_ends_at_any_step_leaves_the_old_one_serving(upgraded, tmp_path, step):
    program = Replaced(tmp_path)
    broker = upgraded(2, program=str(program.path))
    flow = Flow(broker, tmp_path, 2, 3 if step != "hangs" else 14)
    flow.wait_until_it_runs()
    folder = os.path.dirname(os.path.abspath(__file__))
    program.put(lambda path: path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {folder!r})\nimport handover\n"
        f"handover.become_new({step!r})\n", encoding="utf-8"))
    said = broker.upgrade()
    assert "this process goes on" in said, said
    expected = {"newer": "restart instead", "refuses": "no room here", "lies": "something else than it should",
                "hangs": "does not answer in time"}
    assert expected.get(step, "the new process has ended") in said, said
    assert flow.is_running()
    flow.proves_it()


@pytest.mark.parametrize("step", ["greeted", "gives listeners", "is still", "gives a part", "gives less", "is ready"])
def test_an_old_process_that_dies_at_any_step(tmp_path, step):
    """The new one ends with a sentence before everything is there, and serves afterwards."""
    port = free_port()
    listener = socket.create_server(("127.0.0.1", port))
    listener.setblocking(False)  # as every listener of the broker
    ours, theirs = socket.socketpair()
    log = tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen([BINARY, "--shards", "2", "--listen", f"127.0.0.1:{port}"], stdin=theirs, stdout=out,
                                   stderr=subprocess.STDOUT,
                                   env={**os.environ, handover.FROM: str(os.getpid())})
    theirs.close()
    pipe = handover.Pipe(ours)
    try:
        pipe.until(handover.HELLO)
        if step != "greeted":
            name = b"\0\0\0" + handover.text(f"streams 127.0.0.1:{port}")
            pipe.say(handover.SOCKETS, b"\1" + name, [listener.fileno()])
            listener.close()
            pipe.until(handover.PREPARED)
        if step not in ("greeted", "gives listeners"):
            pipe.say(handover.STILL)
        if step in ("gives a part", "gives less"):
            pipe.say(handover.SESSIONS, b"\0")
        if step == "gives less":
            pipe.say(handover.ALL, struct.pack("<III", 1, 0, 0))
        if step == "is ready":
            pipe.say(handover.ALL, struct.pack("<III", 0, 0, 0))
            pipe.until(handover.READY)
        ours.close()
        if step == "is ready":
            eventually(lambda: "the old process has died when this one was whole" in log.read_text())
            raw = Raw(types.SimpleNamespace(port=port))
            raw.connect("client")
            raw.ping()
            raw.close()
        else:
            assert process.wait(PATIENCE_S) == 1
            assert "upgrade: " in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        listener.close()


@pytest.mark.parametrize("has_journal", [False, True], ids=["memory", "journal"])
def test_another_number_of_shards(upgraded, joined, tmp_path, has_journal):
    options = [f'data-dir = "{tmp_path / "data"}"', 'journal-segment-bytes = "4MiB"'] if has_journal else []
    configured = Configured(tmp_path)
    configured.write(2, *options)
    broker = configured.start(upgraded)
    flow = Flow(broker, tmp_path, 2, 6)
    flow.wait_until_it_runs()
    keeper = joined(broker, "keeper", clean=False, connect_properties=expiry(600))
    keeper.subscribe("kept/#", qos=1)
    keeper.close()
    pub = joined(broker, "pub")
    for number in range(20):
        pub.publish_and_wait(f"kept/{number}", b"x", qos=1, retain=True)
    for shards in (4, 1, 3, 2):
        configured.write(shards, *options)
        assert serves(broker.upgrade()) == (21, 0)
    back = joined(broker, "keeper", clean=False, connect_properties=expiry(600))
    assert back.session_present
    assert [back.next().topic for _ in range(20)] == [f"kept/{number}" for number in range(20)]
    fresh = joined(broker, "fresh")
    fresh.subscribe("kept/+")
    assert {fresh.next().topic for _ in range(20)} == {f"kept/{number}" for number in range(20)}
    assert flow.is_running()
    flow.proves_it()


def test_what_fits_no_more_is_told_so(upgraded, joined, tmp_path):
    configured, other = Configured(tmp_path), free_port()
    configured.write(2)
    with open(configured.path, "a", encoding="utf-8") as out:
        out.write(f'[[listener]]\naddress = "127.0.0.1:{other}"\n')
    broker = configured.start(upgraded)
    stays = joined(broker, "stays")
    goes = Raw(types.SimpleNamespace(port=other), 5)
    goes.connect("goes", properties=b"\x11\0\0\2\0")
    configured.write(2)
    said = broker.upgrade()
    assert serves(said) == (1, 1)
    assert 'disconnected: "goes": its connection is of a listener that is not there' in said
    assert goes.expect_end() == [(0xE0, b"\x8b")]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other), PATIENCE_S)
    back = joined(broker, "goes", clean=False, connect_properties=expiry(600))
    assert back.session_present
    assert stays.disconnected.empty()


def test_a_configuration_that_is_wrong_changes_nothing(upgraded, joined, tmp_path):
    configured = Configured(tmp_path)
    configured.write(2)
    broker = configured.start(upgraded)
    client = joined(broker, "client")
    configured.write(2, 'queue-messages-max = "many"')
    said = broker.upgrade()
    assert "the new process refuses: " in said and "queue-messages-max" in said, said
    configured.write(2, f'data-dir = "{tmp_path / "data"}"')
    said = broker.upgrade()
    assert "data-dir is another one in the new configuration" in said, said
    client.publish_and_wait("t", b"", qos=1)
    assert client.disconnected.empty()


def test_an_operator_is_told_what_came_of_it(upgraded, joined, tmp_path):
    admin = tmp_path / "admin.sock"
    broker = upgraded(2, admin_listen=f"unix:{admin}")
    client = joined(broker, "client")
    for count in range(2, 4):
        told = subprocess.run([BINARY, "upgrade", "--admin", f"unix:{admin}"], capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told
        broker.now = int(re.match(r"process (\d+) serves; \d+ clients were not read for ", told.stdout).group(1))
        eventually(lambda: broker.log().count("INFO ready") == count)
        status = subprocess.run([BINARY, "ctl", "--admin", f"unix:{admin}", "clients"], capture_output=True, text=True,
                                timeout=60)
        assert "client" in status.stdout, status
    client.publish_and_wait("t", b"", qos=1)
    assert client.disconnected.empty()


def test_operators_reach_an_old_process_that_goes_on(upgraded, tmp_path):
    program, admin = Replaced(tmp_path), tmp_path / "admin.sock"
    broker = upgraded(2, program=str(program.path), admin_listen=f"unix:{admin}")
    folder = os.path.dirname(os.path.abspath(__file__))
    program.put(lambda path: path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {folder!r})\nimport handover\n"
        "handover.become_new('old is still')\n", encoding="utf-8"))
    for _ in range(2):
        told = subprocess.run([BINARY, "upgrade", "--admin", f"unix:{admin}"], capture_output=True, text=True, timeout=60)
        assert told.returncode == 1 and "the new process has ended" in told.stderr, told
    assert broker.is_running()


def test_process_1_of_a_container_stays(upgraded, joined, tmp_path):
    """Its namespace would end with it; signals that it gets are for the process that serves."""
    wrapper = tmp_path / "ringmq"
    wrapper.write_text(f'#!/bin/sh\nexec unshare --pid --fork --mount-proc --kill-child {BINARY} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    broker = upgraded(2, program=str(wrapper))
    children = f"/proc/{broker.process.pid}/task/{broker.process.pid}/children"
    with open(children, encoding="ascii") as found:
        first = int(found.read())
    client = joined(broker, "client")
    client.subscribe("t")
    for count in range(2, 4):
        os.kill(first, signal.SIGUSR2)
        eventually(lambda: broker.log().count("INFO ready") == count)
        client.publish_and_wait("t", b"", qos=1)
        client.next()
    eventually(lambda: "process 1 stays" in broker.log())
    assert client.disconnected.empty()
    os.kill(first, signal.SIGTERM)
    assert broker.process.wait(PATIENCE_S) == 0
    assert "stopping" in broker.log()
    broker.now = None


def test_the_manager_learns_which_process_is_the_main_one(upgraded, joined, tmp_path, monkeypatch):
    manager = Manager(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", manager.path)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    broker = upgraded(2)
    position = manager.wait("READY=1")
    broker.upgrade()
    position = manager.wait(f"MAINPID={broker.pid}", position)
    position = manager.wait("READY=1", position)
    manager.wait("WATCHDOG=1", position)
    manager.close()
