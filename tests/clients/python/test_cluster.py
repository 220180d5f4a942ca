"""Nodes of a cluster: real brokers, real NATS servers, real signals."""

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker import BINARY, free_port
from client import V5, VERSIONS, Client, eventually
from cluster import Nats, start_node
from secured import authority, pair

pytestmark = pytest.mark.ringmq

# After its last put was seen a node is dead for others; and some time to notice it.
DEAD_S = 6 + 2


def own_name(name):
    """Of a cluster for one test, on the servers of all."""
    return "c" + name[-8:]


@pytest.fixture(scope="module")
def nats():
    servers = Nats()
    yield servers
    servers.close()


@pytest.fixture
def nodes(start, nats, name):
    """Three nodes; each test has a cluster of its own on the same servers."""
    return [start_node(start, nats, one, cluster_name=own_name(name)) for one in "abc"]


@pytest.fixture
def connect(name):
    """Clients that are served where they connect: they have the client ids that the node gives them, but for 3.1."""
    made = []

    def run(broker, suffix, **options):
        client_id = f"{name[-12:]}-{suffix}" if options.get("version") == VERSIONS["3.1"] else ""
        client = Client(broker, client_id, **options)
        made.append(client)
        client.connect()
        return client

    yield run
    for client in made:
        client.close()


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_publications_cross_at_each_qos_in_order(nodes, connect, name, version):
    subscribers = [connect(node, f"s{n}", version=version) for n, node in enumerate(nodes)]
    for one in subscribers:
        one.subscribe(f"{name}/#", qos=2)
    publishers = [connect(node, f"p{n}", version=version) for n, node in enumerate(nodes)]
    for qos in (0, 1, 2):
        for n, one in enumerate(publishers):
            one.publish_all([(f"{name}/{n}/{qos}", str(k), qos) for k in range(200)])
    for one in subscribers:
        got = {}
        for message in one.take(3 * 3 * 200):
            got.setdefault(message.topic, []).append(int(message.payload))
        assert len(got) == 9
        assert all(numbers == list(range(200)) for numbers in got.values())


def test_suback_is_visible_on_every_node(nodes, connect, name):
    subscriber = connect(nodes[0], "s")
    publishers = [connect(node, f"p{n}") for n, node in enumerate(nodes)]
    for n in range(30):
        subscriber.subscribe(f"{name}/{n}", qos=1)
        for publisher in publishers:
            publisher.publish(f"{name}/{n}", str(n), qos=1)
        assert subscriber.payloads(3) == [str(n).encode()] * 3


def test_large_messages_and_properties_cross(nodes, connect, name):
    subscriber, publisher = connect(nodes[2], "s", version=V5), connect(nodes[0], "p", version=V5)
    subscriber.subscribe(f"{name}/#", qos=1)
    payload = bytes(range(256)) * 4096  # 1 MiB: several frames
    publisher.publish_and_wait(name + "/large", payload[:-300], qos=1, UserProperty=("k", "v"), MessageExpiryInterval=90)
    message = subscriber.next()
    assert message.payload == payload[:-300]
    assert message.properties.UserProperty == [("k", "v")]
    assert 80 <= message.properties.MessageExpiryInterval <= 90


def test_retained_messages_are_on_all_nodes_and_on_those_that_come_later(start, nats, nodes, connect, name):
    publisher = connect(nodes[0], "p")
    for n in range(50):
        publisher.publish_and_wait(f"{name}/{n}", f"value {n}", qos=1, retain=True)
    publisher.publish_and_wait(f"{name}/7", b"", qos=1, retain=True)
    late = start_node(start, nats, "d", cluster_name=own_name(name))
    for suffix, node in zip("xyz", [nodes[1], nodes[2], late]):
        subscriber = connect(node, suffix)
        subscriber.subscribe(f"{name}/#", qos=1)
        got = {message.topic: message for message in subscriber.take(49)}
        assert f"{name}/7" not in got and all(message.retain for message in got.values())
        assert got[f"{name}/49"].payload == b"value 49"


def test_a_shared_group_is_one_over_all_nodes(nodes, connect, name):
    members = [connect(node, f"m{n}") for n, node in enumerate(nodes)]
    for member in members:
        member.subscribe(f"$share/g/{name}/#", qos=1)
    publisher = connect(nodes[0], "p")
    publisher.publish_all([(f"{name}/t", str(n), 1) for n in range(300)])
    eventually(lambda: sum(member.messages.qsize() for member in members) == 300)
    assert all(member.messages.qsize() == 100 for member in members)
    # A member whose node is killed gets nothing any more, and the others all.
    nodes[2].kill()
    for node in nodes[:2]:
        node.wait_log("node c is gone")
    publisher.publish_all([(f"{name}/t", str(n), 1) for n in range(100)])
    eventually(lambda: sum(member.messages.qsize() for member in members[:2]) == 300)


def test_a_killed_node_holds_nobody_up_for_longer_than_its_lease(nodes, connect, name):
    subscriber, other = connect(nodes[1], "s"), connect(nodes[2], "o")
    subscriber.subscribe(f"{name}/#", qos=1)
    other.subscribe(f"{name}/#", qos=1)
    publisher = connect(nodes[0], "p")
    nodes[1].kill()
    start = time.monotonic()
    publisher.publish_and_wait(f"{name}/1", b"x", qos=1)
    assert time.monotonic() - start < DEAD_S
    other.subscribe(f"{name}-2", qos=1)  # nor SUBACK
    publisher.publish_and_wait(f"{name}/2", b"y", qos=1)
    assert other.payloads(2) == [b"x", b"y"]


def test_a_stopped_node_acknowledges_nothing_that_others_could_have_missed(nodes, connect, name):
    publisher = connect(nodes[0], "p")
    publisher.publish_and_wait(f"{name}/0", b"", qos=1)
    nodes[0].send_signal(signal.SIGSTOP)
    for node in nodes[1:]:
        node.wait_log("node a is gone")
    subscriber = connect(nodes[1], "s")
    subscriber.subscribe(f"{name}/#", qos=1)  # all that may acknowledge know of it
    mid = publisher.publish(f"{name}/1", b"by a node that was taken for dead", qos=1)
    nodes[0].send_signal(signal.SIGCONT)
    # Most often its client id is another node's by now, so it has to connect again.
    eventually(lambda: ("p", mid) in publisher._acks or not publisher.disconnected.empty())
    if ("p", mid) in publisher._acks:
        assert subscriber.next().payload == b"by a node that was taken for dead"
    publisher = connect(nodes[0], "again")
    publisher.publish_and_wait(f"{name}/2", b"by a node that has come back", qos=1)
    assert subscriber.next().payload == b"by a node that has come back"


def test_without_nats_qos_0_goes_on_and_the_rest_waits(start, name):
    nats = Nats()
    try:
        nodes = [start_node(start, nats, one) for one in "ab"]
        with_client(nats, nodes, name)
    finally:
        nats.close()


def with_client(nats, nodes, name):
    subscriber, publisher, remote = (Client(nodes[n], "") for n in (0, 0, 1))
    for one in (subscriber, publisher, remote):
        one.connect()
    subscriber.subscribe(f"{name}/#", qos=1)
    remote.subscribe(f"{name}/#", qos=1)
    nats.signal(signal.SIGSTOP)
    nodes[0].wait_log("has no lease")
    publisher.publish(f"{name}/0", b"0", qos=0)
    assert subscriber.next().payload == b"0"
    mid = publisher.publish(f"{name}/1", b"1", qos=1)
    time.sleep(1)
    assert subscriber.messages.empty() and ("p", mid) not in publisher._acks
    nats.signal(signal.SIGCONT)
    publisher._wait_ack(("p", mid))
    assert subscriber.next().payload == b"1"
    assert b"1" in remote.payloads(2)
    for one in (subscriber, publisher, remote):
        one.close()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_killed_nats_server_loses_nothing(start, name, how):
    """Nor is a node taken for dead that lives: one that was connected to that server, or whose watch of keys was there."""
    nats = Nats()
    nodes = [start_node(start, nats, one) for one in "abc"]
    try:
        without_one_server_at_a_time(nats, nodes, name, how == "killed")
        for node in nodes:
            assert "is gone" not in node.log()
    except AssertionError as error:
        raise AssertionError("\n\n".join(node.log() for node in nodes)) from error
    finally:
        nats.close()


def without_one_server_at_a_time(nats, nodes, name, is_killed):
    subscribers = [Client(node, "") for node in nodes]
    publisher = Client(nodes[0], "")
    for one in [*subscribers, publisher]:
        one.connect()
    for one in subscribers:
        one.subscribe(f"{name}/#", qos=2)
    sent = 0
    for n, server in enumerate(nats.processes):
        server.send_signal(signal.SIGKILL if is_killed else signal.SIGSTOP)
        publisher.publish_all([(f"{name}/t", str(sent + k), 1 + k % 2) for k in range(200)])
        sent += 200
        time.sleep(DEAD_S)  # for as long as it takes others to find a node dead
        if is_killed:
            server.wait()
            nats.start(n)
        else:
            server.send_signal(signal.SIGCONT)
        nats.wait_healthy(n)
    for one in subscribers:
        by_qos = {1: [], 2: []}
        for message in one.take(sent):
            by_qos[message.qos].append(int(message.payload))
        assert by_qos[1] == list(range(0, sent, 2)) and by_qos[2] == list(range(1, sent, 2))
    for one in [*subscribers, publisher]:
        one.close()


def test_durable_sessions_of_another_node_keep_what_was_acknowledged(start, nats, name, tmp_path):
    """The acknowledgement waits for the disk of the other node: killed right after it, that node has the message."""
    options = {"cluster_name": own_name(name), "data_dir": tmp_path / "b", "journal_segment_bytes": "1MiB"}
    other = start_node(start, nats, "b", **options)
    subscriber = Client(other, f"{name}-s", clean=False)
    subscriber.connect()
    subscriber.subscribe(f"{name}/#", qos=1)
    subscriber.disconnect()
    first = start_node(start, nats, "a", cluster_name=own_name(name))
    publisher = Client(first, f"{name}-p")
    publisher.connect()
    publisher.publish_all([(f"{name}/t", str(n), 1 + n % 2) for n in range(100)])
    other.kill()
    again = start_node(start, nats, "b", joins=False, **options)
    subscriber = Client(again, f"{name}-s", clean=False)
    subscriber.connect()
    got = sorted(int(payload) for payload in subscriber.payloads(100))
    assert got == list(range(100))
    for one in (subscriber, publisher):
        one.close()


def refused(*arguments):
    """The sentence with which the broker does not start."""
    command = [BINARY, "--listen", f"127.0.0.1:{free_port()}", "--shards", "1", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert ended.returncode != 0
    return ended.stderr


def test_servers_that_a_cluster_cannot_rely_on_are_refused(start):
    single = Nats(count=1)
    try:
        url = single.urls()[0]
        text = refused("--cluster", url, "--node", "a")
        assert "cannot keep a key on 3 of them" in text and "cluster-unsafe" in text
        node = start_node(start, single, "a", cluster_unsafe="true")
        assert "cluster-unsafe: the NATS servers cannot keep a key" in node.log()
    finally:
        single.close()
    assert "can be connected to" in refused("--cluster", f"nats://127.0.0.1:{free_port()}", "--node", "a")
    assert "a name of its own" in refused("--cluster", "nats://127.0.0.1:1")


def test_servers_and_nodes_that_begin_at_once_find_each_other(start, connect, name):
    servers = Nats(is_awaited=False)
    try:
        with ThreadPoolExecutor() as pool:
            begin = [pool.submit(start_node, start, servers, one, cluster_name=own_name(name)) for one in "abc"]
            nodes = [each.result() for each in begin]
        subscribers = [connect(node, f"s{n}") for n, node in enumerate(nodes)]
        for one in subscribers:
            one.subscribe(name, qos=1)
        connect(nodes[0], "p").publish_and_wait(name, "here", qos=1)
        assert [one.payloads(1) for one in subscribers] == [[b"here"]] * 3
    finally:
        servers.close()


# An account that may use JetStream and see the settings of servers, and one that may not see them.
ACCOUNTS = """
system_account: SYS
accounts {
  SYS { users: [{ user: sys, password: sys }]
        exports: [{ service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream, accounts: [SEES] }] }
  SEES { jetstream: enabled, users: [{ user: sees, password: "p" }]
         imports: [{ service: { account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" } }] }
  BLIND { jetstream: enabled, users: [{ user: blind, password: "p:@" }] }
}
"""


def test_each_server_must_acknowledge_what_is_on_its_disk(start):
    """One of three does not: an account that sees it refuses, another one says that it cannot see it."""
    servers = Nats(extra=ACCOUNTS, sync=("always", "2m", "always"))
    try:
        def as_user(user):
            return [url.replace("//", f"//{user}@") for url in servers.urls()]

        text = refused(*(f"--cluster={url}" for url in as_user("sees:p")), "--node", "a")
        assert "of 3 NATS servers 1 (n1) do not have sync_interval: always" in text
        text = refused(*(f"--cluster={url}" for url in as_user("sees:wrong")), "--node", "a")
        assert "can be connected to" in text and "wrong" not in text
        node = start(1, cluster=as_user("blind:p%3A%40"), node="a")
        node.wait_log("node a is one of")
        assert "cannot be seen by this account" in node.log()
    finally:
        servers.close()


def test_nodes_reach_nats_through_mutual_tls(start, connect, authority, name):
    (chain, key), (own, own_key) = pair(authority, "server"), pair(authority, "device")
    secured = f'tls {{ cert_file: "{chain}", key_file: "{key}", ca_file: "{authority.ca}", verify: true }}'
    servers = Nats(extra=secured, scheme="tls")
    try:
        tls = {"cluster_ca": authority.ca, "cluster_certificate": own, "cluster_key": own_key}
        nodes = [start_node(start, servers, one, **tls) for one in "ab"]
        subscriber, publisher = connect(nodes[0], "s"), connect(nodes[1], "p")
        subscriber.subscribe(f"{name}/#", qos=1)
        publisher.publish_and_wait(f"{name}/t", b"x", qos=1)
        assert subscriber.next().payload == b"x"
        url = servers.urls()[0]
        text = refused("--cluster", url, "--node", "c", "--cluster-ca", authority.ca)
        assert "can be connected to" in text  # without a certificate
        text = refused("--cluster", url, "--node", "c", "--cluster-certificate", own, "--cluster-key", own_key)
        assert "can be connected to" in text  # by an authority that it does not trust
    finally:
        servers.close()


def test_a_name_belongs_to_one_process(start, nats, name):
    options = {"cluster_name": own_name(name)}
    first = start_node(start, nats, "a", **options)
    second = start_node(start, nats, "a", joins=False, **options)
    second.wait_log("another process was node a")
    time.sleep(1)
    assert "is one of" not in second.log()
    status, _ = first.stop()
    assert status == 0
    second.wait_log("node a is one of")
