"""Services that the real process asks: about logins, and about what clients may do."""

import http.server
import json
import shutil
import ssl
import subprocess
import threading

import pytest

import raw as mqtt
from authority import Authority
from broker import BINARY, free_port
from client import DEADLINE_S, Client
from raw import Raw
from test_accounts import accounts, connect, log_in, passwd  # noqa: F401

PUB = shutil.which("mosquitto_pub")

pytestmark = pytest.mark.ringmq


class Handler(http.server.BaseHTTPRequestHandler):
    """Lets in who has the password `letmein`, and lets everybody do what has no `no` in its topic."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        service = self.server
        service.asked.append(body)
        if self.path == "/login":
            answer = {"result": "allow" if body.get("password") == "letmein" else "deny"}
            if body["user"] == "limited":
                answer["acl"] = {"publish": ["up/%c"]}
        else:
            answer = {"result": ["deny" if "no" in topic else "allow" for topic in body["topics"]]}
        if not service.may_answer.wait(DEADLINE_S):
            return
        status = 500 if service.is_broken else 200
        data = b"" if service.is_broken else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Service(http.server.ThreadingHTTPServer):
    """A service for both hooks. `may_answer` holds answers back while it is clear."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.is_broken = [], False
        self.may_answer = threading.Event()
        self.may_answer.set()
        scheme = "http"
        if tls:
            scheme = "https"
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.base = f"{scheme}://127.0.0.1:{self.server_address[1]}"
        self.login, self.rules = f"{self.base}/login", f"{self.base}/rules"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a client that does not like our certificate

    def close(self):
        self.may_answer.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def service():
    one = Service()
    yield one
    one.close()


def anonymous(broker, client_id, version=4):
    one = Raw(broker, version)
    one.connect(client_id)
    return one


def publish(one, topic, qos=1, payload=b"x", packet_id=1):
    """Publishes; returns the reason of the acknowledgement."""
    one.send(mqtt.publish(topic, payload, qos, packet_id, version=one.version))
    body = one.expect(0x40)
    return body[2] if len(body) > 2 else 0


def test_logins(start, accounts, service):  # noqa: F811
    broker = start(2, http_hook_url=service.login, password_file=accounts)
    assert log_in(broker, "c", "eve", "letmein")[1] == 0
    assert log_in(broker, "c", "eve", "wrong")[1] == 4
    assert log_in(broker, "c", "ann", "one")[1] == 0, "from the file"
    assert log_in(broker, "c", "ann", "letmein")[1] == 4, "the file decides about its own users"
    assert [body["user"] for body in service.asked] == ["eve", "eve"]
    assert service.asked[0]["client_id"] == "c" and service.asked[0]["address"] == "127.0.0.1"
    one, code = log_in(broker, "me", "limited", "letmein", 5)
    assert code == 0
    assert [publish(one, topic) for topic in ["up/me", "up/you"]] == [0x10, 0x87]
    # Down: what was answered before still counts, the rest is refused.
    service.is_broken = True
    assert log_in(broker, "c", "eve", "letmein")[1] == 0
    assert log_in(broker, "d", "eve", "letmein")[1] == 3
    assert log_in(broker, "d", "eve", "letmein", 5)[1] == 0x88
    broker.wait_log("hook is down")


def test_a_login_service_that_is_not_there(start):
    url = f"http://127.0.0.1:{free_port()}/"
    deny = start(1, http_hook_url=url)
    assert log_in(deny, "c", "eve", "x")[1] == 3
    allow = start(1, http_hook_url=url, http_hook_when_down="allow")
    assert log_in(allow, "c", "eve", "x")[1] == 0
    assert log_in(allow, "c", None, None)[1] == 5


@pytest.mark.parametrize("shards", [1, 4])
def test_rules(start, service, accounts, tmp_path, shards):  # noqa: F811
    acl = tmp_path / "acl"
    acl.write_text("pattern readwrite %u/#\ntopic readwrite all/#\n")
    broker = start(shards, password_file=accounts, acl_file=acl, http_hook_acl_url=service.rules)
    ann = Client(broker, "a", 5)
    ann.paho.username_pw_set("ann", "one")
    ann.connect()
    assert ann.subscribe("ann/#") == [0] and ann.subscribe("ann/no") == [0x87]
    assert ann.subscribe("bob/#") == [0x87], "the file refuses, and nobody is asked"
    bob, _ = log_in(broker, "b", "bob", "two", 5)
    assert [publish(bob, topic) for topic in ["bob/x", "bob/no", "ann/x", "bob/x"]] == [0x10, 0x87, 0x87, 0x10]
    assert ann.publish("ann/x", b"for me", qos=1) is not None
    assert ann.messages.get(timeout=DEADLINE_S).payload == b"for me"
    ann.close()
    questions = [(body["action"], body["topics"], body["user"], body["client_id"]) for body in service.asked]
    assert questions == [
        ("subscribe", ["ann/#"], "ann", "a"), ("subscribe", ["ann/no"], "ann", "a"),
        ("publish", ["bob/x"], "bob", "b"), ("publish", ["bob/no"], "bob", "b"),
        ("publish", ["ann/x"], "ann", "a"),
    ]
    assert service.asked[0]["address"] == "127.0.0.1"


def test_rules_of_the_login_count_alone(start, service):
    broker = start(2, http_hook_url=service.login, http_hook_acl_url=service.rules)
    one, code = log_in(broker, "no", "limited", "letmein", 5)
    assert code == 0 and publish(one, "up/no") == 0x10 and publish(one, "other") == 0x87
    other, _ = log_in(broker, "o", "eve", "letmein", 5)
    assert publish(other, "up/no") == 0x87 and publish(other, "other") == 0x10
    assert [body["topics"] for body in service.asked if "topics" in body] == [["up/no"], ["other"]]


@pytest.mark.skipif(not PUB, reason="mosquitto-clients is not installed")
def test_who_publishes_and_leaves(start, service):
    broker = start(4, http_hook_acl_url=service.rules)
    reader = anonymous(broker, "reader")
    reader.subscribe(("#", 2))
    for n, topic in enumerate(["yes/1", "no/2", "yes/3"]):
        for qos in [0, 1, 2]:
            subprocess.run([PUB, "-p", str(broker.port), "-t", topic, "-m", f"{n}", "-q", str(qos)],
                           check=True, timeout=DEADLINE_S)
    got = sorted(reader.expect_publish().topic for _ in range(6))
    assert got == ["yes/1"] * 3 + ["yes/3"] * 3


def test_wills(start, service):
    broker = start(2, http_hook_acl_url=service.rules)
    reader = anonymous(broker, "reader")
    reader.subscribe(("#", 0))
    refused = Raw(broker, 5)
    refused.send(mqtt.connect("w", 5, will=("no/w", b"x", b"")))
    assert refused.expect(0x20)[1] == 0x87
    allowed = Raw(broker)
    allowed.connect("w", will=("w", b"gone", b""))
    allowed.close()
    assert reader.expect_publish().payload == b"gone"


def test_a_slow_service_stalls_nobody(start, service):
    broker = start(2, http_hook_acl_url=service.rules, http_hook_timeout=30)
    calm, reader = anonymous(broker, "calm"), anonymous(broker, "reader")
    reader.subscribe(("#", 0))
    assert publish(calm, "calm") == 0
    assert reader.expect_publish().topic == "calm"
    service.may_answer.clear()
    # More of them than threads that ask, on all shards.
    waiting = [anonymous(broker, f"w{n}") for n in range(40)]
    for one in waiting:
        one.send(*(mqtt.publish("slow", bytes([n])) for n in range(3)), mqtt.publish("calm", b"\x03"))
    for one in [calm, reader]:
        assert one.ping() == []
    assert publish(calm, "calm") == 0
    assert reader.expect_publish().topic == "calm"
    service.may_answer.set()
    got = [reader.expect_publish() for _ in range(160)]
    assert [one.topic for one in got].count("slow") == 120
    for one in waiting:
        assert one.ping() == []
    assert reader.ping() == []


@pytest.mark.parametrize("how", ["status", "time"])
def test_rules_while_the_service_is_down(start, service, how):
    options = {"http_hook_acl_url": service.rules, "http_hook_timeout": 1}
    deny, allow = start(2, **options), start(1, **options, http_hook_when_down="allow")
    service.is_broken = how == "status"
    if how == "time":
        service.may_answer.clear()
    five = anonymous(deny, "five", 5)
    assert publish(five, "a") == 0x83
    assert five.subscribe(("b", 0), ("c", 0)) == b"\x83\x83"
    five.send(mqtt.publish("d", b"x", version=5))
    five.ping()
    old = anonymous(deny, "old")
    assert old.subscribe(("b", 0)) == b"\x80"
    old.send(mqtt.publish("e", b"x", 1, 1))
    assert old.expect_end() == []
    deny.wait_log("the HTTP hook for rules is down")
    deny.wait_log("publication refused: the HTTP hook is down")
    will = Raw(deny, 5)
    will.send(mqtt.connect("w", 5, will=("w", b"x", b"")))
    assert will.expect(0x20)[1] == 0x88
    one = anonymous(allow, "one", 5)
    assert one.subscribe(("a", 0)) == b"\0" and publish(one, "no", packet_id=2) == 0x10
    # It comes back, and is asked again within a while.
    service.is_broken = False
    service.may_answer.set()
    for _ in range(100):
        if publish(five, "a") != 0x83:
            break
        mqtt.wait(0.1)
    assert publish(five, "a") == 0x10


def served_with_tls(own):
    own.sign("service")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own.path("service.pem"), own.path("service.key"))
    return Service(tls)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_services_over_tls(start, tmp_path):
    own, stranger = Authority(tmp_path / "own"), Authority(tmp_path / "other", "a stranger")
    service = served_with_tls(own)
    try:
        both = {"http_hook_url": service.login, "http_hook_acl_url": service.rules}
        broker = start(2, **both, http_hook_ca=own.ca)
        one, code = log_in(broker, "c", "eve", "letmein", 5)
        assert code == 0 and log_in(broker, "d", "eve", "wrong", 5)[1] == 0x86
        assert publish(one, "yes") == 0x10 and publish(one, "no") == 0x87
        count = len(service.asked)
        # Neither the authorities that browsers know nor another one have signed this.
        for options in [both, {**both, "http_hook_ca": stranger.ca}]:
            broker = start(1, **options)
            assert log_in(broker, "c", "eve", "letmein", 5)[1] == 0x88
            broker.wait_log("certificate")
        assert len(service.asked) == count, "no password was sent"
    finally:
        service.close()


def test_bad_files_of_authorities_are_named(tmp_path):
    path = tmp_path / "ca.pem"
    rows = [(["--http-hook-url", "https://localhost/"], "no certificate in PEM form"),
            (["--http-hook-url", "http://localhost/"], "means something only with an https:// URL"),
            (["--http-hook-acl-url", "ftp://localhost/"], "does not start with http:// or https://")]
    for arguments, sentence in rows:
        path.write_text("nothing\n")
        command = [BINARY, "--check-config", *arguments, "--http-hook-ca", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 2 and sentence in done.stderr, done
