"""Accounts and rules of the real process: files of Mosquitto's tools, its clients, paho-mqtt and raw
sockets; what is refused, what a reload changes, and what a storm of logins does not disturb."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import time

import pytest

import raw as mqtt
from broker import BINARY, free_port
from client import DEADLINE_S, Client
from raw import Raw, text

MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd")
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
PUB, SUB = shutil.which("mosquitto_pub"), shutil.which("mosquitto_sub")

pytestmark = pytest.mark.ringmq


def passwd(*arguments, password=None, status=0):
    """Runs `ringmq passwd`; returns what it says on stderr."""
    done = subprocess.run([BINARY, "passwd", *map(str, arguments)], input=password, text=True,
                          capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.fixture
def accounts(tmp_path):
    """A password file with ann and bob."""
    path = tmp_path / "passwords"
    passwd("-c", "-b", "--rounds", 100, path, "ann", "one")
    passwd("-b", "--rounds", 100, path, "bob", "two")
    return path


def connect(client_id, version=4, user=None, password=None, properties=b""):
    """A CONNECT with clean start."""
    flags = 0x02 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes([version, flags, 0, 0])
    if version == 5:
        body += bytes([len(properties)]) + properties
    body += text(client_id)
    body += b"".join(text(field) for field in (user, password) if field is not None)
    return mqtt.packet(0x10, body)


def log_in(broker, client_id, user, password, version=4):
    """A connection and the code of its CONNACK; `None`: closed without one."""
    one = Raw(broker, version)
    one.send_as_far_as_possible(connect(client_id, version, user, password))
    received = one.receive()
    return one, None if received is None else received[1][1]


def test_files_of_mosquitto_passwd(start, tmp_path, name):
    if not (MOSQUITTO_PASSWD and PUB):
        pytest.skip("mosquitto's tools are not installed")
    path = tmp_path / "passwords"
    subprocess.run([MOSQUITTO_PASSWD, "-c", "-b", path, "ann", "o ne:$"], check=True)
    subprocess.run([MOSQUITTO_PASSWD, "-H", "sha512", "-b", path, "bob", "two"], check=True)
    broker = start(2, password_file=path)
    for version in ["mqttv31", "mqttv311", "mqttv5"]:
        for user, password, good in [("ann", "o ne:$", True), ("bob", "two", True),
                                     ("bob", "one", False), ("eve", "two", False), (None, None, False)]:
            command = [PUB, "-p", str(broker.port), "-V", version, "-t", name, "-m", "x", "-q", "1"]
            if user:
                command += ["-u", user, "-P", password]
            done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False)
            assert (done.returncode == 0) == good, (version, user, done)
    passwd("--verify", "-b", path, "ann", "o ne:$")
    passwd("--verify", "-b", path, "ann", "one", status=1)


def test_mosquitto_reads_our_files(accounts, tmp_path):
    if not (os.path.exists(MOSQUITTO) and PUB):
        pytest.skip("mosquitto is not installed")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    # Mosquitto gives up root's rights before it reads the file.
    os.chmod(tmp_path, 0o755)
    os.chmod(accounts, 0o644)
    config.write_text(f"listener {port} 127.0.0.1\npassword_file {accounts}\nuser root\n")
    running = subprocess.Popen([MOSQUITTO, "-c", config], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + DEADLINE_S
        command = [PUB, "-p", str(port), "-t", "t", "-m", "x", "-u", "bob"]
        while subprocess.run([*command, "-P", "two"], capture_output=True, check=False).returncode:
            assert time.monotonic() < end and running.poll() is None
        wrong = subprocess.run([*command, "-P", "one"], capture_output=True, check=False)
        assert wrong.returncode != 0
    finally:
        running.kill()
        running.wait()


def test_the_file_tool(tmp_path):
    path = tmp_path / "passwords"
    assert "does not exist" in passwd("-b", path, "ann", "one", status=1)
    passwd("-c", "-b", path, "ann", "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("# staff\n" + path.read_text())
    passwd("--password-stdin", path, "bob", password="two\n")
    passwd("--argon2id", "--password-stdin", path, "col", password="three")
    lines = path.read_text().splitlines()
    assert lines[0] == "# staff"
    assert [line.split(":")[0] for line in lines[1:]] == ["ann", "bob", "col"]
    assert lines[1].startswith("ann:$7$10000$") and lines[3].startswith("col:$argon2id$")
    for user, password in [("ann", "one"), ("bob", "two"), ("col", "three")]:
        passwd("--verify", "-b", path, user, password)
        passwd("--verify", "-b", path, user, "wrong", status=1)
    passwd("--verify", "-b", path, "eve", "one", status=1)
    passwd("-b", path, "ann", "new")
    passwd("--verify", "-b", path, "ann", "new")
    passwd("-D", path, "bob")
    assert "no user" in passwd("-D", path, "bob", status=1)
    assert len(path.read_text().splitlines()) == 3
    passwd("-b", path, "a:b", "x", status=1)
    passwd("--password-stdin", path, "ann", password="", status=1)
    assert "no terminal" in passwd(path, "ann", password="", status=1)
    path.write_text("ann:plain\n")
    passwd("-U", "--rounds", 10, path)
    passwd("--verify", "-b", path, "ann", "plain")
    link = tmp_path / "link"
    link.symlink_to(path)
    passwd("-b", link, "ann", "through the link")
    assert link.is_symlink()
    passwd("--verify", "-b", path, "ann", "through the link")
    assert [entry.name for entry in tmp_path.iterdir() if ".new-" in entry.name] == []


@pytest.mark.parametrize("shards", [1, 4])
# conformance: 3.1.1:MQTT-3.3.5-2
def test_rules_with_clients_of_mosquitto(start, accounts, tmp_path, shards):
    if not (PUB and SUB):
        pytest.skip("mosquitto-clients is not installed")
    acl = tmp_path / "acl"
    acl.write_text("user ann\ntopic read news/#\ntopic deny news/secret\nuser bob\ntopic write news/#\n"
                   "pattern readwrite own/%u/#\n")
    broker = start(shards, password_file=accounts, acl_file=acl)
    to = ["-p", str(broker.port)]
    for filter_, good in [("news/+/x", True), ("news/#", False), ("own/ann/#", True), ("own/bob/#", False)]:
        command = [SUB, *to, "-u", "ann", "-P", "one", "-t", filter_, "-E", "-V", "5"]
        done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False)
        assert (b"denied" not in done.stderr.lower()) == good, (filter_, done)
    listener = Client(broker, "l", 5)
    listener.paho.username_pw_set("ann", "one")
    listener.connect()
    assert listener.subscribe("news/open") == [0]
    for topic in ["own/ann/x", "news/open"]:
        done = subprocess.run([PUB, *to, "-u", "bob", "-P", "two", "-t", topic, "-m", topic, "-q", "1"],
                              timeout=DEADLINE_S, check=False)
        assert done.returncode == 0
    assert listener.messages.get(timeout=DEADLINE_S).payload == b"news/open"
    listener.close()


@pytest.mark.parametrize("version", [3, 4, 5])
def test_paho_logs_in(start, accounts, version):
    broker = start(2, password_file=accounts)
    for password, good in [("one", True), ("two", False)]:
        one = Client(broker, f"c{password}", version)
        one.paho.username_pw_set("ann", password)
        one.connect()
        assert (one.reason == 0) == good, one.reason
        one.close()


def scram(broker, user, password, one=None):
    """SCRAM-SHA-256 as a client does it; the first packet of the answer to the proof."""
    again = one is not None
    one = one or Raw(broker, 5)

    def auth(reason, data):
        properties = b"\x15" + text("SCRAM-SHA-256") + b"\x16" + text(data)
        return mqtt.packet(0xF0, bytes([reason, len(properties)]) + properties)

    def data_of(properties):
        at = properties.index(b"\x16")
        size = struct.unpack_from("!H", properties, at + 1)[0]
        return properties[at + 3:at + 3 + size].decode()

    bare = f"n={user},r={base64.b64encode(os.urandom(12)).decode()}"
    if again:
        one.send(auth(0x19, f"n,,{bare}"))
    else:
        properties = b"\x15" + text("SCRAM-SHA-256") + b"\x16" + text(f"n,,{bare}")
        one.send(connect("scram", 5, properties=properties))
    body = one.expect(0xF0)
    assert body[0] == 0x18
    first = data_of(body[2:])
    fields = dict(field.split("=", 1) for field in first.split(","))
    assert fields["r"].startswith(bare.split("r=")[1])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    unproven = f"c=biws,r={fields['r']}"
    signed = f"{bare},{first},{unproven}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
    one.send(auth(0x18, f"{unproven},p={proof}"))
    answer = one.receive()
    if answer and answer[0] in (0x20, 0xF0) and answer[1][answer[0] == 0x20] == 0:
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        assert f"v={base64.b64encode(server).decode()}".encode() in answer[1], "the server proves itself, too"
    return one, answer


@pytest.mark.parametrize("shards", [1, 4])
def test_scram(start, tmp_path, shards):
    path = tmp_path / "scram"
    passwd("-c", "--scram", "-b", path, "ann", "one")
    passwd("--scram", "-b", "--rounds", 4096, path, "bob", "two")
    passwd("--scram", "--verify", "-b", path, "ann", "one")
    passwd("--scram", "--verify", "-b", path, "ann", "two", status=1)
    broker = start(shards, scram_file=path)
    one, answer = scram(broker, "ann", "one")
    assert answer[0] == 0x20 and answer[1][1] == 0
    one.ping()
    _, answer = scram(broker, "ann", "one", one)
    assert answer[0] == 0xF0 and answer[1][0] == 0
    one.ping()
    _, answer = scram(broker, "bob", "two", one)
    assert answer[0] == 0xE0 and answer[1][0] == 0x87, "not as another user"
    for user, password in [("ann", "two"), ("eve", "one")]:
        _, answer = scram(broker, user, password)
        assert answer[0] == 0x20 and answer[1][1] == 0x86
    assert log_in(broker, "c", None, None)[1] == 5


def test_tokens(start, tmp_path):
    secret = os.urandom(32).hex()
    path = tmp_path / "secret"
    path.write_text(secret + "\n")
    broker = start(2, jwt_secret_file=path, jwt_audience="broker")

    def token(algorithm="HS256", key=secret, **claims):
        def encode(value):
            return base64.urlsafe_b64encode(value).rstrip(b"=")
        claims = {"sub": "ann", "exp": int(time.time()) + 600, "aud": "broker", **claims}
        unsigned = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": algorithm}, claims))
        signature = hmac.digest(key.encode(), unsigned, "sha256") if algorithm == "HS256" else b""
        return unsigned + b"." + encode(signature)

    for good, given in [(True, token()), (False, token(exp=int(time.time()) - 600)),
                        (False, token(aud="other")), (False, token("none")),
                        (False, token(key="x" * 32)), (False, b"one")]:
        assert (log_in(broker, "c", "any", given)[1] == 0) == good, given
    claims = {"publish": ["up/%u"], "subscribe": []}
    one, code = log_in(broker, "c", "any", token(acl=claims), 5)
    assert code == 0
    one.send(mqtt.publish("up/ann", b"x", 1, 1, version=5), mqtt.publish("up/bob", b"x", 1, 2, version=5))
    assert [one.expect(0x40)[2:3] for _ in range(2)] == [b"\x10", b"\x87"]


def token_of(header, claims, sign=None):
    """A JSON web token; `sign` makes the signature of what is signed."""
    def encode(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")
    unsigned = b".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return unsigned + b"." + encode(sign(unsigned) if sign else b"")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_keys_of_tokens_are_not_confused(start, tmp_path):
    secret_key, path = tmp_path / "key.pem", tmp_path / "public.pem"
    make = ["openssl", "genpkey", "-algorithm", "RSA", "-out", secret_key]
    subprocess.run(make, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", secret_key, "-pubout", "-out", path], check=True)
    public = path.read_bytes()
    broker = start(2, jwt_key_file=path, ban_failures=0)
    claims = {"sub": "ann", "exp": int(time.time()) + 600}

    def by_key(text):
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", secret_key], input=text,
                              capture_output=True, check=True).stdout

    def by_public(text):
        return hmac.digest(public, text, "sha256")

    good = token_of({"alg": "RS256"}, claims, by_key)
    assert log_in(broker, "c", "any", good)[1] == 0
    bad = [
        token_of({"alg": "none"}, claims), token_of({"alg": "None"}, claims), token_of({}, claims, by_key),
        # The public key as if it were a secret; and a header that brings its own key.
        token_of({"alg": "HS256"}, claims, by_public), token_of({"alg": "HS512"}, claims, by_public),
        token_of({"alg": "RS256", "jwk": {"kty": "oct", "k": "eA"}}, claims, by_public),
        # Another algorithm than the signature's, a cut one, a changed one, one without any.
        token_of({"alg": "PS256"}, claims, by_key), good[:-2], good[:40] + b"A" + good[41:],
        good.rsplit(b".", 1)[0] + b".", good + b"." + good, b"eyJ..", b"eyJhbGciOiJSUzI1NiJ9." + b"A" * 60_000 + b".A",
        token_of({"alg": "RS256"}, {"sub": "ann"}, by_key), token_of({"alg": "RS256"}, [], by_key),
        token_of({"alg": "RS256"}, {**claims, "sub": 7}, by_key),
    ]
    for given in bad:
        for version, code in [(4, 4), (5, 0x86)]:
            assert log_in(broker, "c", "any", given, version)[1] == code, given[:80]
    # A file that is no public key: named, and the old one stays.
    path.write_bytes(secret_key.read_bytes())
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("the old values stay in force")
    assert str(path) in broker.log() and "the broker needs the public one only" in broker.log()
    assert log_in(broker, "c", "any", good)[1] == 0
    done = subprocess.run([BINARY, "--jwt-key-file", path], capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    assert done.returncode == 2 and str(path) in done.stderr and "private key" in done.stderr, done


def test_plain_files_that_mosquitto_passwd_has_hashed(start, tmp_path):
    if not MOSQUITTO_PASSWD:
        pytest.skip("mosquitto's tools are not installed")
    path = tmp_path / "passwords"
    path.write_text("ann:one\nbob:two\n")
    subprocess.run([MOSQUITTO_PASSWD, "-U", path], check=True, capture_output=True)
    subprocess.run([MOSQUITTO_PASSWD, "-b", path, "col", "three"], check=True, capture_output=True)
    subprocess.run([MOSQUITTO_PASSWD, "-D", path, "bob"], check=True, capture_output=True)
    # What mosquitto_passwd of 2.1 writes with argon2id, by our own tool.
    passwd("--argon2id", "-b", path, "dan", "four")
    broker = start(2, password_file=path)
    logins = [("ann", "one", 0), ("bob", "two", 4), ("col", "three", 0), ("dan", "four", 0), ("dan", "five", 4)]
    for user, password, code in logins:
        assert log_in(broker, "c", user, password)[1] == code, user


def test_reload(start, accounts, tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("user ann\ntopic readwrite a/#\nuser bob\ntopic read #\n")
    broker = start(4, password_file=accounts, acl_file=acl)
    ann, _ = log_in(broker, "ann", "ann", "one", 5)
    bob, _ = log_in(broker, "bob", "bob", "two", 5)
    assert ann.subscribe(("a/x", 0)) == b"\0" and bob.subscribe(("a/x", 0)) == b"\0"
    # A broken file: the old one stays.
    acl.write_text("user ann\ntopic reed a/#\n")
    accounts.write_text(accounts.read_text() + "col\n")
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("stay in force")
    assert f"{acl}:2: " in broker.log() and f"{accounts}:3: " in broker.log()
    ann.ping()
    bob.ping()
    assert log_in(broker, "c", "ann", "one")[1] == 0
    # New ones: who is new gets in, who may no longer read is told.
    accounts.write_text(accounts.read_text().replace("col\n", ""))
    passwd("-b", "--rounds", 100, accounts, "col", "three")
    acl.write_text("user ann\ntopic readwrite a/#\nuser bob\ntopic read b/#\n")
    broker.send_signal(signal.SIGHUP)
    broker.wait_log("were read again")
    assert [(first, body[0]) for first, body in bob.expect_end()] == [(0xE0, 0x98)]
    bob, _ = log_in(broker, "bob", "bob", "two", 5)
    assert bob.subscribe(("a/x", 0)) == b"\x87" and bob.subscribe(("b/x", 0)) == b"\0"
    assert log_in(broker, "d", "col", "three")[1] == 0
    ann.send(mqtt.publish("a/x", b"still", version=5))
    assert ann.expect_publish().payload == b"still"


def test_files_are_watched(start, accounts, tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("user ann\ntopic readwrite a\n")
    broker = start(2, password_file=accounts, acl_file=acl, watch_files="true")
    ann, _ = log_in(broker, "ann", "ann", "one", 5)
    assert ann.subscribe(("b", 0)) == b"\x87"
    # Replaced, as an editor does it.
    (tmp_path / "new").write_text("user ann\ntopic readwrite b\n")
    os.rename(tmp_path / "new", acl)
    broker.wait_log("were read again")
    assert ann.subscribe(("b", 0), packet_id=2) == b"\0"
    since = len(broker.log())
    acl.write_text("nonsense\n")
    broker.wait_log("stay in force", since)
    assert ann.subscribe(("b", 0), packet_id=3) == b"\0"
    since = len(broker.log())
    os.remove(acl)
    broker.wait_log("stay in force", since)
    assert f"{acl}: cannot be read" in broker.log()[since:]


def test_bad_files_are_named_at_start(tmp_path):
    path = tmp_path / "passwords"
    path.write_text("ann\nbob:secret\n")
    acl = tmp_path / "acl"
    acl.write_text("topic a#\n")
    command = [BINARY, "--password-file", path, "--acl-file", acl, "--scram-file", tmp_path / "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2
    for part in [f"{path}:1: no colon", f"{path}:2: user \"bob\": the password is not hashed",
                 f"{acl}:1: # does not", f"{tmp_path / 'none'}: cannot be read"]:
        assert part in done.stderr
    assert "secret" not in done.stderr


def test_ban(start, accounts):
    broker = start(2, password_file=accounts, ban_failures=3, ban_time="2s")
    good, _ = log_in(broker, "good", "ann", "one")
    assert [log_in(broker, "c", "ann", "wrong")[1] for _ in range(3)] == [4, 4, 4]
    assert log_in(broker, "c", "ann", "one")[1] is None, "closed at once"
    good.ping()
    end = time.monotonic() + DEADLINE_S
    while log_in(broker, "c", "ann", "one")[1] != 0:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_storm_of_logins_disturbs_nobody(start, tmp_path):
    path = tmp_path / "passwords"
    passwd("-c", "-b", "--rounds", 5_000, path, "ann", "one")
    broker = start(2, password_file=path, login_queue_max=100, ban_failures=0)
    calm, _ = log_in(broker, "calm", "ann", "one")
    storm = [Raw(broker) for _ in range(1_000)]
    for n, one in enumerate(storm):
        one.send(connect(f"s{n}", 4, "ann", "wrong" if n % 2 else "one"))
    # The storm is still being judged, and the client that was there before has its answers.
    for _ in range(20):
        calm.ping()
    codes = [one.receive()[1][1] for one in storm]
    assert set(codes) == {0, 3, 4}, set(codes)
    assert codes.count(3) >= 100, "what the queue does not hold is told so"
    assert all(code in ((3, 4) if n % 2 else (0, 3)) for n, code in enumerate(codes))
    calm.ping()
