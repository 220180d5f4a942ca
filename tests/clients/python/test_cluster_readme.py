"""The README's cluster to try: its commands, one after the other, as they are written there."""

import os
import re
import subprocess

import pytest

from broker import BINARY, ROOT, free_port
from client import eventually
from cluster import NATS

pytestmark = pytest.mark.ringmq


def commands():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        section = readme.read().split("## A cluster to try", 1)[1].split("\n## ", 1)[0]
    block = section.split("```sh\n", 1)[1].split("```", 1)[0]
    return block.strip().splitlines()


def in_a_row(count):
    """The first of so many free ports."""
    while True:
        first = free_port()
        if all(free_port() == first + n for n in range(1, count)):
            return first


def test_the_commands_of_the_readme_do_what_they_say(tmp_path):
    port, nats_port = in_a_row(3), in_a_row(3)
    folder = tmp_path / "cluster"
    env = {**os.environ, "PORT": str(port), "NATS_PORT": str(nats_port), "CLUSTER_FOLDER": str(folder), "RINGMQ": BINARY,
           "PATH": os.path.dirname(NATS) + os.pathsep + os.environ["PATH"]}
    lines = commands()
    assert len(lines) == 5
    # Other ports and another folder than of a cluster that somebody tries on this machine.
    lines = [re.sub(r"-p 188(\d)", lambda found: f"-p {port + int(found[1]) - 3}", line) for line in lines]
    lines = [line.replace("target/cluster", str(folder)) for line in lines]
    output = tmp_path / "output"
    with open(output, "wb") as out:
        shell = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=ROOT, env=env,
                                 start_new_session=True)

    def give(line):
        shell.stdin.write(line.encode() + b"\n")
        shell.stdin.flush()

    def received():
        """What the subscriber at node b has printed, by topic."""
        got = {}
        for line in output.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("room/"):
                topic, payload = line.split(" ", 1)
                got.setdefault(topic, []).append(payload)
        return got

    try:
        give(lines[0])
        eventually(lambda: "logs are in" in output.read_text(encoding="utf-8"), 60)
        assert output.read_text(encoding="utf-8").count("node ") == 3
        give(lines[1])

        def has_come():
            give(lines[2])  # again, if the subscriber was not there yet: a person is slower
            return received().get("room/1")

        eventually(has_come, 30)
        assert received()["room/1"][0] == "from node a"
        give(lines[3])
        eventually(lambda: len(received().get("room/2", ())) >= 20, 30)
        give(lines[4])
        eventually(lambda: "node c is gone" in (folder / "a.log").read_text(encoding="utf-8"), 30)
        before = len(received()["room/2"])
        eventually(lambda: len(received()["room/2"]) >= before + 20, 30)
        numbers = [int(number or 0) for number in received()["room/2"]]
        assert numbers == list(range(len(numbers)))
    except AssertionError as error:
        logs = [log.read_text(encoding="utf-8", errors="replace")[-3000:] for log in folder.glob("*.log")]
        raise AssertionError("\n\n".join([output.read_text(encoding="utf-8")[-3000:], *logs])) from error
    finally:
        subprocess.run([os.path.join(ROOT, "scripts", "cluster.sh"), "stop"], env=env, check=False, timeout=30)
        subprocess.run(["pkill", "--session", str(shell.pid)], check=False)
        shell.stdin.close()
        shell.wait(10)
