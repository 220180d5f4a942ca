"""Starts with another number of shards: what waits stays on the disk, and a process that is killed while it writes the
logs anew has changed nothing."""

import glob
import os
import random
import shutil
import tempfile
import time

import pytest

import raw
from broker import Broker

pytestmark = pytest.mark.ringmq

SESSIONS, EACH, PAYLOAD = 30, 150, 8 << 10
# All that waits is more than ten times what a broker may have in memory of it.
OPTIONS = {"journal_segment_bytes": "2MiB", "queue_memory": "2MiB", "queue_messages_max": 10_000,
           "queue_bytes_max": "64MiB", "memory_max": "200MiB"}  # small: without huge pages
# Each of them is killed while it begins, but the last one.
SHARDS = [3, 1, 4, 5, 1, 4]
START_S = 60


@pytest.fixture
def data():
    """The path of a data directory."""
    folder = tempfile.mkdtemp(prefix="ringmq-data-")
    yield os.path.join(folder, "data")
    shutil.rmtree(folder, ignore_errors=True)


def session(broker, name, is_present):
    link = raw.Raw(broker)
    assert link.connect(name, clean=False) == is_present
    return link


def payload(session_, n):
    return b"%d %d " % (session_, n) + bytes(PAYLOAD)


def fill(broker):
    """Messages of QoS 1 and 2 wait for sessions; one is received and not acknowledged, one has its PUBREC."""
    for n in range(SESSIONS):
        link = session(broker, f"s{n}", False)
        link.subscribe((f"own/{n}", 2), ("all", 1))
        link.close()
    publisher = session(broker, "p", False)
    for n in range(EACH):
        for one in range(SESSIONS):
            publisher.send(raw.publish(f"own/{one}", payload(one, n), 1 + n % 2, 1 + one))
        for one in range(SESSIONS):
            publisher.expect(0x50 if n % 2 else 0x40)
            if n % 2:
                publisher.send(raw.ack(0x62, 1 + one))
        for one in range(SESSIONS if n % 2 else 0):
            publisher.expect(0x70)
    publisher.send(raw.publish("all", b"to all", 2, 500))
    publisher.expect(0x50)  # its PUBREL is owed
    publisher.close()
    reader = session(broker, "s0", True)
    first, second = reader.expect_publish(), reader.expect_publish()
    assert (first.qos, second.qos) == (1, 2)
    reader.send(raw.ack(0x50, second.packet_id))
    while reader.receive()[0] != 0x62:
        pass
    reader.close()
    return second.packet_id


def kill_while_it_begins(shards, path):
    """Once so many files of its logs are there; whether it was early enough."""
    broker = Broker(shards, wait=False, data_dir=path, **OPTIONS)
    files = random.randrange(1, 2 + 3 * shards)
    end = time.monotonic() + START_S
    pattern = os.path.join(path, f"shard-*-of-{shards:02}", "*.seg")
    while len(glob.glob(pattern)) < files and "shards are now the logs" not in broker.log():
        assert time.monotonic() < end and broker.is_running(), broker.log()
    broker.kill()
    is_early = "shards are now the logs" not in broker.log()
    broker.close()
    return is_early


def test_killed_while_it_changes_the_number_of_shards(data):
    seed = int(os.environ.get("SHARDS_SEED", time.time()))
    print(f"SHARDS_SEED={seed}")
    random.seed(seed)
    broker = Broker(2, data_dir=data, **OPTIONS)
    released = fill(broker)
    broker.kill()
    broker.close()
    early = [kill_while_it_begins(shards, data) for shards in SHARDS]
    assert sum(early) >= len(SHARDS) // 2, early
    taking_over = peak_of_start(3, data, "shards are now the logs of this number of shards")
    assert {os.path.basename(path)[-5:] for path in glob.glob(os.path.join(data, "shard-*"))} == {"of-03"}
    usual = peak_of_start(3, data, "ready")
    print(f"at the highest {taking_over >> 20} MiB, with the same number of shards {usual >> 20}")
    assert taking_over - usual < 28 << 20, "37 MB wait; each shard has some on their way to its log"
    broker = Broker(3, data_dir=data, **OPTIONS)
    try:
        check(broker, released)
    finally:
        broker.kill()
        broker.close()


def peak_of_start(shards, path, line):
    """Bytes in memory at the highest until its log has a line; it is killed then."""
    broker = Broker(shards, data_dir=path, **OPTIONS)
    try:
        broker.wait_log(line)
        with open(f"/proc/{broker.pid}/status", encoding="ascii") as status:
            return int(next(one for one in status if one.startswith("VmHWM")).split()[1]) << 10
    finally:
        broker.kill()
        broker.close()


def check(broker, released):
    """Everything is there, in order, and QoS 2 once."""
    publisher = session(broker, "p", True)
    publisher.send(raw.publish("all", b"to all", 2, 500, dup=True))
    publisher.expect(0x50)
    publisher.send(raw.ack(0x62, 500))
    publisher.expect(0x70)
    for one in range(SESSIONS):
        link = session(broker, f"s{one}", True)
        found, pubrels = [], []
        while not found or found[-1] != b"to all":
            first, body = link.receive()
            if first >> 4 != 3:
                pubrels.append(int.from_bytes(body, "big"))
                link.send(raw.ack(0x70, pubrels[-1]))
                continue
            it = raw.Publish(first, body, 4)
            found.append(it.payload)
            link.send(raw.ack(0x40 if it.qos == 1 else 0x50, it.packet_id))
        sent = [payload(one, n) for n in range(EACH)] + [b"to all"]
        if one == 0:
            del sent[1]  # its PUBREC was sent
            assert released in pubrels
        assert found == sent, f"session {one}"
        link.ping()
        link.close()
