"""An upgrade with clients of TLS and WebSocket: nobody is cut at once, and all come back within `upgrade-drain`."""

import re
import socket
import ssl

import pytest

from broker import free_port
from client import eventually
from secured import authority, table  # noqa: F401
from upgraded import Configured, Flow, is_alive, joined, serves, upgraded  # noqa: F401

pytestmark = pytest.mark.ringmq

LAYERS = {"tls": ["--tls"], "ws": ["--ws"], "wss": ["--tls", "--ws"]}


class Layered(Configured):
    """A broker with a plain listener and one with layers."""

    def __init__(self, folder, authority, transport):
        super().__init__(folder)
        self.authority, self.transport, self.layered_port = authority, transport, free_port()

    def write(self, shards, *more):
        super().write(shards, *more)
        tls = {}
        if self.transport != "ws":
            tls = {"tls_certificate": [self.authority.path("server.pem")], "tls_key": [self.authority.path("server.key")]}
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(table(f"127.0.0.1:{self.layered_port}", transport=self.transport, **tls))

    def flow(self, broker, folder, qos, seconds, *more):
        secure = ["--insecure"] if self.transport != "ws" else []
        return Flow(broker, folder, qos, seconds, *LAYERS[self.transport], *secure, *more, port=self.layered_port)


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("transport", LAYERS)
def test_flows_with_layers_go_on_through_several_upgrades(upgraded, authority, tmp_path, transport, shards):
    layered = Layered(tmp_path, authority, transport)
    layered.write(shards, 'upgrade-drain = "off"')
    broker = layered.start(upgraded)
    flow = layered.flow(broker, tmp_path, 2, 5)
    flow.wait_until_it_runs()
    first = broker.pid
    for count in range(3):
        assert serves(broker.upgrade(keeps_layers=count == 0)) == (20, 0)
    assert flow.is_running(), "the upgrades were to be within the flow"
    flow.proves_it()
    is_relayed = "stays until its 20" in broker.log()
    assert is_relayed == (transport != "ws"), broker.log()
    eventually(lambda: not is_alive(first) or broker.process.poll() is not None)


def test_they_are_sent_away_evenly(upgraded, joined, authority, tmp_path):
    """mqload's clients come back; what waits for them in the meantime waits in their sessions."""
    layered = Layered(tmp_path, authority, "tls")
    layered.write(2, 'upgrade-drain = "2s"')
    broker = layered.start(upgraded)
    flow = layered.flow(broker, tmp_path, 1, 6, "--protocol", "5", "--clean-start", "false", "--session-expiry-s", "600",
                        "--reconnect")
    flow.wait_until_it_runs()
    first = broker.pid
    plain = joined(broker, "plain")
    assert serves(broker.upgrade(keeps_layers=True)) == (21, 0)
    assert "20 connections with TLS go through the old process" in broker.log()
    eventually(lambda: broker.process.poll() is not None)
    assert not is_alive(first)
    told = flow.process.communicate(timeout=60)[0]
    lost = re.search(r"expected (\d+), received (\d+), lost 0", told)
    assert lost and lost.group(1) != "0", told
    assert re.search(r"lost connections 20\b", told), told
    assert plain.disconnected.empty()

def resumes(layered, context, session):
    """Connects with TLS, and has an MQTT connection on it; whether the session was resumed, and the next one."""
    with socket.create_connection(("127.0.0.1", layered.layered_port), 30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as stream:
            stream.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01t")
            assert stream.recv(4) == b"\x20\x02\x00\x00"  # and tickets are read before it
            reused = stream.session_reused
            stream.sendall(b"\xe0\x00")
            return reused, stream.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_tickets_of_the_old_process_are_taken_by_the_new_one(upgraded, authority, tmp_path, version):
    """Unless it lets other clients in: here its certificate is another one."""
    layered = Layered(tmp_path, authority, "tls")
    layered.write(2)
    broker = layered.start(upgraded)
    context = ssl.create_default_context(cafile=authority.path("ca.pem"))
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    reused, first = resumes(layered, context, None)
    assert not reused
    session = first
    for _ in range(2):
        broker.upgrade()
        reused, session = resumes(layered, context, session)
        assert reused, "the new process does not take a ticket of the old one"
    authority.sign("other")
    text = layered.path.read_text(encoding="utf-8").replace("server.pem", "other.pem").replace("server.key", "other.key")
    layered.path.write_text(text, encoding="utf-8")
    broker.upgrade()
    reused, _ = resumes(layered, context, session)
    assert not reused
    assert "has changed: its tickets end" in broker.log()
