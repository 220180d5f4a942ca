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
from client import eventually
from conftest import SHARDS

pytestmark = [pytest.mark.ringmq, pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")]

LOSSES = int(os.environ.get("POWER_LOSSES", "4"))
IMAGE_MIB = 192
# Of ext4 and XFS: no further write reaches the disk, also none that the journal of the file system owes.
SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, struct.pack("I", 2)


def call(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Power(kills.Run):
    """A run whose broker loses its disk and is killed."""

    def __init__(self, shards, seed):
        super().__init__(shards, seed)
        self.image = self.folder + ".image"
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_MIB << 20)
        self.device = call("losetup", "--find", "--show", self.image)
        call("mkfs.ext4", "-q", self.device)
        call("mount", self.device, self.folder)

    def kill(self, clients):
        folder = os.open(self.folder, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, WITHOUT_FLUSH)
        os.close(folder)
        super().kill(clients)
        # What the kernel still carries out for the process that is gone holds the file.
        eventually(lambda: subprocess.run(["umount", self.folder], capture_output=True,
                                          check=False).returncode == 0)
        call("mount", self.device, self.folder)

    def kill_while_it_starts(self):
        """Two starts in a row that do not come to an end."""
        super().kill_while_it_starts()
        super().kill_while_it_starts()

    def end(self):
        if self.broker:
            self.broker.close()
        subprocess.run(["umount", "--lazy", self.folder], check=False)
        subprocess.run(["losetup", "--detach", self.device], check=False)
        os.remove(self.image)
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
