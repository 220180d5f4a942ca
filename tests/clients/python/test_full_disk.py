"""A full disk below the data directory, mounted small: what has to be written there is refused, everything else is
served, and all is well again by itself. Needs root."""

import os
import subprocess

import pytest

from broker import Broker, free_port
from client import Client, VERSIONS, eventually
from test_admin_api import ctl
from test_durable import KEPT
# pylint: disable=unused-import
from test_durable import folder
from test_journal import AS_ROOT, mounted
from test_metrics import samples
from test_power import loop_disk
from admin import Admin

pytestmark = [pytest.mark.ringmq, AS_ROOT]

QUOTA_EXCEEDED = 0x97
NO_MATCHING = 0x10
SIZE = 50_000
OPTIONS = {"journal_segment_bytes": "1MiB", "queue_bytes_max": "64MiB", "durability": "commit"}
FULL, WELL = "no further file can be made", "files can be made again"


class Disk:
    """A small file system with a broker on it, and a file beside its data directory that takes most of the room."""

    def __init__(self, path, shards):
        self.path, self.shards = path, shards
        self.data, self.ballast = os.path.join(path, "data"), os.path.join(path, "ballast")
        self.port, self.admin = free_port(), Admin(free_port())
        self.clients, self.broker = [], None
        self.start()

    def start(self, **options):
        self.broker = Broker(self.shards, self.port, data_dir=self.data, admin_listen=f"127.0.0.1:{self.admin.port}",
                             **{**OPTIONS, **options})

    def fill(self, left_mib=6):
        """Of the room so much is left."""
        found = os.statvfs(self.path)
        with open(self.ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - (left_mib << 20))

    def client(self, client_id, version="5", clean=True, **options):
        kept = KEPT if version == "5" and not clean else None
        one = Client(self.broker, client_id, VERSIONS[version], clean=clean, connect_properties=kept, **options)
        self.clients.append(one)
        return one.connect()

    def subscribed(self, client_id="s"):
        one = self.client(client_id, clean=False)
        assert one.subscribe("t", 1) == [1]
        one.disconnect()

    def publish_until_refused(self, publisher):
        """Numbers of the messages that were taken."""
        taken = []
        while True:
            code = publisher.publish_and_wait("t", b"%d " % len(taken) + b"x" * SIZE, 1)
            if code:
                assert code == QUOTA_EXCEEDED
                return taken
            taken.append(len(taken))

    def overload(self):
        found = samples(self.admin.get("/metrics").text)
        return [found[name, ("reason", "disk")] for name in
                ("ringmq_overload", "ringmq_overload_refusals_total")]

    def close(self):
        for one in self.clients:
            one.paho.loop_stop()
        self.clients.clear()
        self.broker.kill()
        self.broker.close()


@pytest.fixture
def disk(mounted, loop_disk):
    made = []

    def make(shards=1, mib=24, kind="tmpfs"):
        path = mounted(kind, f"size={mib}m") if kind == "tmpfs" else loop_disk(mib).folder
        made.append(Disk(path, shards))
        return made[-1]

    yield make
    for one in made:
        one.close()


def numbers(messages):
    return [int(message.payload.split()[0]) for message in messages]


@pytest.mark.parametrize("shards, kind", [(1, "tmpfs"), (2, "tmpfs"), (1, "ext4")])
def test_what_needs_room_is_refused_until_there_is_some(disk, shards, kind):
    one = disk(shards, kind=kind)
    one.subscribed()
    brief = one.client("brief")
    assert brief.subscribe("b", 1) == [1]
    one.fill()
    publisher = one.client("p")
    taken = one.publish_until_refused(publisher)
    assert len(taken) > 10
    line = one.broker.wait_line(FULL)
    assert "No space left on device" in line and "0x97" in line and "disk-full-timeout" in line
    is_full, refused = one.overload()
    assert 1 <= is_full <= shards and refused >= 1
    # What nobody has to keep is served, and a session that is there comes back.
    assert publisher.publish_and_wait("b", b"brief", 1) == 0
    assert brief.next().payload == b"brief"
    assert publisher.publish_and_wait("nobody", b"", 1) == NO_MATCHING
    assert one.client("new", clean=False).reason.value == QUOTA_EXCEEDED
    os.remove(one.ballast)
    one.broker.wait_log(WELL)
    assert publisher.publish_and_wait("t", b"%d" % len(taken), 1) == 0
    assert one.overload()[0] == 0
    assert one.broker.log().count(FULL) <= shards
    # Not more than was taken, and all of it.
    kept = one.client("s", clean=False)
    assert kept.session_present
    assert numbers(kept.take(len(taken) + 1)) == taken + [len(taken)]


def test_what_is_taken_from_a_full_disk_makes_room(disk):
    one = disk(mib=16)
    one.subscribed()
    publisher = one.client("p")
    for _ in range(2):
        taken = one.publish_until_refused(publisher)
        seen = len(one.broker.log())
        kept = one.client("s", clean=False)
        assert numbers(kept.take(len(taken))) == taken
        one.broker.wait_log(WELL, seen)
        kept.disconnect()


def test_a_session_that_is_ended_makes_room_for_the_rest(disk):
    """What the other one has waiting is more than the room that is left, and is moved a segment at a time."""
    one = disk(mib=48)
    one.broker.close()
    one.start(queue_memory="0", queue_bytes_max="256MiB")
    for client_id, topic in [("long", "long"), ("s", "t")]:
        kept = one.client(client_id, clean=False)
        assert kept.subscribe(topic, 1) == [1]
        kept.disconnect()
    publisher = one.client("p")
    taken, code = [], 0
    while code == 0:
        for topic in ["long", "long", "t"]:
            code = publisher.publish_and_wait(topic, b"%d " % len(taken) + b"x" * SIZE, 1)
            if code == 0 and topic == "t":
                taken.append(len(taken))
    assert code == QUOTA_EXCEEDED
    assert len(taken) * SIZE > 4 << 20, "more than four files"
    seen = len(one.broker.log())
    assert one.admin.get("/api/v1/clients/long").status == 200
    ctl(one.admin, "kick", "long", "--end-session")
    one.broker.wait_log(WELL, seen)
    assert publisher.publish_and_wait("t", b"%d" % len(taken), 1) == 0
    kept = one.client("s", clean=False)
    assert numbers(kept.take(len(taken) + 1)) == taken + [len(taken)]


def test_a_client_of_3_1_1_waits_and_is_disconnected_in_the_end(disk):
    one = disk()
    one.subscribed()
    one.fill()
    taken = one.publish_until_refused(one.client("p"))
    old = one.client("old", "3.1.1")
    mid = old.publish("t", b"%d" % len(taken), 1)
    os.remove(one.ballast)
    one.broker.wait_log(WELL)
    old._wait_ack(("p", mid))  # pylint: disable=protected-access
    one.close()
    one.start(disk_full_timeout="1s")
    one.fill()
    one.publish_until_refused(one.client("p"))
    old = one.client("old", "3.1.1")
    old.publish("t", b"x", 1)
    old.wait_disconnected()
    one.broker.wait_line("disk-full-timeout (1 s)", '"old"')


def test_a_broker_that_starts_on_a_full_disk(disk):
    one = disk()
    one.subscribed()
    one.fill()
    taken = one.publish_until_refused(one.client("p"))
    one.close()
    one.start()
    kept = one.client("s", clean=False)
    assert kept.session_present
    assert numbers(kept.take(len(taken))) == taken
    publisher = one.client("p")
    os.remove(one.ballast)
    eventually(lambda: publisher.publish_and_wait("t", b"end", 1) == 0)
