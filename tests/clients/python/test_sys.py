"""$SYS of the real process: Mosquitto's topics, by its own tools and beside the real Mosquitto."""

import re
import shutil
import signal
import subprocess

import pytest

from broker import free_port
from client import DEADLINE_S, VERSIONS, Client, eventually

SUB, MOSQUITTO = shutil.which("mosquitto_sub"), shutil.which("mosquitto") or "/usr/sbin/mosquitto"
ROOT = "$SYS/broker/"
SHARDS = [1, 2, 4]

pytestmark = pytest.mark.ringmq


def tree(port):
    """All retained topics below $SYS with their values, by mosquitto_sub."""
    command = [SUB, "-h", "127.0.0.1", "-p", str(port), "-t", "$SYS/#", "-F", r"%t\t%p", "--retained-only", "-W", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)


def whole_tree(port, shards=2):
    """The same, once the broker has published it after its start, which is in pieces; the shards come last."""
    found = {}

    def is_there():
        found.clear()
        found.update(tree(port))
        return ROOT + "version" in found and all(
            any(topic.startswith(f"{ROOT}shards/{shard}/") for topic in found) for shard in range(shards))

    eventually(is_there)
    return found


@pytest.mark.skipif(not SUB, reason="mosquitto-clients is not installed")
@pytest.mark.parametrize("shards", SHARDS)
def test_values_are_what_tools_expect(start, shards):
    broker = start(shards)
    found = whole_tree(broker.port, shards)
    assert re.fullmatch(r"ringmq version \S+", found[ROOT + "version"])
    assert re.fullmatch(r"\d+ seconds", found[ROOT + "uptime"])
    for topic, value in found.items():
        if topic in (ROOT + "version", ROOT + "uptime"):
            continue
        pattern = r"-?\d+\.\d\d" if "/load/" in topic else r"\d+"
        assert re.fullmatch(pattern, value), f"{topic} {value}"
    assert found[ROOT + "retained messages/count"].isdigit()
    numbers = {topic.split("/")[3] for topic in found if topic.startswith(ROOT + "shards/")}
    assert numbers == {str(shard) for shard in range(shards)}


@pytest.mark.skipif(not SUB, reason="mosquitto-clients is not installed")
def test_every_topic_of_mosquitto_is_there(start, tmp_path):
    """But for those of its log, and of bridges, of which there are none."""
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\n")
    other = subprocess.Popen([MOSQUITTO, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        theirs = whole_tree(port, shards=0)
    finally:
        other.kill()
        other.wait()
    ours = whole_tree(start(2).port)
    missing = {topic for topic in theirs if topic not in ours}
    # Our own words for what is dropped, and what the version does not have, are in docs/metrics.md.
    assert missing == set()


def wait_for(client, topic, seen):
    """Reads up to a message of this topic; counts all by topic in `seen`."""
    while True:
        message = client.next()
        seen[message.topic] = seen.get(message.topic, 0) + 1
        if message.topic == topic:
            return message


@pytest.mark.parametrize("shards", SHARDS)
def test_only_changes_are_published_and_only_by_the_broker(start, shards, name):
    broker = start(shards, sys_interval="1s")
    watcher, everything, publisher, late = (Client(broker, f"{name}-{n}", VERSIONS["5"]).connect() for n in "wepl")
    watcher.subscribe("$SYS/broker/#", 0)
    everything.subscribe("#", 0)
    everything.subscribe("+/broker/uptime", 0)
    wait_for(watcher, ROOT + "uptime", {})
    late.subscribe(ROOT + "version", 0)
    assert late.next().retain
    refused = publisher.publish_and_wait("$SYS/broker/uptime", "never", qos=1, retain=True)
    assert refused == 0x87
    publisher.publish_and_wait(f"{name}/a", "one", qos=1)
    assert everything.next().topic == f"{name}/a"
    seen = {}
    while True:
        message = wait_for(watcher, ROOT + "publish/messages/received", seen)
        assert message.payload.isdigit()
        if message.payload == b"2":
            break
    assert not message.retain
    for _ in range(3):  # the tree is published three times more
        message = wait_for(watcher, ROOT + "uptime", seen)
        assert message.payload.endswith(b" seconds")
    assert seen.get(ROOT + "version", 0) <= 1 and seen.get(ROOT + "clients/expired", 0) <= 1
    publisher.publish_and_wait(f"{name}/b", "two", qos=1)
    assert everything.next().topic == f"{name}/b", "a wildcard at the beginning does not match"


@pytest.mark.parametrize("format", ["text", "json"])
def test_lines_of_the_log_for_those_who_ask(start, name, format):
    """As with `log_dest topic`: not retained, at their level, and to nobody by a wildcard at the beginning."""
    broker = start(2, sys_log="true", log_format=format)
    quiet = start(2)
    watcher, everything = (Client(broker, f"{name}-{n}", VERSIONS["5"]).connect() for n in "we")
    watcher.subscribe("$SYS/broker/log/+", 0)
    everything.subscribe("#", 0)
    unheard = Client(quiet, name).connect()
    unheard.subscribe("$SYS/broker/log/#", 0)
    for one in (broker, quiet):
        one.send_signal(signal.SIGUSR1)  # counters, a line of its own
    line = watcher.next()
    assert (line.topic, line.retain, line.qos) == (ROOT + "log/I", False, 0)
    assert b"counters since the start" in line.payload and line.payload.decode() in broker.log()
    quiet.wait_log("counters since the start")
    for client in (everything, unheard):
        client.subscribe(name, 0)
        client.publish_and_wait(name, "there", qos=1)
        assert client.next().topic == name


def test_zero_is_none(start, name):
    broker = start(2, sys_interval=0)
    one = Client(broker, name).connect()
    one.subscribe("$SYS/#", 0)
    one.subscribe(name, 0)
    one.publish(name, "there")
    assert one.next().topic == name


@pytest.mark.skipif(not SUB, reason="mosquitto-clients is not installed")
def test_rules_grant_it_by_name(start, tmp_path):
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite #\ntopic read $SYS/#\n")
    assert ROOT + "uptime" in whole_tree(start(2, acl_file=rules).port)
    rules.write_text("topic readwrite #\n")
    command = [SUB, "-h", "127.0.0.1", "-p", str(start(2, acl_file=rules).port), "-t", "$SYS/#", "-C", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert "denied" in done.stderr


def test_it_counts_against_no_limit_and_is_in_no_journal(start, tmp_path, name):
    broker = start(1, data_dir=tmp_path / "data", retained_messages_max=2)
    one = Client(broker, name).connect()
    one.subscribe("$SYS/broker/uptime", 0)
    one.next()
    for topic in ["a", "b"]:
        one.publish_and_wait(f"{name}/{topic}", "kept", qos=1, retain=True)
    broker.stop()
    again = start(1, data_dir=tmp_path / "data", sys_interval=0)
    two = Client(again, name).connect()
    two.subscribe("$SYS/#", 0)
    two.subscribe(f"{name}/#", 0)
    assert {message.topic for message in two.take(2)} == {f"{name}/a", f"{name}/b"}
