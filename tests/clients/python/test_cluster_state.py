"""Copies of nodes' logs in NATS: a node that loses its disk, or is lost itself, loses nothing that it has acknowledged."""

import shutil
import signal
import time

import pytest

from client import V5, Client, eventually
from cluster import Nats, NatsClient, start_node

pytestmark = pytest.mark.ringmq

MESSAGES = 1000
SERVER_UNAVAILABLE = 0x88


@pytest.fixture(scope="module")
def nats():
    servers = Nats()
    yield servers
    servers.close()


@pytest.fixture
def options(name, tmp_path):
    """Of a node with a disk, of a cluster for one test."""

    def of(node):
        return {
            "cluster_name": "s" + name[-8:],
            "data_dir": tmp_path / node,
            "journal_segment_bytes": "1MiB",
        }

    return of


def subscribe_and_leave(broker, client_id, name):
    client = Client(broker, client_id, clean=False)
    client.connect()
    client.subscribe(f"{name}/#", qos=2)
    client.disconnect()
    client.close()


def publish(broker, client_id, name, numbers):
    """At QoS 1 and 2 in turn; all are acknowledged when this returns."""
    client = Client(broker, client_id)
    client.connect()
    client.publish_all([(f"{name}/t", str(n), 1 + n % 2) for n in numbers])
    client.close()


def take_all(broker, client_id, count):
    """What waits for a session that is there: of QoS 2 each once, in order."""
    client = Client(broker, client_id, clean=False)
    client.connect()
    assert client.session_present
    got = {1: [], 2: []}
    for message in client.take(count):
        got[message.qos].append(int(message.payload))
    assert sorted(set(got[1])) == list(range(0, count, 2))
    assert got[2] == list(range(1, count, 2))
    assert client.messages.empty()
    client.close()


def test_a_lost_disk_is_brought_back(start, nats, options, name):
    node = start_node(start, nats, "a", **options("a"))
    subscribe_and_leave(node, f"{name}-s", name)
    publish(node, f"{name}-p", name, range(MESSAGES))
    node.kill()
    shutil.rmtree(options("a")["data_dir"])
    again = start_node(start, nats, "a", joins=False, **options("a"))
    assert "is brought back from the NATS servers" in again.log()
    take_all(again, f"{name}-s", MESSAGES)


def test_logs_of_before_the_cluster_and_of_other_shards_are_copied(start, nats, options, name):
    node = start_node(start, nats, "a", cluster_durability="node", **options("a"))
    subscribe_and_leave(node, f"{name}-s", name)
    publish(node, f"{name}-p", name, range(400))
    assert node.stop()[0] == 0
    node = start_node(start, nats, "a", **options("a"))
    publish(node, f"{name}-p", name, range(400, 700))
    assert node.stop()[0] == 0
    node = start_node(start, nats, "a", shards=3, **options("a"))
    publish(node, f"{name}-p", name, range(700, MESSAGES))
    node.kill()
    shutil.rmtree(options("a")["data_dir"])
    again = start_node(start, nats, "a", joins=False, **options("a"))
    take_all(again, f"{name}-s", MESSAGES)


def test_a_disk_that_lacks_its_end_is_completed(start, nats, options, name):
    """What was in the stream only when the node was killed, as when its disk was slower."""
    node = start_node(start, nats, "a", **options("a"))
    subscribe_and_leave(node, f"{name}-s", name)
    publish(node, f"{name}-p", name, range(MESSAGES // 2))
    assert node.stop()[0] == 0
    folder = options("a")["data_dir"]
    older = folder.with_name("older")
    shutil.copytree(folder, older)
    node = start_node(start, nats, "a", **options("a"))
    publish(node, f"{name}-p", name, range(MESSAGES // 2, MESSAGES))
    node.kill()
    shutil.rmtree(folder)
    older.rename(folder)
    again = start_node(start, nats, "a", joins=False, **options("a"))
    assert "completed from the NATS servers" in again.log()
    take_all(again, f"{name}-s", MESSAGES)


def eventually_of(nodes, condition, seconds):
    """The same, and what the nodes have logged if it does not happen."""
    try:
        eventually(condition, seconds)
    except AssertionError:
        raise AssertionError("\n".join(node.log() for node in nodes)) from None


def adopter_of(nodes, node):
    """Whichever of these has adopted the sessions of a node, when it has."""
    found = []

    def look():
        found[:] = [one for one in nodes if f"of node {node} are adopted by this one" in one.log()]
        return found

    eventually_of(nodes, look, 30)
    return found[0]


def test_sessions_of_a_lost_node_continue_on_another(start, nats, options, name):
    """Node and disk are gone: everything acknowledged is at a survivor."""
    nodes = [start_node(start, nats, one, **options(one)) for one in "abc"]
    subscribe_and_leave(nodes[0], f"{name}-s", name)
    publish(nodes[0], f"{name}-p", name, range(MESSAGES // 2))
    publish(nodes[1], f"{name}-q", name, range(MESSAGES // 2, MESSAGES))
    nodes[0].kill()
    shutil.rmtree(options("a")["data_dir"])
    survivor = adopter_of(nodes[1:], "a")
    take_all(survivor, f"{name}-s", MESSAGES)


def test_a_node_that_wakes_up_after_its_sessions_were_adopted_ends(start, nats, options, name):
    first, second = (start_node(start, nats, one, **options(one)) for one in "ab")
    subscribe_and_leave(first, f"{name}-s", name)
    publish(first, f"{name}-p", name, range(100))
    publisher = Client(first, "")  # its client id is one of this node
    publisher.connect()
    first.send_signal(signal.SIGSTOP)
    adopter_of([second], "a")
    mid = publisher.publish(f"{name}/t", b"by a node that is none any more", qos=1)
    first.send_signal(signal.SIGCONT)
    assert first.process.wait(20) == 3
    assert ("p", mid) not in publisher._acks
    publisher.close()
    assert "another node has taken over the sessions of this one" in first.log()
    take_all(second, f"{name}-s", 100)
    # It comes back empty, and is a node like any other.
    again = start_node(start, nats, "a", **options("a"))
    assert "has taken over the sessions of this one while it was away" in again.log()
    assert list(options("a")["data_dir"].glob("adopted-*/manifest"))
    subscribe_and_leave(again, f"{name}-t", name)
    publish(again, f"{name}-p", name, range(100))
    take_all(again, f"{name}-t", 100)


def test_all_nodes_killed_at_once_come_back_with_everything(start, nats, options, name):
    nodes = {one: start_node(start, nats, one, **options(one)) for one in "abc"}
    for one, node in nodes.items():
        subscribe_and_leave(node, f"{name}-{one}", name)
    publish(nodes["a"], f"{name}-p", name, range(300))
    for node in nodes.values():
        node.send_signal(signal.SIGKILL)
    for node in nodes.values():
        node.kill()
    # One of them has lost its disk as well.
    shutil.rmtree(options("b")["data_dir"])
    again = {one: start(2, wait=False, cluster=nats.urls(), node=one, **options(one)) for one in "abc"}
    for one, node in again.items():
        eventually(lambda node=node: "ready" in node.log(), 40)
        take_all(node, f"{name}-{one}", 300)


def reason_of(node, client_id):
    """Of CONNACK; None: the connection has ended without one, as when it was passed on to a node that is dead."""
    client = Client(node, client_id, clean=False, version=V5)
    client.paho.connect("127.0.0.1", node.port)
    client.paho.loop_start()
    eventually(lambda: not (client.connected.empty() and client.disconnected.empty()))
    reason = None if client.connected.empty() else client.connected.get()[1].value
    client.close()
    return reason


def test_a_stream_that_has_lost_its_end_is_refused_and_brought_back_by_its_node(start, nats, options, name):
    """The servers have lost what they had acknowledged, while the node is down: nobody takes less for all of it."""
    first = start_node(start, nats, "a", **options("a"))
    subscribe_and_leave(first, f"{name}-s", name)  # its client id stays with this node
    second = start_node(start, nats, "b", connect_timeout="2s", **options("b"))
    publish(first, f"{name}-p", name, range(100))
    time.sleep(2)  # what the node says of its stream is a second old
    first.kill()
    client = NatsClient(nats.ports[0])
    client.forget_newest(f"ringmq-{options('a')['cluster_name']}-log-a", 1)
    client.close()
    second.wait_log("have lost its end")
    assert "are adopted by this one" not in second.log()
    eventually(lambda: reason_of(second, f"{name}-s") == SERVER_UNAVAILABLE, 30)
    again = start_node(start, nats, "a", joins=False, **options("a"))
    take_all(again, f"{name}-s", 100)
