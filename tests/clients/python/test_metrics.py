"""/metrics of the real process: read by promtool, by a real Prometheus and by the parsers of prometheus_client,
and held against what clients did."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from admin import start_admin, token
from broker import free_port
from client import DEADLINE_S, Client
from test_accounts import log_in, passwd

PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"

pytestmark = pytest.mark.ringmq


def samples(text, parse=prometheus):
    """Samples by name, summed over shards; those with other labels by name and labels."""
    sums = {}
    for family in parse(text):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "shard"}
            key = (sample.name, *sorted(labels.items()))
            sums[key] = sums.get(key, 0) + sample.value
    return sums


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_counts_what_clients_do(start, shards, name):
    broker, admin = start_admin(start, shards)
    subscriber = Client(broker, f"{name}-sub").connect()
    publisher = Client(broker, f"{name}-pub").connect()
    subscriber.subscribe(f"{name}/#", 2)
    for qos in range(3):
        publisher.publish(f"{name}/{qos}", "x" * 10, qos=qos)
    subscriber.take(3)
    found = samples(admin.get("/metrics").text)
    for qos in "012":
        assert found["ringmq_messages_received_total", ("qos", qos)] == 1
        assert found["ringmq_messages_delivered_total", ("qos", qos)] == 1
    assert found["ringmq_payload_bytes_total", ("direction", "in")] == 30
    assert found["ringmq_payload_bytes_total", ("direction", "out")] == 30
    assert found["ringmq_packets_total", ("direction", "in"), ("type", "connect")] == 2
    assert found["ringmq_packets_total", ("direction", "in"), ("type", "subscribe")] == 1
    assert found["ringmq_connects_total", ("result", "accepted")] == 2
    assert found["ringmq_connections", ("listener", f"127.0.0.1:{broker.port}")] == 2
    assert found["ringmq_sessions", ("state", "connected")] == 2
    assert found["ringmq_subscriptions", ("kind", "own")] == 1
    assert found["ringmq_connack_seconds_count",] == 2
    assert found["ringmq_delivery_seconds_count",] >= 1
    assert found["ringmq_turn_seconds_count",] > 0
    assert found["ringmq_ready",] == 1
    assert 1 << 20 < found["process_resident_memory_bytes",] < 1 << 33
    assert found["ringmq_bytes_total", ("direction", "in")] > 100
    refused = [value for key, value in found.items() if key[0] == "ringmq_messages_dropped_total"]
    assert len(refused) == 8 and sum(refused) == 0


def test_formats(start):
    _, admin = start_admin(start, metrics_compat="mosquitto")
    plain = admin.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    open_metrics = admin.get("/metrics", Accept=OPEN_METRICS + ";q=0.9, */*;q=0.1")
    assert open_metrics.headers["Content-Type"].startswith(OPEN_METRICS)
    # The same names in both, but for how counters are named in heads.
    first, second = samples(plain.text), samples(open_metrics.text, openmetrics)
    assert set(first) == set(second)
    assert first["broker_clients_connected",] == 0
    assert ("broker_retained_messages_count",) in first
    assert "client_id" not in plain.text and "topic=" not in plain.text


@pytest.mark.skipif(not PROMTOOL, reason="prometheus is not installed")
def test_promtool_finds_nothing(start):
    _, admin = start_admin(start)
    text = admin.get("/metrics").body
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False,
                          timeout=DEADLINE_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_elsewhere_a_token_for_metrics_reads_only_them(start, tmp_path):
    tokens = tmp_path / "tokens"
    reader = token(tokens, "prometheus", "--role", "metrics")
    _, admin = start_admin(start, host="0.0.0.0", admin_token_file=tokens)
    assert admin.get("/metrics").status == 401
    assert admin.get("/metrics", token=reader).status == 200


def test_refused_logins_are_counted(start, tmp_path, name):
    accounts = tmp_path / "passwords"
    passwd("-c", "-b", "--rounds", 100, accounts, "ann", "one")
    broker, admin = start_admin(start, password_file=accounts)
    log_in(broker, name, "ann", "two")
    assert samples(admin.get("/metrics").text)["ringmq_logins_refused_total", ("reason", "wrong")] == 1


@pytest.mark.skipif(not PROMETHEUS, reason="prometheus is not installed")
def test_a_real_prometheus_scrapes(start, tmp_path):
    _, admin = start_admin(start)
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: { scrape_interval: 1s }\nscrape_configs:\n  - job_name: ringmq\n"
        f"    static_configs: [{{ targets: ['127.0.0.1:{admin.port}'] }}]\n")
    log = open(tmp_path / "log", "wb")
    server = subprocess.Popen(
        [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
         f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 2 * DEADLINE_S
        result = []
        while not result:
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            try:
                url = f"http://127.0.0.1:{port}/api/v1/query?query=ringmq_sessions"
                with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                    result = json.load(answer)["data"]["result"]
            except OSError:
                time.sleep(0.1)
        shards = {(one["metric"]["shard"], one["metric"]["state"]) for one in result}
        assert shards == {(shard, state) for shard in "01" for state in ["connected", "disconnected"]}
    finally:
        server.kill()
        server.wait()
        log.close()
