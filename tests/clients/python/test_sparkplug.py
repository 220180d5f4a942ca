"""Sparkplug clients of other makers: an edge node by pysparkplug, a host application by aiospb, payloads read by Tahu."""

import json
import os
import re
import subprocess
import sys
import time
import uuid

import pytest
from tahutils.parse import payload_from_string
from tahutils.tahu.sparkplug_b_pb2 import Payload as SparkplugPayload

from admin import start_admin
from client import DEADLINE_S, V311, Client, eventually

pytestmark = pytest.mark.ringmq

HERE = os.path.dirname(__file__)
# pysparkplug needs another paho-mqtt than these tests: it has an environment of its own (scripts/test.sh).
OLDER = os.path.join(sys.prefix, "sparkplug", "bin", "python")
KEPT = "$sparkplug/certificates/"
NODE, DEVICE = "spBv1.0/plant/NBIRTH/line 1", "spBv1.0/plant/DBIRTH/line 1/press 7"
STATE = "spBv1.0/STATE/scada"
SHARDS = [1, 4]


class Program:
    """One of the clients beside this file, as a process that takes orders by lines."""

    def __init__(self, python, name, *arguments):
        command = [python, os.path.join(HERE, name), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

    def order(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def leave(self):
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def programs():
    started = []

    def start(*arguments):
        started.append(Program(*arguments))
        return started[-1]

    yield start
    for program in started:
        program.kill()
        program.process.stdin.close()


@pytest.fixture
def observe():
    """Subscribers with a list of all they got."""
    observers = []

    def start(broker, *filters):
        client = Client(broker, f"observer-{uuid.uuid4().hex[:8]}", V311)
        observers.append(client)
        client.connect().subscribe(list(filters), qos=1)
        return client

    yield start
    for client in observers:
        client.close()


def wait_for(client, topic, retain=False):
    """The next message of this topic with this flag."""
    while True:
        message = client.next()
        if message.topic == topic and message.retain == retain:
            return message


def bd_seq(payload):
    return [metric.long_value for metric in payload.metrics if metric.name == "bdSeq"]


def now_ms():
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize("shards", SHARDS)
def test_edge_node_and_device(start, programs, observe, shards):
    """conformance: sparkplug:tck-id-conformance-mqtt-aware-store"""
    broker, admin = start_admin(start, shards, sparkplug="true")
    host = observe(broker, "spBv1.0/#")
    kept = observe(broker, KEPT + "#")
    node = programs(OLDER, "edge_node.py", broker.port, "plant", "line 1", 1.5)
    births = {}
    for topic in (NODE, DEVICE):
        births[topic] = wait_for(host, topic).payload
        assert wait_for(kept, KEPT + topic, retain=True).payload == births[topic]
    born, device = map(payload_from_string, (births[NODE], births[DEVICE]))
    assert [born.seq, device.seq] == [0, 1]
    assert [metric.double_value for metric in device.metrics] == [1.5]

    node.order("data 300")
    seqs = [payload_from_string(host.next().payload).seq for _ in range(300)]
    assert seqs == [seq % 256 for seq in range(2, 302)]

    def known():
        return admin.get("/api/v1/sparkplug/nodes/plant/line%201").json

    eventually(lambda: known()["node"]["messages"] == 302)
    assert (known()["node"]["online"], known()["node"]["gaps"], known()["node"]["devices_online"]) == (True, 0, 1)
    assert known()["node"]["bd_seq"] == bd_seq(born)[0]

    node.order("device leaves")
    wait_for(host, "spBv1.0/plant/DDEATH/line 1/press 7")
    eventually(lambda: known()["node"]["devices_online"] == 0)

    # Its will was written before this.
    before = now_ms()
    node.kill()
    death = payload_from_string(wait_for(host, "spBv1.0/plant/NDEATH/line 1").payload)
    assert before - 1 <= death.timestamp <= now_ms() + 1  # clocks are rounded
    assert bd_seq(death) == bd_seq(born)
    eventually(lambda: not known()["node"]["online"])

    # Its next life has another birth; what a late host finds is that one, and no device is forgotten.
    node = programs(OLDER, "edge_node.py", broker.port, "plant", "line 1", 2.5)
    reborn = wait_for(host, NODE).payload
    wait_for(host, DEVICE)
    assert reborn != births[NODE]
    late = observe(broker, KEPT + "#")
    found = {message.topic: message.payload for message in late.take(2)}
    assert found[KEPT + NODE] == reborn
    assert payload_from_string(found[KEPT + DEVICE]).metrics[0].double_value == 2.5

    # One that leaves says so itself, and its will does not say it again. pysparkplug says it with the bdSeq of its next
    # connection, so it is not the death of this one.
    node.order("leave")
    assert node.process.wait(DEADLINE_S) == 0
    wait_for(host, "spBv1.0/plant/NDEATH/line 1")
    last = Client(broker, "last").connect()
    last.publish_and_wait("spBv1.0/end", b"", qos=1)
    assert host.until("spBv1.0/end") == []
    last.close()
    assert [known()["node"][count] for count in ("deaths", "stale_deaths")] == [1, 1]


@pytest.mark.parametrize("shards", SHARDS)
def test_certificates_outlive_the_process(start, programs, observe, tmp_path, shards):
    options = {"sparkplug": "true", "data_dir": tmp_path / "data", "journal_segment_bytes": "1MiB"}
    broker = start(shards, **options)
    kept = observe(broker, KEPT + "#")
    programs(OLDER, "edge_node.py", broker.port, "plant", "line 1", 1.5)
    before = {message.topic: message.payload for message in kept.take(2)}
    assert set(before) == {KEPT + NODE, KEPT + DEVICE}
    broker.stop()
    again = observe(start(shards, **options), KEPT + "#")
    after = again.take(2)
    assert {message.topic: message.payload for message in after} == before
    assert all(message.retain for message in after)


# aiospb makes its will before its birth says another time, where the specification asks for the same one: edge nodes hold
# such a will for that of an earlier connection and believe that the host is there, and so is it shown.
HOSTS = {"pysparkplug": (OLDER, "host_by_pysparkplug.py", False), "aiospb": (sys.executable, "host_application.py", True)}


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("library", HOSTS)
def test_state_of_a_host_application(start, programs, observe, library, shards):
    python, program, is_believed = HOSTS[library]
    broker, admin = start_admin(start, shards, sparkplug="true")
    live = observe(broker, STATE)

    def expect(online, believed):
        """Said, retained, and known."""
        said = json.loads(wait_for(live, STATE).payload)
        assert said["online"] is online
        late = observe(broker, STATE)
        assert json.loads(wait_for(late, STATE, retain=True).payload) == said

        def is_known():
            hosts = admin.get("/api/v1/sparkplug/hosts").json["hosts"]
            return [(host["host"], host["online"]) for host in hosts] == [("scada", believed)]

        eventually(is_known)

    host = programs(python, program, broker.port, "scada")
    expect(True, True)
    host.kill()  # its will says it
    expect(False, is_believed)
    host = programs(python, program, broker.port, "scada")
    expect(True, True)
    host.leave()  # it says it itself
    expect(False, False)


def payload(seq, filling):
    """A birth of a device, with a metric of so many bytes."""
    made = SparkplugPayload(timestamp=now_ms(), seq=seq % 256)
    made.metrics.add(name="image", datatype=17, bytes_value=bytes(filling))
    return made.SerializeToString()


def longest_turn_s(admin):
    """The bound of the last bucket of turns that has one."""
    found = re.findall(r'ringmq_turn_seconds_bucket{.*shard="(\d+)".*le="([^"]+)".*} (\d+)', admin.get("/metrics").text)
    assert found
    bounds = {}
    for shard, bound, count in found:
        last, longest = bounds.get(shard, (0, 0.0))
        bounds[shard] = (int(count), float(bound) if int(count) > last else longest)
    return max(longest for _, longest in bounds.values())


@pytest.mark.parametrize("shards", [2])
def test_a_storm_of_births(start, observe, shards):
    """10,000 devices are born at once: each has its certificate and its state, and another client is answered meanwhile."""
    devices, filling = 10_000, 300
    broker, admin = start_admin(start, shards, sparkplug="true", queue_messages_max=2 * devices, queue_bytes_max=1 << 26)
    host = observe(broker, KEPT + "#")
    node = Client(broker, "storm").connect()
    node.publish("spBv1.0/plant/NBIRTH/storm", payload(0, 0))
    wait_for(host, KEPT + "spBv1.0/plant/NBIRTH/storm", retain=True)
    before = broker.resident_kib()
    births = [payload(seq, filling) for seq in range(1, devices + 1)]
    began = time.monotonic()
    for number, birth in enumerate(births):
        node.publish(f"spBv1.0/plant/DBIRTH/storm/{number}", birth)
    other, waits = Client(broker, "other").connect(), []
    got = {}
    while len(got) < devices:
        asked = time.monotonic()
        other.publish_and_wait("elsewhere", b"", 1)
        waits.append(time.monotonic() - asked)
        while not host.messages.empty():
            message = host.messages.get()
            assert message.retain
            got[message.topic] = message.payload
        assert asked < began + 3 * DEADLINE_S, f"{len(got)} certificates"
    took = time.monotonic() - began
    prefix = f"{KEPT}spBv1.0/plant/DBIRTH/storm/"
    assert got == {prefix + str(number): birth for number, birth in enumerate(births)}
    found = admin.get("/api/v1/sparkplug/nodes/plant/storm?limit=1").json["node"]
    assert (found["devices_online"], found["gaps"]) == (devices, 0)
    late = observe(broker, KEPT + "#")
    assert {message.topic: message.payload for message in late.take(devices + 1)}.items() >= got.items()
    # A state, a retained message with its route and payload, and what queues have grown to.
    more = broker.resident_kib() - before
    waits.sort()
    turn = longest_turn_s(admin)
    print(f"{took:.2f} s, {more} KiB more, turns of {turn} s at most, another client waits {waits[len(waits) // 2] * 1e3:.1f} ms")
    assert more * 1024 < devices * 8_192
    assert turn < 1
    node.close()
    other.close()
