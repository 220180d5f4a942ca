"""Series of /metrics about what lies around messages: TLS, certificates, hooks, sessions, acknowledgements."""

import shutil
import signal
import ssl

import pytest

import raw as mqtt
from admin import Admin, start_admin
from authority import Authority
from broker import free_port
from client import VERSIONS, Client, properties
from raw import Raw
from secured import authority, context, exchange, pair, secure, start_tls  # noqa: F401
from test_accounts import log_in
from test_admin_api import until
from test_hooks import publish, service  # noqa: F401
from test_metrics import samples

pytestmark = pytest.mark.ringmq


def scraped(admin):
    return samples(admin.get("/metrics").text)


def ends_s(path):
    return ssl.cert_time_to_seconds(ssl._ssl._test_decode_cert(path)["notAfter"])


def test_handshakes_and_the_end_of_certificates(start_tls, tmp_path):  # noqa: F811
    own = Authority(tmp_path)
    own.sign("server")
    admin = Admin(free_port())
    broker = start_tls(by=own, options={"admin_listen": f"127.0.0.1:{admin.port}"})
    listener = ("listener", f"127.0.0.1:{broker.tls_port}")
    clients = [secure(broker, context(own), client_id=f"c{n}").connect() for n in range(2)]
    exchange(broker.tls_port, b"\x10\x00no TLS")
    until(lambda: scraped(admin)["ringmq_tls_handshakes_total", listener, ("result", "failed")], 1)
    found = scraped(admin)
    assert found["ringmq_tls_handshakes_total", listener, ("result", "completed")] == 2
    until_s = ("ringmq_tls_certificate_expiry_timestamp_seconds", listener)
    first = ends_s(own.path("server.pem"))
    assert found[until_s] == first
    assert [key for key in found if key[0] == until_s[0]] == [until_s], "the plain listener has none"
    # A file that is not in force does not count.
    own.sign("next", dates=["-enddate", "20991231235959Z"])
    shutil.copy(own.path("next.pem"), own.path("server.pem"))
    shutil.copy(own.path("next.key"), own.path("server.key"))
    assert scraped(admin)[until_s] == first
    since = len(broker.log())
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("were read again", since)
    until(lambda: scraped(admin)[until_s], ends_s(own.path("server.pem")))
    assert ends_s(own.path("server.pem")) > first
    assert scraped(admin)["ringmq_tls_handshakes_total", listener, ("result", "completed")] == 2
    for one in clients:
        one.close()


def test_hooks(start, service):  # noqa: F811
    broker, admin = start_admin(start, 2, http_hook_url=service.login, http_hook_acl_url=service.rules)
    one, code = log_in(broker, "o", "eve", "letmein", 5)
    assert code == 0 and publish(one, "other") == 0x10
    assert log_in(broker, "o", "eve", "letmein", 5)[1] == 0, "as it was answered before"
    service.is_broken = True
    assert log_in(broker, "p", "eve", "letmein", 5)[1] == 0x88
    found = scraped(admin)

    def count(hook, result):
        return found["ringmq_hook_requests_total", ("hook", hook), ("result", result)]

    assert [count("login", result) for result in ("answered", "cached", "failed")] == [1, 1, 1]
    assert [count("acl", result) for result in ("answered", "cached", "failed", "skipped")] == [1, 0, 0, 0]
    assert found["ringmq_hook_seconds_count", ("hook", "login")] == 2
    assert found["ringmq_hook_seconds_count", ("hook", "acl")] == 1
    assert 0 < found["ringmq_hook_seconds_sum", ("hook", "acl")] < 10


@pytest.mark.parametrize("shards", [1, 4])
def test_sessions_and_versions(start, shards, name):
    broker, admin = start_admin(start, shards)
    assert not [key for key in scraped(admin) if key[0].startswith("ringmq_hook")]
    expiry = properties("CONNECT", SessionExpiryInterval=100)
    clients = [Client(broker, f"{name}-{version}", VERSIONS[version]) for version in ("3.1", "3.1.1")]
    clients += [Client(broker, f"{name}-{n}", VERSIONS["5"], connect_properties=expiry, clean=False) for n in range(2)]
    for one in clients:
        one.connect()

    def connected():
        found = scraped(admin)
        return [found["ringmq_clients_connected", ("version", version)] for version in ("3.1", "3.1.1", "5.0")]

    assert connected() == [1, 1, 2]
    clients[3].close()
    until(connected, [1, 1, 1])
    again = Client(broker, f"{name}-1", VERSIONS["5"], connect_properties=expiry, clean=False).connect()
    taken = Client(broker, f"{name}-1", VERSIONS["5"], connect_properties=expiry, clean=False).connect()
    until(connected, [1, 1, 2])
    found = scraped(admin)
    assert found["ringmq_sessions_begun_total", ("session", "created")] == 4
    assert found["ringmq_sessions_begun_total", ("session", "resumed")] == 2
    for one in [*clients[:3], again, taken]:
        one.close()
    until(connected, [0, 0, 0])


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "journal"])
def test_acknowledgements(start, durable, tmp_path):
    options = {"data_dir": tmp_path / "data", "journal_segment_bytes": 4 << 20} if durable else {}
    broker, admin = start_admin(start, 1, **options)
    reader = Raw(broker, 5)
    one = Raw(broker, 5)
    reader.connect("reader")
    one.connect("one")

    def measured():
        return scraped(admin)["ringmq_publish_ack_seconds_count",]

    one.send(mqtt.publish("a", b"x", 0, version=5) + mqtt.packet(0xC0, b""))
    one.expect(0xD0)
    assert measured() == 0
    for count in range(1, 4):
        assert publish(one, "a", packet_id=count, qos=1) in (0, 0x10)
        until(measured, count)
    assert 0 < scraped(admin)["ringmq_publish_ack_seconds_sum",] < 30
    for each in (reader, one):
        each.close()
