"""Client ids in a cluster: one owner each, reached from every node. Real brokers, real NATS servers."""

import signal
import socket
import struct
import time
import uuid

import pytest

from broker import free_port
from client import V5, V311, Client, eventually
from cluster import Nats, start_node
from secured import authority, context, pair, table

pytestmark = pytest.mark.ringmq

UNSPECIFIED, TAKEN_OVER, USE_ANOTHER_SERVER = 0x80, 0x8E, 0x9C
# A node is dead for others 6 s after its last sign of life.
SERVED_AGAIN_S = 60  # some 7 s where nothing else runs


@pytest.fixture(scope="module")
def nats():
    servers = Nats()
    yield servers
    servers.close()


@pytest.fixture
def options(name):
    return {"cluster_name": "l" + name[-8:]}


@pytest.fixture
def nodes(start, nats, options):
    return [start_node(start, nats, one, **options) for one in "abc"]


@pytest.fixture
def connect():
    made = []

    def run(broker, client_id, **options):
        client = Client(broker, client_id, **options)
        made.append(client)
        return client.connect()

    yield run
    for client in made:
        client.close()


def name_of(nodes, at, connect):
    """A client id that this node owns: one that it gives to a client which has none."""
    client = connect(nodes[at], "", version=V5)
    client_id = client.connack.AssignedClientIdentifier
    return client_id, client


@pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5"])
def test_two_connections_with_one_client_id_end_each_other_on_any_two_nodes(nodes, connect, name, version):
    before = connect(nodes[0], name, version=version)
    for n in (1, 2, 0, 2, 1):
        later = connect(nodes[n], name, version=version)
        reason = before.wait_disconnected()
        assert version == V311 or reason == TAKEN_OVER
        before = later
    before.subscribe(f"{name}/t", qos=1)
    connect(nodes[0], f"{name}-p").publish_and_wait(f"{name}/t", b"to the last one", qos=1)
    assert before.next().payload == b"to the last one"


def test_a_session_is_reached_from_every_node(nodes, connect, name):
    subscriber = connect(nodes[0], name, clean=False)
    assert not subscriber.session_present
    subscriber.subscribe(f"{name}/#", qos=1)
    publisher = connect(nodes[1], f"{name}-p")
    for n in (1, 2, 0):
        subscriber.disconnect()
        publisher.publish_and_wait(f"{name}/{n}", str(n), qos=1)
        subscriber = connect(nodes[n], name, clean=False)
        assert subscriber.session_present
        assert subscriber.payloads(1) == [str(n).encode()]


def test_much_is_passed_on_in_both_directions(nodes, connect, name):
    owner, holder = name_of(nodes, 0, connect)
    holder.disconnect()
    client = connect(nodes[1], owner, version=V5)
    client.subscribe(f"{name}/#", qos=1)
    publisher = connect(nodes[2], f"{name}-p")
    for n in range(20):
        payloads = [bytes([n, k]) * 150_000 for k in range(3)]
        client.publish_all([(f"{name}/t", payload, 1) for payload in payloads])
        assert client.payloads(3) == payloads
        # It does not read for a while: what waits for it waits at its owner.
        client.paho.loop_stop()
        publisher.publish_all([(f"{name}/t", payload, 1) for payload in payloads])
        client.paho.loop_start()
        assert client.payloads(3) == payloads


def test_clients_of_a_killed_node_are_served_elsewhere(nodes, connect, name):
    owned = [name_of(nodes, 0, connect)[0] for _ in range(5)]
    nodes[0].kill()
    end = time.monotonic() + SERVED_AGAIN_S
    for n, client_id in enumerate(owned):
        # Until its owner is surely dead it is passed on to nobody who answers, and the connection ends.
        client = None
        while client is None:
            assert time.monotonic() < end, f"{client_id} is not served"
            client = connected(nodes[1 + n % 2], client_id)
        client.subscribe(f"{name}/{n}", qos=1)
        client.publish_and_wait(f"{name}/{n}", b"x", qos=1)
        assert client.next().payload == b"x"
        client.close()
    assert time.monotonic() < end


def connected(node, client_id):
    """A client that was accepted, or None."""
    client = Client(node, client_id)
    client.paho.connect("127.0.0.1", node.port)
    client.paho.loop_start()
    eventually(lambda: not (client.connected.empty() and client.disconnected.empty()))
    if not client.connected.empty() and client.connected.get()[1] == 0:
        return client
    client.close()
    return None


def test_clients_of_a_node_that_was_taken_for_dead_connect_again(nodes, connect, name):
    client_id, client = name_of(nodes, 0, connect)
    client.subscribe(f"{name}/#", qos=1)
    nodes[0].send_signal(signal.SIGSTOP)
    nodes[1].wait_log("node a is gone")
    other = connect(nodes[1], client_id, version=V5)
    other.subscribe(f"{name}/#", qos=1)
    nodes[0].send_signal(signal.SIGCONT)
    # Which of the two it learns first: that its client id is another node's, or that it may have missed something.
    assert client.wait_disconnected() in (USE_ANOTHER_SERVER, UNSPECIFIED)
    other.publish_and_wait(f"{name}/t", b"x", qos=1)
    assert other.next().payload == b"x"


def test_clients_of_5_are_sent_to_the_node_that_owns_them(start, nats, connect, options):
    options = {**options, "cluster_redirect": "true"}
    nodes = []
    for one in "ab":
        port = free_port()
        nodes.append(start_node(start, nats, one, cluster_client_address=f"{one}.example:{port}", **options))
        nodes[-1].advertised = f"{one}.example:{port}"
    client_id, _ = name_of(nodes, 0, connect)
    sent_away = Client(nodes[1], client_id, version=V5)
    eventually(lambda: reason_of(sent_away) == USE_ANOTHER_SERVER)
    assert sent_away.connack.ServerReference == nodes[0].advertised
    # 3.1.1 has no word for it.
    assert connect(nodes[1], client_id, version=V311).reason == 0


def reason_of(client):
    client.connect()
    client.close()
    return client.reason.value


def test_whoever_is_no_node_is_passed_on_by_nobody(start, nats, connect, options):
    port = free_port()
    node = start_node(start, nats, "a", cluster_listen=f"127.0.0.1:{port}", **options)
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", proxy_header(b""), proxy_header(b"\xe1\x00\x05admin")):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            assert len(stranger.recv(32, socket.MSG_WAITALL)) == 32
            stranger.settimeout(8)
            try:
                stranger.sendall(said + b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03abc")
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(1) == b""
            except (ConnectionError, OSError) as error:
                assert not isinstance(error, TimeoutError)
    assert node.is_running()


def proxy_header(fields):
    """For a client of 10.0.0.1, by somebody who does not know the secret of the nodes."""
    rest = bytes([10, 0, 0, 1, 0, 0, 0, 0]) + struct.pack("!HH", 1000, 0) + b"\xe0\x00\x02\x00\x00" + fields
    rest += b"\xe2\x00\x01b" + b"\xe3\x00\x20" + uuid.uuid4().bytes * 2
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(rest)) + rest


@pytest.mark.parametrize("transport", ["tls", "wss"])
def test_layers_stay_and_what_they_have_found_out_goes_along(start, nats, connect, options, name, authority, transport):
    """The accepting node has the TLS of a client; its owner knows the user whose certificate that was."""
    acl = authority.path("acl")
    with open(acl, "w", encoding="utf-8") as rules:
        rules.write("user device\ntopic readwrite own/#\n")
    nodes = []
    for one in "ab":
        port = free_port()
        config = authority.path(f"{name}-{one}.toml")
        chain, key = pair(authority, "server")
        with open(config, "w", encoding="utf-8") as file:
            file.write(table(f"127.0.0.1:{port}", transport=transport, tls_certificate=[chain], tls_key=[key],
                             tls_client_certificate="required", tls_client_ca=authority.ca,
                             tls_identity="cn"))
        nodes.append(start_node(start, nats, one, config=config, acl_file=acl, **options))
        nodes[-1].tls_port = port
    secured = context(authority, pair(authority, "device"))
    for n in range(6):
        client = Client(nodes[n % 2], f"{name}-{n}", version=V5)
        if transport == "wss":
            client.paho._transport = "websockets"
        client.broker = type("To", (), {"port": nodes[n % 2].tls_port})
        client.paho.tls_set_context(secured)
        client.connect()
        assert client.subscribe(f"own/{n}", qos=1) == [1]
        assert client.subscribe(f"others/{n}", qos=1) == [0x87]
        payload = bytes([n]) * 100_000
        client.publish_and_wait(f"own/{n}", payload, qos=1)
        assert client.next().payload == payload
        client.close()
