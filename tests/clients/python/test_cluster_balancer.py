"""HAProxy before the nodes of a cluster, with the configuration that is shipped as an example."""

import os
import shutil
import socket
import subprocess

import pytest

from broker import ROOT, free_port
from client import V5, V311, Client, eventually
from cluster import Nats, start_node
from secured import table

pytestmark = pytest.mark.ringmq

EXAMPLE = os.path.join(ROOT, "deploy", "haproxy", "haproxy.cfg")
HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"


class Balancer:
    """HAProxy, where the example has addresses of this test."""

    def __init__(self, folder, ports):
        self.port = free_port()
        self.stats = str(folder / "stats")
        with open(EXAMPLE, encoding="utf-8") as example:
            text = example.read()
        text = text.replace("bind :1883", f"bind 127.0.0.1:{self.port}")
        for n, port in enumerate(ports, 1):
            text = text.replace(f"10.0.0.{n}:1883", f"127.0.0.1:{port}")
        assert "10.0.0." not in text
        text = text.replace("maxconn 100000", "maxconn 500")  # what a test's limit of files allows
        text = text.replace("global\n", f"global\n    stats socket {self.stats}\n", 1)
        config = folder / "haproxy.cfg"
        config.write_text(text)
        self.process = subprocess.Popen([HAPROXY, "-db", "-f", config], stdin=subprocess.DEVNULL)
        eventually(lambda: os.path.exists(self.stats))

    def sessions(self):
        """Connections given to each node so far, by backend and node."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(self.stats)
            stats.sendall(b"show stat\n")
            lines = stats.makefile(encoding="ascii").read().splitlines()
        names = lines[0].lstrip("# ").split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines[1:] if line]
        of_nodes = [row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")]
        return {(row["pxname"], row["svname"]): (int(row["stot"]), row["status"]) for row in of_nodes}

    def given(self, backend="by_client_id"):
        return {name: count for (of, name), (count, _) in self.sessions().items() if of == backend}

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def balanced(start, tmp_path):
    """Three nodes whose listeners take the PROXY protocol, and a balancer before them."""
    nats = Nats()
    nodes, ports = [], []
    balancer = None
    try:
        for one in "abc":
            ports.append(free_port())
            config = tmp_path / f"{one}.toml"
            config.write_text(table(f"127.0.0.1:{ports[-1]}", proxy_protocol=True, trusted_proxies=["127.0.0.1"]))
            nodes.append(start_node(start, nats, one, config=config))
        balancer = Balancer(tmp_path, ports)
        yield balancer, nodes
    finally:
        if balancer:
            balancer.close()
        nats.close()


def connect(balancer, client_id, **options):
    client = Client(balancer, client_id, **options)
    client.connect()
    assert client.reason == 0
    return client


def test_a_client_id_goes_to_the_same_node_each_time_and_to_another_one_when_that_is_dead(balanced, name):
    balancer, nodes = balanced
    client_ids = [f"{name}-{n}" for n in range(24)]
    chosen = {}
    for round_ in range(3):
        for n, client_id in enumerate(client_ids):
            before = balancer.given()
            connect(balancer, client_id, version=(V311, V5)[(n + round_) % 2]).close()
            after = balancer.given()
            (node,) = (one for one in after if after[one] > before[one])
            assert chosen.setdefault(client_id, node) == node
    assert set(chosen.values()) == {"a", "b", "c"}
    # Clients that have none are spread, and all of them are of one cluster.
    clients = [connect(balancer, "", version=V5) for _ in range(6)]
    assert sorted(balancer.given("by_load").values()) == [2, 2, 2]
    for one in clients:
        one.subscribe(f"{name}/#", qos=1)
    clients[0].publish_and_wait(f"{name}/t", b"x", qos=1)
    assert all(one.next().payload == b"x" for one in clients)
    for one in clients:
        one.close()
    nodes[0].kill()
    nodes[1].wait_log("node a is gone")
    eventually(lambda: balancer.sessions()["by_client_id", "a"][1].startswith("DOWN"), 20)
    for client_id in client_ids:
        client = connect(balancer, client_id)
        client.publish_and_wait(f"{name}/t", b"y", qos=1)
        client.close()


def test_what_is_no_mqtt_reaches_no_node(balanced):
    balancer, _ = balanced
    with socket.create_connection(("127.0.0.1", balancer.port), 10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(1) == b""
    assert not any(balancer.given("by_client_id").values()) and not any(balancer.given("by_load").values())
