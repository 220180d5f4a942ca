"""TLS against the process: clients of other makers, good and bad certificates, reload."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from authority import Authority
from broker import BINARY
from client import DEADLINE_S
from secured import (authority, client_hello, context, exchange, pair, s_client, secure, start_tls,
                     table)

pytestmark = [
    pytest.mark.ringmq,
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]

PUB, SUB = shutil.which("mosquitto_pub"), shutil.which("mosquitto_sub")


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_paho_over_tls(start_tls, authority, shards, version):
    broker = start_tls(shards=shards)
    made = [secure(broker, context(authority, version=version), client_id=f"c{n}").connect()
            for n in range(6)]
    payload = os.urandom(200_000)
    for one in made:
        one.subscribe("t/#", qos=1)
    made[0].publish("t/long", payload, qos=1)
    for one in made:
        assert one.messages.get(timeout=DEADLINE_S).payload == payload
    for one in made:
        one.close()
    assert broker.is_running()


@pytest.mark.skipif(not (PUB and SUB), reason="mosquitto-clients is not installed")
@pytest.mark.parametrize("asks", ["none", "required"])
def test_mosquitto_clients_over_tls(start_tls, authority, asks):
    own = []
    tls = {}
    if asks == "required":
        tls = {"tls_client_certificate": "required", "tls_client_ca": authority.ca}
        own = ["--cert", authority.path("device.pem"), "--key", authority.path("device.key")]
    broker = start_tls(**tls)
    to = ["-h", "localhost", "-p", str(broker.tls_port), "--cafile", authority.ca]
    sub = subprocess.Popen(["stdbuf", "-oL", SUB, *to, *own, "-d", "-t", "m", "-C", "1"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    overdue = threading.Timer(DEADLINE_S, sub.kill)
    overdue.start()
    for line in sub.stdout:
        if "Subscribed" in line:
            break
    subprocess.run([PUB, *to, *own, "-t", "m", "-m", "hello", "-q", "2"], check=True,
                   timeout=DEADLINE_S)
    output = sub.stdout.read()
    overdue.cancel()
    assert sub.wait(DEADLINE_S) == 0 and "hello" in output
    if own:
        refused = subprocess.run([PUB, *to, "-t", "m", "-m", "x"], check=False,
                                 capture_output=True, timeout=DEADLINE_S)
        assert refused.returncode != 0
        broker.wait_log("the client has sent no certificate")


def test_versions_ciphers_and_alpn(start_tls, authority):
    broker = start_tls()
    ca = ["-CAfile", authority.ca]
    assert "TLSv1.2" in s_client(broker, *ca, "-tls1_2")
    assert "Verify return code: 0 (ok)" in s_client(broker, *ca, "-tls1_3")
    for cipher in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]:
        assert f"Cipher is {cipher}" in s_client(broker, *ca, "-tls1_2", "-cipher", cipher)
    for cipher in ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]:
        assert f"Cipher is {cipher}" in s_client(broker, *ca, "-tls1_3", "-ciphersuites", cipher)
    for old in ["-tls1", "-tls1_1"]:
        since = len(broker.log())
        assert "Cipher is (NONE)" in s_client(broker, *ca, old, "-cipher", "ALL:@SECLEVEL=0")
        broker.wait_log("no TLS version in common", since)  # it did ask
    # Neither forward secrecy nor an authenticated cipher: never.
    for weak in ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"]:
        assert "Cipher is (NONE)" in s_client(broker, *ca, "-tls1_2", "-cipher",
                                              weak + ":@SECLEVEL=0")
    assert "ALPN protocol: mqtt" in s_client(broker, *ca, "-alpn", "mqtt")
    s_client(broker, *ca, "-alpn", "h2")
    broker.wait_log('asks by ALPN for "h2"')
    newer = start_tls(tls_version_min="1.3")
    assert "Cipher is (NONE)" in s_client(newer, *ca, "-tls1_2")
    newer.wait_log("no TLS version in common")
    assert "Verify return code: 0 (ok)" in s_client(newer, *ca, "-tls1_3")


def test_sni_chooses_the_certificate(start_tls, authority):
    authority.sign("one", san="DNS:one.example,DNS:*.wild.example")
    authority.sign("two", san="DNS:two.example", key="rsa")
    broker = start_tls(server=("server", "one", "two"))
    rows = [("one.example", "one"), ("x.wild.example", "one"), ("two.example", "two"),
            ("three.example", "server"), ("localhost", "server")]
    for asked, shown in rows:
        assert f"subject=CN = {shown}\n" in s_client(broker, "-servername", asked), asked
    assert "subject=CN = server\n" in s_client(broker, "-noservername")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_whatever_the_shard(start_tls, authority, version):
    broker = start_tls(shards=4)
    made = context(authority, version=version)
    session, reused = None, []
    for n in range(12):
        with socket.create_connection(("127.0.0.1", broker.tls_port), DEADLINE_S) as plain:
            with made.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                tls.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01" + bytes([97 + n]))
                assert tls.recv(4) == b"\x20\x02\x00\x00"
                reused.append(tls.session_reused)
                session = tls.session
                tls.sendall(b"\xe0\x00")
    assert reused == [False] + [True] * 11


def test_bad_client_certificates_are_told_apart(start_tls, authority, tmp_path):
    authority.expired("expired")
    authority.sign("revoked")
    authority.revoke("revoked")
    stranger = Authority(tmp_path / "stranger", "a stranger")
    broker = start_tls(tls_client_certificate="optional", tls_client_ca=authority.ca,
                       tls_crl=authority.revocation_list())
    rows = [
        (authority.sign("fine"), None),
        (pair(authority, "expired"), "the client's certificate has expired"),
        (pair(authority, "revoked"), "the client's certificate is revoked"),
        (stranger.sign("foreign"), "not in tls-client-ca"),
        (authority.self_signed("selfmade"), "self-signed"),
        (None, None),
    ]
    for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
        for own, sentence in rows:
            since = len(broker.log())
            tls = context(authority, own, version)
            if sentence is None:
                secure(broker, tls).connect().close()
                continue
            with pytest.raises((ssl.SSLError, ConnectionError)):
                with socket.create_connection(("127.0.0.1", broker.tls_port), DEADLINE_S) as plain:
                    with tls.wrap_socket(plain, server_hostname="localhost") as wrapped:
                        assert wrapped.recv(1) == b""
                        raise ConnectionError("closed")
            broker.wait_log(sentence, since)


@pytest.mark.parametrize("change, sentence", [
    (lambda a: os.remove(a.path("own.key")), "own.key: cannot be read"),
    (lambda a: shutil.copy(a.path("other.key"), a.path("own.key")), "own.key: is not the key of"),
    (lambda a: shutil.copy(a.path("own.pem"), a.path("own.key")), "own.key: holds no private key"),
    (lambda a: open(a.path("own.pem"), "w").close(), "own.pem: holds no certificate"),
])
def test_files_that_cannot_be_used_are_named_at_start(tmp_path, change, sentence):
    own = Authority(tmp_path)
    own.sign("own")
    own.sign("other")
    change(own)
    config = own.path("bad.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(table("127.0.0.1:0", transport="tls", tls_certificate=own.path("own.pem"),
                         tls_key=own.path("own.key")))
    done = subprocess.run([BINARY, "--config", config], capture_output=True, text=True, check=False,
                          timeout=DEADLINE_S)
    assert done.returncode == 1 and sentence in done.stderr, done.stderr


def test_reload_takes_new_files_and_keeps_every_connection(start_tls, tmp_path):
    own = Authority(tmp_path)
    own.sign("server")
    own.sign("device")
    crl = own.revocation_list()
    broker = start_tls(by=own, tls_client_certificate="required", tls_client_ca=own.ca, tls_crl=crl)
    device = pair(own, "device")
    kept = [secure(broker, context(own, device), client_id=f"kept{n}").connect() for n in range(4)]
    for one in kept:
        one.subscribe("load", qos=1)
    sent, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            kept[0].publish("load", str(len(sent)), qos=1)
            sent.append(True)
            time.sleep(0.01)  # slower than the slowest of four clients in one interpreter

    loading = threading.Thread(target=load)
    loading.start()
    for n in range(3):
        since = len(broker.log())
        shutil.copy(own.sign(f"server{n}")[0], own.path("server.pem"))
        shutil.copy(own.path(f"server{n}.key"), own.path("server.key"))
        broker.send_signal(signal.SIGHUP)
        broker.wait_log("were read again", since)
        assert f"subject=CN = server{n}\n" in s_client(broker, "-cert", device[0], "-key",
                                                       device[1], "-CAfile", own.ca)
    # What does not load keeps the old one.
    since = len(broker.log())
    os.rename(own.path("server.key"), own.path("away.key"))
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("server.key: cannot be read", since)
    secure(broker, context(own, device), client_id="late").connect().close()
    os.rename(own.path("away.key"), own.path("server.key"))
    # A certificate that is revoked by a reload gets nobody in, with a ticket either.
    since = len(broker.log())
    own.revoke("device")
    own.revocation_list()
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("were read again", since)
    s_client(broker, "-cert", device[0], "-key", device[1], "-CAfile", own.ca)
    broker.wait_log("the client's certificate is revoked", since)
    stop.set()
    loading.join()
    for one in kept:
        for _ in sent:
            one.messages.get(timeout=DEADLINE_S)
        assert one.disconnected.empty()
        one.close()


def test_limits_of_a_listener_count_before_tls(start_tls, authority):
    broker = start_tls(connections_max=3, connect_rate_source=50)
    made = [secure(broker, context(authority), client_id=f"c{n}").connect() for n in range(3)]
    assert exchange(broker.tls_port, client_hello(authority)) == b""
    broker.wait_log("connections-max of its listener is reached")
    made.pop().close()
    end = time.monotonic() + DEADLINE_S
    while not exchange(broker.tls_port, client_hello(authority)):
        assert time.monotonic() < end, broker.log()
    for _ in range(60):
        exchange(broker.tls_port, b"")
    broker.wait_log("connect-rate-source of its listener is reached")
    for one in made:
        one.close()


def test_policy_of_a_listener(start_tls, authority, raw, tmp_path):
    path = tmp_path / "socket"
    more = table(f"unix:{path}", mode="0600", versions=["5.0"], qos_max=1)
    broker = start_tls(more=more)
    assert os.stat(path).st_mode & 0o777 == 0o600
    connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(DEADLINE_S)
        one.connect(str(path))
        one.sendall(connect)
        connack = one.recv(100)
        assert connack[:4] == bytes([0x20, len(connack) - 2, 0, 0]) and b"\x24\x01" in connack
        one.sendall(b"\x34\x06\x00\x01t\x00\x01\x00")
        assert one.recv(100)[2] == 0x9B
    with socket.socket(socket.AF_UNIX) as old:
        old.settimeout(DEADLINE_S)
        old.connect(str(path))
        old.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a")
        assert old.recv(100) == b"\x20\x02\x00\x01"
    assert broker.stop()[0] == 0
    assert not path.exists()


def test_idle_tls_connections_take_little_memory(start_tls, authority):
    broker = start_tls(shards=2)
    made = context(authority)
    idle = []

    def connect(count):
        for _ in range(count):
            plain = socket.create_connection(("127.0.0.1", broker.tls_port), DEADLINE_S)
            tls = made.wrap_socket(plain, server_hostname="localhost")
            name = b"%06d" % len(idle)
            tls.sendall(b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06" + name)
            assert tls.recv(4) == b"\x20\x02\x00\x00"
            idle.append(tls)

    connect(100)
    before = broker.resident_kib()
    connect(500)
    grown = (broker.resident_kib() - before) / 500
    assert grown < 20, f"{grown:.1f} KiB per idle connection"
    print(f"{grown:.1f} KiB per idle connection")
    for one in idle:
        one.close()
