"""A broker in a small cgroup: it refuses before the kernel ends it."""

import ctypes
import os
import uuid
from contextlib import contextmanager

import pytest

import raw as mqtt
from conftest import SHARDS
from raw import Raw
from test_listeners import counters

pytestmark = pytest.mark.ringmq

LIMIT = 60 << 20
MESSAGES, PAYLOAD = 100_000, bytes(1_000)
# Acknowledgements that may be outstanding: as many as the broker's Receive Maximum allows.
BATCH = 16
NO_SUBSCRIBER, QUOTA_EXCEEDED = 0x10, 0x97

# Where the groups are, and the files for the limit and what is used: versions 1 and 2.
VERSIONS = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
]


class Group:
    """A cgroup of our own."""

    def __init__(self, top, limit_name, used_name):
        self.path = os.path.join(top, f"ringmq-test-{uuid.uuid4().hex[:8]}")
        self.used_name = used_name
        os.mkdir(self.path)
        try:
            self.write(limit_name, LIMIT)
            if int(self.read(limit_name)) != LIMIT:
                raise OSError(f"{self.path}/{limit_name} is {self.read(limit_name)}")
        except OSError:
            self.remove()
            raise

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def read(self, name):
        with open(os.path.join(self.path, name), encoding="ascii") as file:
            return file.read().strip()

    def used(self):
        return int(self.read(self.used_name))

    def remove(self):
        os.rmdir(self.path)


@pytest.fixture
def group():
    found = [version for version in VERSIONS if os.path.exists(os.path.join(version[0], "cgroup.procs"))]
    if not found:
        pytest.skip("no cgroups are mounted")
    try:
        one = Group(*found[0])
    except OSError as error:
        pytest.skip(f"no cgroup can be made that limits memory: {error}")
    yield one
    one.remove()


@pytest.fixture
def run(group, start):
    """Starts a broker inside; it ends before the group is removed."""
    return lambda shards, **options: start(shards, cgroup=group.path, **options)


def retain_all(publisher):
    """Publishes messages to be retained; returns how many were answered with which reason."""
    reasons = {}
    for first in range(0, MESSAGES, BATCH):
        numbers = range(first, min(first + BATCH, MESSAGES))
        publisher.send(*(mqtt.publish(f"r/{n}", PAYLOAD, 1, 1 + n % BATCH, version=5, retain=True)
                         for n in numbers))
        for _ in numbers:
            body = publisher.expect(0x40)
            reason = body[2] if len(body) > 2 else 0
            reasons[reason] = reasons.get(reason, 0) + 1
    return reasons


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, ALL_THREADS = 0x4206, 0x4207, 17, 0x40000000


@contextmanager
def stopped_watch(broker):
    """The thread that watches memory is stopped meanwhile, as if it were not given a core."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def request(what):
        return libc.ptrace(what, task, None, None) == 0

    tasks = f"/proc/{broker.pid}/task"
    task = next(int(task) for task in os.listdir(tasks) if name_of(f"{tasks}/{task}/comm") == "memory")
    if not request(PTRACE_SEIZE) or not request(PTRACE_INTERRUPT):
        pytest.skip(f"a thread may not be stopped: {os.strerror(ctypes.get_errno())}")
    os.waitpid(task, ALL_THREADS)
    try:
        yield
    finally:
        if not request(PTRACE_DETACH):
            os.waitpid(task, ALL_THREADS)  # it has ended, and its process waits for us to know


def name_of(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


# By default retained messages have a quarter of the memory; with 1 GiB only memory-max is left to refuse.
@pytest.mark.parametrize("options", [{}, {"retained_bytes_max": "1GiB"}], ids=["default", "careless"])
@pytest.mark.parametrize("shards", SHARDS)
def test_retained_messages_beyond_a_small_cgroup(group, run, shards, options):
    judge(group, run(shards, **options), "retained_bytes_max" in options)


def test_shards_look_for_themselves_where_the_watch_is_late(group, run):
    broker = run(2, retained_bytes_max="1GiB")
    with stopped_watch(broker):
        judge(group, broker, is_careless=True)


def judge(group, broker, is_careless):
    assert str(broker.pid) in group.read("cgroup.procs").split()
    broker.wait_line("WARN", "memory")
    broker.wait_log("(from the cgroup)")
    witness, publisher = Raw(broker, 5), Raw(broker, 5)
    witness.connect("witness")
    publisher.connect("publisher")
    reasons = retain_all(publisher)
    assert broker.is_running() and witness.ping() == []
    assert group.used() < LIMIT
    # Memory is short: 0x97 tells the publisher. A full store: the message goes to subscribers and is not kept.
    told = reasons.pop(QUOTA_EXCEEDED, 0)
    counted = counters(broker)
    assert counted["refused_memory"] == told
    assert reasons == {NO_SUBSCRIBER: MESSAGES - told}
    assert told > 0 or not is_careless
    kept = MESSAGES - told - counted["retained_refused"]
    assert 1_000 < kept < LIMIT // len(PAYLOAD), (kept, told)
