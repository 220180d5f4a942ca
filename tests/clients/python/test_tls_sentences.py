"""What TLS tells the peer and the operator when it ends: alerts that arrive, and sentences with a remedy."""

import datetime
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import pytest

import raw as mqtt
from broker import free_port
from client import DEADLINE_S
from secured import authority, client_hello, context, pair, s_client, secure, start_tls, table  # noqa: F401
from authority import Authority, openssl
from test_tls_bad_input import Wire

pytestmark = [
    pytest.mark.ringmq,
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]

RAW = ["Other(", "OtherError", "UnsupportedCertVersion", "InCommon", "General(", "SupportedVersions"]


def no_raw_names(broker):
    for name in RAW:
        assert name not in broker.log(), broker.log()


def s_client_to(port, *arguments):
    return s_client(type("At", (), {"tls_port": port}), *arguments)


def version_one(made, name):
    """A certificate without extensions: openssl before 3.2 makes it X.509 version 1."""
    key, csr, crt = (made.path(f"{name}.{end}") for end in ("key", "csr", "pem"))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", csr, "-subj", f"/CN={name}")
    more = [] if "-x509v1" not in subprocess.run(
        ["openssl", "x509", "-help"], capture_output=True, text=True, check=False).stderr else ["-x509v1"]
    openssl("x509", "-req", "-in", csr, "-CA", made.ca, "-CAkey", made.path("ca.key"), "-CAcreateserial",
            "-out", crt, "-days", "30", *more)
    return "Version: 1 " in openssl("x509", "-in", crt, "-noout", "-text")


def test_an_address_as_server_name_leaves_no_line(start_tls, authority):
    """RFC 6066 3 forbids it, most programs do it: harmless, and without bound a way to fill a disk."""
    broker = start_tls(shards=1)
    since = len(broker.log())
    for _ in range(30):
        assert "Verify return code: 0 (ok)" in s_client(
            broker, "-CAfile", authority.ca, "-servername", "127.0.0.1")
    broker.send_signal(signal.SIGUSR1)
    broker.wait_log("counters since the start", since)
    assert "SNI" not in broker.log() and "hostname" not in broker.log()


@pytest.mark.parametrize("arguments, sentence", [
    (["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"], "no cipher suite in common"),
    (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "no cipher suite in common"),
    (["-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "RSA+SHA1"], "in common"),
    (["-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA1"], "no signature algorithm in common"),
    (["-tls1_3", "-groups", "P-521"], "no group for the key exchange in common"),
])
def test_nothing_in_common_is_handshake_failure(start_tls, authority, arguments, sentence):
    """RFC 5246 7.4.1.3, RFC 8446 4.1.1: alert 40."""
    broker = start_tls(shards=1)
    output = s_client(broker, *arguments)
    assert "SSL alert number 40" in output, output
    broker.wait_log(sentence)
    no_raw_names(broker)


def test_versions_that_are_too_old_get_their_alert(start_tls):
    broker = start_tls(shards=1, tls_version_min="1.3")
    assert "SSL alert number 70" in s_client(broker, "-tls1_2")
    broker.wait_log("no TLS version in common")
    no_raw_names(broker)


def test_protocols_that_are_taken(start_tls, authority):
    """RFC 7301 3.2; devices made for a cloud ask for its name."""
    cloud = "x-amzn-mqtt-ca"
    usual = start_tls(shards=1)
    assert "SSL alert number 120" in s_client(usual, "-alpn", f"{cloud},h2")
    usual.wait_log(f'asks by ALPN for "{cloud}", "h2", which this listener has not: add it to tls-alpn')
    named = start_tls(shards=1, tls_alpn=["mqtt", cloud])
    assert f"ALPN protocol: {cloud}" in s_client(named, "-alpn", cloud)
    assert "ALPN protocol: mqtt" in s_client(named, "-alpn", "mqtt")
    assert "SSL alert number 120" in s_client(named, "-alpn", "h2")
    careless = start_tls(shards=1, tls_alpn="ignore")
    output = s_client(careless, "-alpn", "h2", "-CAfile", authority.ca)
    assert "No ALPN negotiated" in output and "Verify return code: 0 (ok)" in output


# RFC 8446 5.1, RFC 5246 6.2.1: without limit a record carries at most so much.
RECORD_MAX = 1 << 14


@pytest.mark.parametrize("limit, shown", [({}, RECORD_MAX), ({"tls_record_max": 512}, 512)])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_for_small_buffers(start_tls, authority, version, limit, shown):
    broker = start_tls(shards=1, **limit)
    wire = Wire(broker.tls_port, context(authority, None, version)).connected("small")
    wire.socket.sendall(wire.sealed(mqtt.subscribe(1, [("t", 0)]) + mqtt.publish("t", bytes(100_000))))
    received = b""
    while len(received) < 100_000:
        more = wire.socket.recv(65_536)
        assert more
        received += more
    # Type, version, length; then at most a nonce, a type and a tag beside what is carried.
    lengths = []
    while len(received) >= 5:
        size = int.from_bytes(received[3:5], "big")
        lengths.append(size)
        received = received[5 + size:]
    assert shown // 2 < max(lengths) <= shown + 8 + 1 + 16


def test_a_server_certificate_of_version_one(start_tls, authority):
    """RFC 5280 4.1.2.1; to be served it need not be parsed."""
    if not version_one(authority, "one"):
        pytest.skip("this openssl makes no version 1")
    broker = start_tls(shards=1, server=("one",))
    for version in ["-tls1_2", "-tls1_3"]:
        output = s_client(broker, version, "-CAfile", authority.ca)
        assert "subject=CN = one" in output and "Verify return code: 0 (ok)" in output


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_of_version_one_is_named(start_tls, authority, version):
    if not version_one(authority, "old-device"):
        pytest.skip("this openssl makes no version 1")
    broker = start_tls(shards=1, tls_client_certificate="required", tls_client_ca=authority.ca)
    which = "-tls1_2" if version == ssl.TLSVersion.TLSv1_2 else "-tls1_3"
    s_client(broker, which, "-cert", authority.path("old-device.pem"), "-key", authority.path("old-device.key"))
    broker.wait_log("is X.509 version 1, which cannot be verified here: have it made anew with an extension")
    no_raw_names(broker)


def dates(start, end):
    """In days from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    shown = [(now + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ") for days in (start, end)]
    return ["-startdate", shown[0], "-enddate", shown[1]]


def test_dates_are_spoken_of_at_start_and_at_reload(start_tls, tmp_path):
    own = Authority(tmp_path / "own")
    own.expired("server")
    broker = start_tls(shards=1, by=own)
    broker.wait_line("WARN", "server.pem", "has expired on 2021-01-01", "send SIGHUP")
    since = len(broker.log())
    own.sign("server", dates=dates(-90, 3))
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("were read again", since)
    assert "has expired" not in broker.log()[since:] and "expires on" in broker.log()[since:]
    since = len(broker.log())
    own.sign("server", dates=dates(-1, 3))  # short, and at its beginning
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("were read again", since)
    assert "server.pem: the certificate" not in broker.log()[since:]


def alerts(wire):
    """The alert of a failed handshake, read by openssl from what came before the end of the stream."""
    while True:
        more = wire.socket.recv(65_536)
        if not more:
            return None
        wire.incoming.write(more)
        try:
            wire.tls.read(1)
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return error.reason


def is_heard_to_the_end(wire):
    """The broker reads on until we close: what it left unread would be answered with a reset, of which the
    kernel of a client may make the loss of the alert."""
    try:
        while wire.socket.recv(65_536):
            pass
        wire.socket.sendall(b"x")
        wire.socket.sendall(b"x")  # a reset has come by now
        return True
    except ConnectionError:
        return False


@pytest.mark.parametrize("name, reason", [
    ("none", "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
    ("late", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
    ("stranger", "TLSV1_ALERT_UNKNOWN_CA"),
])
def test_alerts_arrive_although_much_was_sent_behind(start_tls, authority, tmp_path, name, reason):
    """In TLS 1.3 a client sends on before it can know that it is refused. What is unread when a socket is closed
    becomes a reset, which would throw the alert away."""
    authority.expired("late")
    stranger = Authority(tmp_path / "stranger", "a stranger")
    stranger.sign("stranger")
    by = stranger if name == "stranger" else authority
    own = None if name == "none" else pair(by, name)
    broker = start_tls(shards=1, tls_client_certificate="required", tls_client_ca=authority.ca)
    for _ in range(10):
        wire = Wire(broker.tls_port, context(authority, own, ssl.TLSVersion.TLSv1_3))
        sealed = wire.sealed(mqtt.connect("eager") + bytes(200_000))
        wire.socket.sendall(sealed)
        assert alerts(wire) == reason and is_heard_to_the_end(wire)


def test_an_alert_arrives_before_the_answers_that_wait(start_tls, authority):
    """A record that does not decrypt comes together with good ones that are to be answered."""
    broker = start_tls(shards=1)
    for _ in range(10):
        wire = Wire(broker.tls_port, context(authority)).connected("mixed")
        good = wire.sealed(b"\xc0\0" * 3)
        bad = wire.sealed(b"\xc0\0")
        bad = bad[:-1] + bytes([bad[-1] ^ 1])
        wire.socket.sendall(good + bad + wire.sealed(bytes(100_000)))
        assert alerts_after_answers(wire) == "SSLV3_ALERT_BAD_RECORD_MAC" and is_heard_to_the_end(wire)


def alerts_after_answers(wire):
    while True:
        more = wire.socket.recv(65_536)
        if not more:
            return None
        wire.incoming.write(more)
        try:
            while wire.tls.read(100):
                pass
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return error.reason
