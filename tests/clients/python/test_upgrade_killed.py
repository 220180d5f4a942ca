"""Both processes are real, and one of them is killed after each message that the two exchange."""

import os
import re
import shutil
import signal
import sys
import time

import pytest

from broker import BINARY
from client import eventually
from raw import Raw
from upgraded import PATIENCE_S, Flow, is_alive, upgraded  # noqa: F401

pytestmark = pytest.mark.ringmq

STEPS_MAX = 40
COMMIT = re.compile(r"middle: \d+ passed on, of kind 10\b")
ALL = re.compile(r"middle: \d+ passed on, of kind 9\b")


class Middle:
    """The program that an old process starts: it stands between that one and a new one."""

    def __init__(self, folder):
        self.path = folder / "ringmq"
        shutil.copy2(BINARY, self.path)

    def put(self, victim, count):
        folder, other = os.path.dirname(os.path.abspath(__file__)), self.path.with_suffix(".new")
        other.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {folder!r})\nimport handover\n"
            f"handover.become_middle({BINARY!r}, sys.argv[1:], {victim!r}, {count})\n", encoding="utf-8")
        other.chmod(0o755)
        other.rename(self.path)


def test_a_new_process_that_is_killed_after_any_message_leaves_the_old_one_serving(upgraded, tmp_path):
    """One flow through all attempts."""
    middle = Middle(tmp_path)
    broker = upgraded(2, program=str(middle.path))
    flow = Flow(broker, tmp_path, 2, 12, rate=300)
    flow.wait_until_it_runs()
    passed, count = [], 0
    while 9 not in passed:  # all is given: when it says that it is ready it serves, or dies as any other
        middle.put("new", count)
        said = broker.upgrade()
        assert "the new process has ended" in said and "this process goes on" in said, said
        passed = [int(kind) for kind in re.findall(r"passed on, of kind (\d+)", said)]
        assert len(passed) == count < STEPS_MAX
        assert flow.is_running(), said
        raw = Raw(broker)
        raw.connect("in between")
        raw.ping()
        raw.close()
        count += 1
    # Hello, sockets, prepared, still, clients, all.
    assert {1, 4, 11, 5, 8, 9} <= set(passed), passed
    flow.proves_it()


@pytest.mark.parametrize("first", range(4))
def test_an_old_process_that_is_killed_after_any_message_is_replaced_by_a_whole_one(upgraded, tmp_path, first):
    """Or by none: the new one ends, too, if something is missing."""
    for count in range(first, STEPS_MAX, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        middle = Middle(folder)
        broker = upgraded(2, program=str(middle.path))
        clients = [Raw(broker) for _ in range(6)]
        for number, client in enumerate(clients):
            client.connect(f"client-{number}")
            client.subscribe((f"t/{number}", 1))
        middle.put("old", count)
        old = broker.pid
        os.kill(old, signal.SIGUSR2)
        eventually(lambda: not is_alive(old) or broker.process.poll() is not None)
        said = broker.log()
        is_whole = ALL.search(said) is not None
        if is_whole:
            eventually(lambda: "INFO ready" in broker.log()[said.index("middle:"):])
            for number, client in enumerate(clients):
                client.send(b"\x30\x06\0\x03t/%d!" % ((number + 1) % 6))
            for client in clients:
                assert client.expect_publish().payload == b"!"
        else:
            for client in clients:
                assert client.expect_end() == []
        for client in clients:
            client.close()
        if is_whole:
            middle_ended(broker)
        if COMMIT.search(said):
            return
    raise AssertionError("the commit is never passed on")


def middle_ended(broker):
    """Ends what serves now: the child of the middle."""
    with open("/proc/net/tcp", encoding="ascii") as rows:
        inode = next(row.split()[9] for row in rows if f":{broker.port:04X} 00000000:0000 0A" in row)
    end = time.monotonic() + PATIENCE_S
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{process}/fd/{name}") for name in os.listdir(f"/proc/{process}/fd")]
        except OSError:
            continue
        if f"socket:[{inode}]" in links:
            os.kill(int(process), signal.SIGKILL)
            while is_alive(int(process)):
                assert time.monotonic() < end
                time.sleep(0.005)
