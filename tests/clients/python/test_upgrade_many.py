"""Many upgrades in a row under verified flows: of every QoS, over TCP, WebSocket and TLS at once."""

import json
import re
import subprocess

import pytest

from broker import BINARY, free_port
from client import eventually
from secured import authority, table  # noqa: F401
from upgraded import Configured, Flow, established, joined, serves, upgraded  # noqa: F401

pytestmark = pytest.mark.ringmq

UPGRADES = 6
CLIENTS = 6
PAUSES = re.compile(r"upgrade: (\d+) clients were not read for ([\d.]+) ms \(median\), ([\d.]+) ms \(p99\), ([\d.]+) ms \(at most\)")


class Everywhere(Configured):
    """A plain listener, one of WebSocket and one of TLS."""

    def __init__(self, folder, authority):
        super().__init__(folder)
        self.ports = {"mqtt": self.port, "ws": free_port(), "mqtts": free_port()}
        self.pair = dict(tls_certificate=[authority.path("server.pem")], tls_key=[authority.path("server.key")])

    def write(self, shards, *more):
        super().write(shards, *more)
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(table(f"127.0.0.1:{self.ports['ws']}", transport="ws"))
            out.write(table(f"127.0.0.1:{self.ports['mqtts']}", transport="tls", **self.pair))

    def flow(self, broker, folder, qos, seconds):
        """Publishers and subscribers take the transports in turn."""
        targets = [word for scheme, port in self.ports.items() for word in ("--target", f"{scheme}://127.0.0.1:{port}")]
        return Flow(broker, folder, qos, seconds, "--insecure", "--protocol", "3.1.1,5", clients=CLIENTS, rate=300, targets=targets)


@pytest.mark.parametrize("has_journal", [False, True], ids=["memory", "journal"])
def test_upgrades_in_a_row_lose_double_and_reorder_nothing(upgraded, authority, tmp_path, has_journal):
    journal = [f'data-dir = "{tmp_path / "data"}"', 'journal-segment-bytes = "4MiB"'] if has_journal else []
    everywhere = Everywhere(tmp_path, authority)
    everywhere.write(2, 'upgrade-drain = "off"', *journal)
    broker = everywhere.start(upgraded)
    flows = [everywhere.flow(broker, tmp_path, qos, 15) for qos in (0, 1, 2)]
    clients = len(flows) * 2 * CLIENTS
    eventually(lambda: sum(established(port) for port in everywhere.ports.values()) >= clients)
    for count in range(UPGRADES):
        said = broker.upgrade(keeps_layers=count == 0)
        assert serves(said) == (clients, 0), said
    assert all(flow.is_running() for flow in flows), "the upgrades were to be within the flows"
    for flow in flows:
        flow.proves_it()
    eventually(lambda: len(PAUSES.findall(broker.log())) == UPGRADES)
    for of, median, p99, longest in PAUSES.findall(broker.log()):
        assert int(of) == clients and 0 < float(median) <= float(p99) <= float(longest), broker.log()


def test_an_operator_is_told_how_long_clients_have_waited(upgraded, joined, tmp_path):
    admin = f"unix:{tmp_path / 'admin.sock'}"
    broker = upgraded(2, admin_listen=admin)
    quiet, busy = joined(broker, "quiet"), joined(broker, "busy")
    busy.subscribe("t", qos=1)
    told = subprocess.run([BINARY, "ctl", "--admin", admin, "--json", "upgrade"], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told
    answer = json.loads(told.stdout)
    broker.now, pauses = answer["process"], answer["pauses"]
    assert answer["problem"] is None and pauses["clients"] == 2
    # The log of the new process has the whole of it, from the moment at which the old one began to come to rest.
    whole_ms = int(re.search(r"they have waited (\d+) ms", broker.log()).group(1))
    assert 0 < pauses["median_us"] <= pauses["p99_us"] == pauses["longest_us"]
    assert (whole_ms - 50) * 1000 <= pauses["longest_us"] <= (whole_ms + 2_000) * 1000, (pauses, whole_ms)
    busy.publish_and_wait("t", b"", qos=1)
    busy.next()
    assert quiet.disconnected.empty() and busy.disconnected.empty()
