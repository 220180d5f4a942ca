"""Loss of power under load: the file system below the data directory is shut down at a random moment, so that whatever
was not on its disk is gone, and mounted again. Needs root, a loop device and ext4; POWER_LOSSES for more of it."""

import fcntl
import os
import shutil
import struct
import subprocess
import time

import pytest

import kills
from broker import Broker
from client import Client, VERSIONS, eventually
from conftest import SHARDS
# pylint: disable=unused-import
from test_durable import folder

pytestmark = [pytest.mark.ringmq, pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")]

LOSSES = int(os.environ.get("POWER_LOSSES", "4"))
IMAGE_MIB = 192
NO_MATCHING = 0x10
# Of ext4 and XFS: no further write reaches the disk, also none that the journal of the file system owes.
SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, struct.pack("I", 2)


def call(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class LoopDisk:
    """A file system of its own (ext4 on a loop device), mounted on a folder."""

    def __init__(self, folder, mib=IMAGE_MIB):
        self.folder, self.image = folder, folder + ".image"
        with open(self.image, "wb") as file:
            file.truncate(mib << 20)
        self.device = call("losetup", "--find", "--show", self.image)
        call("mkfs.ext4", "-q", self.device)
        call("mount", self.device, self.folder)

    def fail(self):
        """Every write fails from here on."""
        folder = os.open(self.folder, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, WITHOUT_FLUSH)
        os.close(folder)

    def mount_again(self):
        # What the kernel still carries out for a process that is gone holds the file.
        eventually(lambda: subprocess.run(["umount", self.folder], capture_output=True,
                                          check=False).returncode == 0)
        call("mount", self.device, self.folder)

    def remove(self):
        subprocess.run(["umount", "--lazy", self.folder], check=False)
        subprocess.run(["losetup", "--detach", self.device], check=False)
        os.remove(self.image)


class Power(kills.Run):
    """A run whose broker loses its disk and is killed."""

    def __init__(self, shards, seed):
        super().__init__(shards, seed)
        self.disk = LoopDisk(self.folder)

    def kill(self, clients):
        self.disk.fail()
        super().kill(clients)
        self.disk.mount_again()

    def kill_while_it_starts(self):
        """Two starts in a row that do not come to an end."""
        super().kill_while_it_starts()
        super().kill_while_it_starts()

    def end(self):
        if self.broker:
            self.broker.close()
        self.disk.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def losses():
    """Lives that end with a loss of power, so many of them."""
    made = []

    def run(shards, count):
        seed = int(os.environ.get("KILLS_SEED", time.time()))
        print(f"KILLS_SEED={seed}")
        try:
            made.append(Power(shards, seed))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted from a loop device: {error}")
        one = made[-1]
        one.begin()
        one.kill([])
        while one.lives < count:
            one.life()
        one.start()
        one.judge()
        assert one.acknowledged > count

    yield run
    for one in made:
        one.end()


@pytest.mark.parametrize("shards", SHARDS)
def test_what_was_acknowledged_is_there_after_a_loss_of_power(losses, shards):
    losses(shards, LOSSES)


def test_a_loss_of_power_loses_what_was_not_written(losses, monkeypatch):
    """With acknowledgements that do not wait it is seen, so it would be seen where they must."""
    monkeypatch.setitem(kills.OPTIONS, "durability", "interval:60s")
    with pytest.raises(AssertionError):
        losses(1, LOSSES)


@pytest.fixture
def loop_disk(folder):
    """Mounts a disk of so many MiB."""
    made = []

    def make(mib):
        path = os.path.join(folder, f"loop-{len(made)}")
        os.mkdir(path)
        try:
            made.append(LoopDisk(path, mib))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted from a loop device: {error}")
        return made[-1]

    yield make
    for one in made:
        one.remove()


def test_a_disk_that_fails_ends_the_process(loop_disk):
    """No error of a write is tried again or passed over."""
    disk = loop_disk(32)
    data = os.path.join(disk.folder, "data")
    options = {"data_dir": data, "journal_segment_bytes": "1MiB"}
    broker = Broker(1, **options)
    publisher = Client(broker, "p", VERSIONS["5"]).connect()
    assert publisher.publish_and_wait("r/0", b"first", 1, True) == NO_MATCHING
    disk.fail()
    publisher.publish("r/1", b"second", 1, True)
    assert broker.process.wait(20) == 3
    assert f"the journal in {data}/shard-00-of-01 cannot be written: " in broker.log(), broker.log()
    publisher.paho.loop_stop()
    broker.close()
    disk.mount_again()
    broker = Broker(1, **options)
    reader = Client(broker, "s", VERSIONS["5"]).connect()
    reader.subscribe("r/#", 1)
    assert reader.next().payload == b"first"
    reader.paho.loop_stop()
    broker.kill()
    broker.close()
