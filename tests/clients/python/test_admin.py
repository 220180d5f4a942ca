"""The admin listener of the real process: who may do what, what other sites cannot, and what a hostile
client costs."""

import os
import signal
import socket
import subprocess
import threading

import pytest

from admin import Admin, start_admin, token
from authority import Authority
from broker import BINARY, free_port
from client import DEADLINE_S
from test_accounts import passwd

pytestmark = pytest.mark.ringmq


@pytest.fixture
def accounts(tmp_path):
    path = tmp_path / "passwords"
    passwd("-c", "-b", "--rounds", 100, path, "ann", "one")
    passwd("-b", "--rounds", 100, path, "bob", "two")
    passwd("-b", "--rounds", 100, path, "eve", "three")
    return path


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_loopback_asks_for_no_login(start, shards):
    _, admin = start_admin(start, shards)
    for path in ["/healthz", "/readyz", "/health/live", "/health/ready"]:
        answer = admin.get(path)
        assert (answer.status, answer.json) == (200, {"status": "ok"}), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Access-Control-Allow-Origin"] is None
    head = admin.request("HEAD", "/healthz")
    assert (head.status, head.body) == (200, b"")
    # A login that is given must be right even here.
    assert admin.get("/healthz", token="rmq_x").status == 401


def test_problems_are_json(start):
    _, admin = start_admin(start)
    for method, path, status in [("GET", "/nothing", 404), ("PUT", "/healthz", 405), ("GET", "/healthz?a=%FF", 400)]:
        answer = admin.request(method, path, X_Ringmq_Request="1")
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == status and answer.json["detail"]
    assert admin.request("PUT", "/healthz", X_Ringmq_Request="1").headers["Allow"] == "GET"
    large = admin.request("GET", "/healthz", body=b"x" * 100_000)
    assert large.status == 413


def test_other_sites_reach_nothing(start):
    _, admin = start_admin(start)
    assert admin.get("/healthz", Host="evil.example").status == 403
    assert admin.get("/healthz", Origin="http://evil.example").status == 403
    assert admin.get("/healthz", Sec_Fetch_Site="cross-site").status == 403
    # What a form of another page sends.
    answer = admin.request("POST", "/healthz", body="a=1", Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 403


def test_elsewhere_a_login_is_needed(start, accounts, tmp_path):
    tokens = tmp_path / "tokens"
    viewer, gone = token(tokens, "grafana"), token(tokens, "gone")
    broker, admin = start_admin(
        start, host="0.0.0.0", password_file=accounts, admin_users="ann", admin_viewers="bob",
        admin_token_file=tokens, ban_failures=0)
    broker.wait_log("can be read on the way")
    assert admin.get("/healthz").status == 200
    assert admin.get("/healthz", Host="broker.example").status == 200
    for login in [("ann", "one"), ("bob", "two")]:
        assert admin.get("/healthz", login=login).status == 200
        assert admin.get("/healthz", login=login).status == 200  # known by now
    assert admin.get("/healthz", login=("eve", "three")).status == 403
    for login in [("ann", "two"), ("nobody", "one"), ("", "")]:
        answer = admin.get("/healthz", login=login)
        assert answer.status == 401 and "Basic" in answer.headers["WWW-Authenticate"]
    for scheme in ["Basic %%%", "Basic", "Digest a", ""]:
        assert admin.get("/healthz", Authorization=scheme).status == 401
    assert admin.get("/healthz", token=viewer).status == 200
    assert admin.get("/healthz", token=gone).status == 200
    # A line that is removed ends its token at SIGHUP.
    kept = [line for line in tokens.read_text().splitlines() if not line.startswith("gone:")]
    tokens.write_text("\n".join(kept) + "\n")
    since = len(broker.log())
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("accounts and rules were read again", since)
    deadline = threading.Event()
    threading.Timer(DEADLINE_S, deadline.set).start()
    while admin.get("/healthz", token=gone).status != 401:
        assert not deadline.is_set()
    assert admin.get("/healthz", token=viewer).status == 200
    # What cannot be read leaves those in force.
    tokens.write_text("broken\n")
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("tokens:1: is not name:role:expires:hash")
    broker.wait_log("the old values stay in force")
    assert admin.get("/healthz", token=viewer).status == 200


def test_failed_logins_ban(start, accounts):
    _, admin = start_admin(start, password_file=accounts, admin_users="ann", ban_failures=3, ban_time="1h")
    for _ in range(3):
        assert admin.get("/healthz", login=("ann", "wrong")).status == 401
    assert admin.get("/healthz", login=("ann", "one")).status == 429


def test_unix_socket(start, tmp_path):
    path = str(tmp_path / "admin.sock")
    broker = start(2, admin_listen=f"unix:{path}")
    assert os.stat(path).st_mode & 0o777 == 0o660
    assert Admin(path=path).get("/readyz").status == 200
    broker.stop()
    assert not os.path.exists(path)


def test_tls(start, tmp_path):
    authority = Authority(tmp_path / "ca")
    authority.sign("server", san="IP:127.0.0.1")
    port = free_port()
    start(1, admin_listen=f"127.0.0.1:{port}", admin_tls_certificate=authority.path("server.pem"),
          admin_tls_key=authority.path("server.key"))
    assert Admin(port, authority=authority.ca).get("/healthz").status == 200


def test_hostile_clients_take_no_place_of_others(start):
    _, admin = start_admin(start)
    held = []
    for _ in range(100):  # more than there are places; the surplus is closed
        one = socket.create_connection(("127.0.0.1", admin.port), DEADLINE_S)
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        held.append(one)
    try:
        assert held[-1].recv(1) == b""  # closed: all of them have been accepted, and the first have the places
    except ConnectionResetError:
        pass
    for one in held[:40]:
        one.close()
    deadline = threading.Event()
    threading.Timer(DEADLINE_S, deadline.set).start()
    while True:
        try:
            if admin.get("/healthz").status == 200:
                break
        except OSError:
            assert not deadline.is_set()
    for one in held:
        one.close()
    for garbage in [b"\x00" * 1000, b"GET " + b"/" * 100_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000 + b"\r\n"]:
        with socket.create_connection(("127.0.0.1", admin.port), DEADLINE_S) as one:
            try:
                one.sendall(garbage)
                one.shutdown(socket.SHUT_WR)
                while one.recv(65536):
                    pass
            except OSError:
                pass
    assert admin.get("/healthz").status == 200


@pytest.mark.parametrize("options, sentence", [
    (["--admin-listen", "0.0.0.0:1"], "nobody could log in"),
    (["--admin-listen", "127.0.0.1"], "has no port"),
    (["--admin-listen", "unix:here"], "absolute path"),
    (["--admin-users", "ann"], "password-file, which is not set"),
    (["--admin-tls-key", "k"], "go together"),
    (["--admin-tls-client-ca", "k"], "only with admin-tls-certificate"),
])
def test_bad_options_are_sentences(options, sentence):
    done = subprocess.run([BINARY, *options], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2 and sentence in done.stderr


@pytest.mark.parametrize("options, sentence", [
    (["--admin-token-file", "/none"], "/none: cannot be read"),
    (["--admin-tls-certificate", "/none", "--admin-tls-key", "/none"], "/none: cannot be read"),
])
def test_bad_files_are_sentences(options, sentence):
    command = [BINARY, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1 and sentence in done.stderr
