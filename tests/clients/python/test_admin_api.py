"""The API of the admin listener: what it tells of real clients and changes of them, and `ringmq ctl` over it."""

import json
import os
import re
import socket
import socketserver
import subprocess
import threading
import time

import pytest
from openapi_spec_validator import validate

import raw as mqtt
from admin import start_admin, token
from broker import BINARY, ROOT, free_port
from client import DEADLINE_S, VERSIONS, Client, eventually, properties
from raw import Raw

pytestmark = pytest.mark.ringmq


def api(path):
    return f"/api/v1/{path}"


def change(admin, method, path, body=None):
    body = None if body is None else json.dumps(body)
    return admin.request(method, api(path), body, X_Ringmq_Request="1")


def pages(admin, path, rows, **query):
    """All pages of a listing, and how many there were."""
    found, count, cursor = [], 0, None
    while True:
        given = {**query, **({"cursor": cursor} if cursor else {})}
        text = "&".join(f"{name}={value}" for name, value in given.items())
        page = admin.get(api(f"{path}?{text}")).json
        found += page[rows]
        count += 1
        cursor = page["next"]
        if cursor is None:
            return found, count


@pytest.fixture
def client(name):
    """Makes connected clients of a broker that the test names."""
    made = []

    def make(client_id, version="3.1.1", to=None, **options):
        one = Client(to, f"{name}-{client_id}", VERSIONS[version], **options)
        made.append(one)
        return one.connect()

    yield make
    for one in made:
        one.close()


def until(look, wanted):
    """Looks until what a shard has handed to another is there."""
    end = time.monotonic() + DEADLINE_S
    while (found := look()) != wanted:
        assert time.monotonic() < end, found
    return found


@pytest.fixture(params=[1, 2, 4], ids=lambda n: f"shards{n}")
def served(request, start):
    return start_admin(start, request.param)


def test_clients_by_page_and_in_detail(served, client, name):
    broker, admin = served
    made = [client(f"c{n}", to=broker) for n in range(12)]
    listed, count = pages(admin, "clients", "clients", limit=5)
    assert sorted(row["client_id"] for row in listed) == sorted(f"{name}-c{n}" for n in range(12))
    assert count >= 3
    listed, _ = pages(admin, "clients", "clients", prefix=f"{name}-c1")
    assert len(listed) == 3 and all(row["connected"] for row in listed)
    assert pages(admin, "clients", "clients", address="192.0.2.1")[0] == []
    made[0].subscribe("a/+", 1)
    made[1].publish_and_wait("a/b", b"x", 1)
    made[0].take(1)
    one = admin.get(api(f"clients/{name}-c0")).json
    assert (one["version"], one["transport"], one["keep_alive_s"]) == ("3.1.1", "tcp", 60)
    assert (one["subscriptions"], one["deliveries"], one["publications"]) == (1, 1, 0)
    assert one["address"].startswith("127.0.0.1:") and one["listener"] == f"127.0.0.1:{broker.port}"
    assert admin.get(api(f"clients/{name}-c1")).json["publications"] == 1
    assert admin.get(api("clients/nobody")).status == 404
    first = admin.get(api("clients?sort=deliveries")).json["clients"]
    assert [row["client_id"] for row in first] == [f"{name}-c0"]


def test_clients_by_what_they_are(start, name, tmp_path):
    """Each filter leaves out somebody else, and each order has another client first."""
    accounts = tmp_path / "accounts"
    subprocess.run([BINARY, "passwd", "-c", "-b", "--rounds", "10", accounts, "ann", "one"], check=True)
    broker, admin = start_admin(start, 2, password_file=accounts, allow_anonymous="true", queue_messages_max=3)
    made = []

    def join(client_id, user=None, **options):
        made.append(Client(broker, f"{name}-{client_id}", VERSIONS["3.1.1"], **options))
        if user:
            made[-1].paho.username_pw_set(user, "one")
        return made[-1].connect()

    def found(query):
        return [row["client_id"].rsplit("-", 1)[1] for row in admin.get(api(f"clients?{query}")).json["clients"]]

    kept = join("kept", clean=False)
    kept.subscribe("q/#", 1)
    kept.disconnect()
    until(lambda: found("connected=false"), ["kept"])
    ann, receiver, loud = join("ann", "ann"), join("receiver"), join("loud")
    receiver.subscribe("big", 1)
    for n in range(5):
        ann.publish_and_wait(f"q/{n}", b"x", 1)
    ann.publish_and_wait("big", bytes(10_000), 1)
    receiver.take(1)
    loud.publish_and_wait("nobody", bytes(30_000), 1)
    until(lambda: admin.get(api(f"clients/{name}-kept")).json["dropped"], 2)
    connected = ["ann", "loud", "receiver"]
    assert sorted(found("connected=true")) == connected
    assert sorted(found("address=127.0.0.1")) == connected and found("address=127.0.0.2") == []
    assert found("user=ann") == ["ann"] and found("user=bob") == []
    assert found("min_queue=3") == ["kept"] and found("min_queue=4") == []
    assert found("sort=queue") == found("sort=dropped") == ["kept"]
    assert found("sort=publications") == ["ann", "loud"] and found("sort=deliveries") == ["receiver"]
    assert found("sort=bytes&limit=1") == ["loud"]
    for wrong in ["connected=maybe", "address=x", "min_queue=x", "sort=size", "limit=0", "limit=1001", "cursor=1.2"]:
        assert admin.get(api(f"clients?{wrong}")).status == 400, wrong
    for one in made:
        one.close()


def test_busiest_clients(served, client, name):
    broker, admin = served
    quiet, busy = client("quiet", to=broker), client("busy", to=broker)
    quiet.subscribe("nothing")
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            busy.publish_and_wait("a", b"x", 1)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        clients = admin.get(api("clients?sort=rate")).json["clients"]
    finally:
        stop.set()
        thread.join()
    assert clients[0]["client_id"] == f"{name}-busy" and clients[0]["publications_per_s"] > 1


def test_disconnect_and_end(served, client, name):
    broker, admin = served
    expiry = properties("CONNECT", SessionExpiryInterval=100)
    kept = client("kept", "5", to=broker, connect_properties=expiry)
    assert change(admin, "DELETE", f"clients/{name}-kept").status == 204
    reason = kept.disconnected.get(timeout=DEADLINE_S)
    assert reason.value == 0x98
    shown = admin.get(api(f"clients/{name}-kept")).json
    assert shown["connected"] is False
    assert "administrator" in shown["last_connection_ended"]["why"]
    again = change(admin, "DELETE", f"clients/{name}-kept")
    assert again.status == 404 and "not connected" in again.json["detail"]
    assert change(admin, "DELETE", f"clients/{name}-kept?session=end").status == 204
    assert admin.get(api(f"clients/{name}-kept")).status == 404
    assert change(admin, "DELETE", f"clients/{name}-kept?session=away").status == 400


def test_subscriptions_by_topic_and_filter(served, client, name):
    broker, admin = served
    one, other = client("one", to=broker), client("other", to=broker)
    one.subscribe("a/+", 1)
    one.subscribe("b", 0)
    other.subscribe("$share/g/a/1", 2)

    def found(query):
        rows, _ = pages(admin, "subscriptions", "subscriptions", limit=1, **query)
        return sorted((row["client_id"].rsplit("-", 1)[1], row["filter"], row["qos"]) for row in rows)

    assert found({"topic": "a%2F1"}) == [("one", "a/+", 1), ("other", "$share/g/a/1", 2)]
    assert found({"topic": "c"}) == []
    assert found({"filter": "%2B"}) == [("one", "b", 0)]
    assert len(found({})) == 3
    rows, _ = pages(admin, f"clients/{name}-one/subscriptions", "subscriptions")
    assert {row["filter"] for row in rows} == {"a/+", "b"}
    assert admin.get(api("subscriptions?topic=%2B")).status == 400
    assert admin.get(api("subscriptions?cursor=x")).status == 400
    assert admin.get(api("subscriptions?cursor=99.0.0")).status == 400


def test_retained_and_publish(served, client, name):
    broker, admin = served
    for n in range(20):
        body = {"topic": f"r/{n % 4}/{n}", "payload": f"p{n}", "qos": 1, "retain": True}
        assert change(admin, "POST", "publish", body).json == {"has_subscriber": False}
    def listed():
        rows, count = pages(admin, "retained", "messages", limit=6, filter="r%2F%23")
        return sorted(row["payload"] for row in rows), count >= 4

    until(listed, (sorted(f"p{n}" for n in range(20)), True))
    levels = admin.get(api("retained/levels?below=r")).json["levels"]
    assert [level["name"] for level in levels] == ["0", "1", "2", "3"]
    assert all(level["has_below"] and not level["has_message"] for level in levels)
    names, after = [], ""
    while after is not None:
        page = admin.get(api(f"retained/levels?below=r%2F1&limit=2{after}")).json
        names += [level["name"] for level in page["levels"]]
        after = page["next"] and f"&after={page['next']}"
    assert sorted(names) == sorted(["1", "5", "9", "13", "17"])
    message = "retained/message?topic=r%2F1%2F5"
    assert admin.get(api(message)).json["payload"] == "p5"
    assert change(admin, "DELETE", message).status == 204
    assert change(admin, "DELETE", message).status == 404 and admin.get(api(message)).status == 404
    subscriber = client("s", to=broker)
    subscriber.subscribe("live/#", 1)
    body = {"topic": "live/x", "payload_base64": "/wA=", "qos": 1}
    assert change(admin, "POST", "publish", body).json == {"has_subscriber": True}
    assert subscriber.take(1)[0].payload == b"\xff\0"
    for wrong in [{}, {"topic": "a/+"}, {"topic": "$SYS/x"}, {"topic": "a", "qos": 9}, []]:
        assert change(admin, "POST", "publish", wrong).status == 400


def connect_code(broker, client_id):
    """The reason code of CONNACK."""
    one = Raw(broker, 5)
    one.send(mqtt.connect(client_id, 5))
    code = one.expect(0x20)[1]
    one.close()
    return code


def test_bans_outlive_the_process_with_a_data_directory(start, name, tmp_path):
    data = tmp_path / "data"
    broker, admin = start_admin(start, data_dir=data)
    for body in [{"client": f"{name}-v", "reason": "loud"}, {"user": "eve", "minutes": 60}, {"client": "lifted"}]:
        assert change(admin, "POST", "bans", body).status == 200
    assert change(admin, "DELETE", "bans?client=lifted").status == 204
    listed = admin.get(api("bans")).json
    broker.kill()
    # They are in force whether there is an admin listener or not.
    broker = start(data_dir=data)
    assert connect_code(broker, f"{name}-v") == 0x8A
    assert connect_code(broker, f"{name}-w") == 0
    broker.stop()
    broker, admin = start_admin(start, data_dir=data)
    assert admin.get(api("bans")).json == listed
    assert change(admin, "DELETE", f"bans?client={name}-v").status == 204
    assert connect_code(broker, f"{name}-v") == 0
    # A folder that takes no file: the ban is refused, and those there are stay.
    kept = data / "bans.json"
    os.mkdir(f"{kept}.new")
    answer = change(admin, "POST", "bans", {"client": f"{name}-w"})
    assert answer.status == 507 and "stay as they were" in answer.json["detail"] and str(kept) in answer.json["detail"]
    assert len(admin.get(api("bans")).json["bans"]) == 1
    assert connect_code(broker, f"{name}-w") == 0
    broker.stop()
    os.rmdir(f"{kept}.new")
    # A file that is cut keeps the broker from starting without the bans.
    kept.write_text(kept.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    broker = start(data_dir=data, wait=False)
    assert broker.process.wait(DEADLINE_S) == 1
    assert "bans.json in the data directory is not JSON" in broker.log()


def test_bans(served, client, name):
    broker, admin = served
    victim = client("v", to=broker)
    body = {"client": f"{name}-v", "minutes": 5, "reason": "loud"}
    assert change(admin, "POST", "bans", body).json == {"disconnected": 1}
    victim.disconnected.get(timeout=DEADLINE_S)
    listed = admin.get(api("bans")).json["bans"]
    assert [(ban["client"], ban["reason"]) for ban in listed] == [(f"{name}-v", "loud")]
    assert client("v", "5", to=broker).reason.value == 0x8A
    client("w", to=broker)
    assert change(admin, "DELETE", f"bans?client={name}-v").status == 204
    assert change(admin, "DELETE", f"bans?client={name}-v").status == 404
    client("v", to=broker)
    assert change(admin, "POST", "bans", {"address": "127.0.0.1"}).json["disconnected"] == 2
    assert client("x", "5", to=broker).reason.value == 0x8A
    assert change(admin, "DELETE", "bans?address=127.0.0.1").status == 204
    for wrong in [{}, {"client": "a", "user": "b"}, {"address": "here"}, {"client": "a", "minutes": 0}]:
        assert change(admin, "POST", "bans", wrong).status == 400


def lines_of_trace(admin, body, during):
    """The lines of a trace that lasts while `during` runs."""
    connection = admin.connection()
    headers = {"X-Ringmq-Request": "1"}
    connection.request("POST", api("trace"), json.dumps(body), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    during()
    lines = [json.loads(line) for line in response]
    connection.close()
    return lines


def test_a_trace_shows_packets_both_ways(served, client, name):
    broker, admin = served
    there = client("t", to=broker)
    body = {"prefix": f"{name}-t", "seconds": 2, "payload_bytes": 10}

    def act():
        later = client("t2", "5", to=broker)
        later.subscribe("x", 1)
        there.publish_and_wait("x", b"hello", 1)
        later.take(1)
        client("other", to=broker)

    lines = lines_of_trace(admin, body, act)
    assert lines[-1]["event"] == "end" and "time" in lines[-1]["why"]
    seen = [(line["client_id"].rsplit("-", 1)[1], line["direction"], line["packet"]) for line in lines
            if "packet" in line]
    assert {("t2", "in", "CONNECT"), ("t2", "out", "CONNACK"), ("t2", "in", "SUBSCRIBE"),
            ("t2", "out", "SUBACK"), ("t2", "out", "PUBLISH"), ("t2", "in", "PUBACK"),
            ("t", "in", "PUBLISH"), ("t", "out", "PUBACK")} <= set(seen)
    assert all(who != "other" for who, _, _ in seen)
    published = [line for line in lines if line.get("packet") == "PUBLISH"]
    assert {line["payload"] for line in published} == {"hello"}


def test_a_trace_is_bounded(start, client, name):
    broker, admin = start_admin(start)
    body = {"filter": "x/#", "seconds": 60, "bytes": 1000}

    def act():
        publisher = client("p", to=broker)
        for _ in range(20):
            publisher.publish_and_wait("x/1", b"hello", 1)

    lines = lines_of_trace(admin, body, act)
    assert lines[-1]["why"] == "the size asked for is reached"
    assert 2 < len(lines) < 12 and all("payload" not in line for line in lines)
    assert change(admin, "POST", "trace", {}).status == 400
    # Whoever hangs up ends the trace: there is room for as many others again and again.
    for _ in range(20):
        connection = admin.connection()
        connection.request("POST", api("trace"), json.dumps(body), {"X-Ringmq-Request": "1"})
        assert connection.getresponse().status in (200, 503)
        connection.close()


def test_the_broker_itself(start, tmp_path):
    config = tmp_path / "ringmq.toml"
    port = free_port()
    config.write_text(f'listen = "127.0.0.1:{port}"\nqueue-messages-max = 77\n', encoding="utf-8")
    _, admin = start_admin(start, port=port, config=config)
    shown = admin.get(api("broker")).json
    assert shown["stage"] == "ready" and shown["shards"] == 2
    listeners = admin.get(api("listeners")).json["listeners"]
    assert [(one["transport"], one["certificate_until_s"]) for one in listeners] == [("tcp", None)]
    options = {one["name"]: one for one in admin.get(api("config")).json["options"]}
    assert options["queue-messages-max"] == {
        "name": "queue-messages-max", "value": "77", "origin": f"in {config}:2"}
    assert options["shards"]["origin"] == "on the command line"
    reloaded = change(admin, "POST", "reload").json
    everything = "configuration, certificates, accounts and rules"
    assert reloaded["ok"] and reloaded["reloaded"][0]["what"] == everything
    assert admin.get(api("log-level")).json == {"level": "info"}
    assert change(admin, "PUT", "log-level", {"level": "debug"}).json == {"level": "debug"}
    assert change(admin, "PUT", "log-level", {"level": "loud"}).status == 400
    lines = admin.get(api("log")).json["lines"]
    assert any("ready" in line["text"] for line in lines)
    last = lines[-1]["number"]
    assert all(line["number"] > last for line in admin.get(api(f"log?after={last}")).json["lines"])


def test_shards_and_history(served, client):
    broker, admin = served
    client("c", to=broker).publish_and_wait("a", b"x", 1)
    shards = admin.get(api("shards")).json["shards"]
    assert [one["shard"] for one in shards] == list(range(broker.shards))
    assert sum(one["connections"] for one in shards) == 1
    assert sum(one["counters"]["publications_received"] for one in shards) == 1
    until(lambda: len(admin.get(api("history")).json["samples"]) > 0, True)
    history = admin.get(api("history")).json
    assert history["latencies"] == ["delivery", "publish_ack", "connack", "turn", "commit"]
    assert len(history["samples"][0]["latencies_us"]) == 5
    last = history["samples"][-1]["time_s"]
    assert all(one["time_s"] > last for one in admin.get(api(f"history?after={last}")).json["samples"])
    latency = admin.get(api("latency")).json
    assert latency["since_start"]["publish_ack"]["count"] >= 1
    assert [one["shard"] for one in latency["shards"]] == list(range(broker.shards))
    assert history["every_s"] == 5 and "publications_received" in history["counters"]
    assert len(history["samples"][0]["counts"]) == len(history["counters"])


def test_the_page_is_whole_and_strict(start):
    _, admin = start_admin(start)
    page = admin.get("/")
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self'" in policy
    assert "http://" not in page.text and "https://" not in page.text
    for path in ["/app.js", "/plot.js", "/views.js", "/style.css"]:
        assert admin.get(path).status == 200


def test_a_reload_tells_what_is_wrong(start, tmp_path):
    rules = tmp_path / "acl"
    rules.write_text("topic read a/#\n", encoding="utf-8")
    _, admin = start_admin(start, acl_file=rules)
    rules.write_text("topic reed a/#\n", encoding="utf-8")
    answer = change(admin, "POST", "reload").json
    assert not answer["ok"] and "acl" in answer["reloaded"][0]["problem"]


def test_a_viewer_changes_nothing(start, tmp_path):
    file = tmp_path / "tokens"
    viewer, admin_token = token(file, "v"), token(file, "a", "--role", "admin")
    broker, admin = start_admin(start, admin_token_file=file)
    document = json.loads(admin.get(api("openapi.json"), token=viewer).body)
    for path, methods in document["paths"].items():
        for method in methods:
            if method != "get":
                answer = admin.request(method.upper(), path.replace("{id}", "x"), "{}", token=viewer)
                assert answer.status == 403, (method, path)
    done = admin.request("DELETE", api("bans?client=x"), token=admin_token)
    assert done.status == 404
    broker.wait_log('admin: "a"')


def test_the_description_is_valid(start):
    with open(os.path.join(ROOT, "docs", "openapi.json"), encoding="utf-8") as file:
        document = json.load(file)
    validate(document)
    _, admin = start_admin(start)
    assert admin.get(api("openapi.json")).json == document


def ctl(admin, *arguments, code=0, as_json=False):
    environment = {**os.environ, "RINGMQ_ADMIN": f"http://127.0.0.1:{admin.port}"}
    command = [BINARY, "ctl", *(["--json"] if as_json else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=environment,
                          check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout) if as_json else done.stdout + done.stderr


class Recorder(socketserver.ThreadingTCPServer):
    """Hands connections on to an admin listener, and keeps the first line of each."""

    daemon_threads = True

    def __init__(self, admin):
        self.to, self.lines = admin.port, []
        super().__init__(("127.0.0.1", 0), None)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        with socket.create_connection(("127.0.0.1", self.to)) as onward:
            data = b""
            while b"\r\n\r\n" not in data:
                data += request.recv(65536)
            length = int(re.search(rb"Content-Length: (\d+)", data)[1])
            while len(data.split(b"\r\n\r\n", 1)[1]) < length:
                data += request.recv(65536)
            self.lines.append(data.split(b" HTTP/1.1", 1)[0].decode())
            onward.sendall(data)
            while answer := onward.recv(65536):
                request.sendall(answer)

    def routes(self):
        """The operations that were asked for, as the description names them."""
        with open(os.path.join(ROOT, "docs", "openapi.json"), encoding="utf-8") as file:
            paths = json.load(file)["paths"]
        described = {(method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"}

        def template(line):
            method, target = line.split(" ")
            fit = [path for path in paths if re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), target.split("?")[0])]
            return method, fit[0]
        return described, {template(line) for line in self.lines}


def test_ctl(start, client, name):
    broker, direct = start_admin(start, sparkplug="true")
    admin = Recorder(direct)
    client("c", to=broker).subscribe("a/#", 1)
    assert "ready" in ctl(admin, "status")
    assert f"{name}-c" in ctl(admin, "clients", "--prefix", name)
    assert ctl(admin, "clients", as_json=True)["clients"][0]["client_id"] == f"{name}-c"
    assert "keep_alive_s" in ctl(admin, "client", f"{name}-c")
    assert "a/#" in ctl(admin, "match", "a/b") and "a/#" in ctl(admin, "subscriptions", "--client", f"{name}-c")
    ctl(admin, "publish", "r/1", "hello", "--retain")
    assert "hello" in ctl(admin, "retained") and "hello" in ctl(admin, "retained", "--topic", "r/1")
    ctl(admin, "retained", "--topic", "r/1", "--delete")
    assert "no retained message" in ctl(admin, "retained", "--topic", "r/1", code=1)
    trace = ctl(admin, "trace", "--client", f"{name}-c", "--seconds", "1")
    assert json.loads(trace.splitlines()[-1])["event"] == "end"
    ctl(admin, "kick", f"{name}-c", "--ban", "5")
    assert "no client" in ctl(admin, "client", f"{name}-c", code=1)
    assert f"{name}-c" in ctl(admin, "bans")
    ctl(admin, "unban", "--client", f"{name}-c")
    ctl(admin, "ban", "--user", "eve", "--minutes", "1")
    ctl(admin, "log-level", "debug")
    assert "debug" in ctl(admin, "log-level") and "accounts and rules" in ctl(admin, "reload")
    assert "admin-listen" in ctl(admin, "config", "--changed") and "tcp" in ctl(admin, "listeners")
    assert "ready" in ctl(admin, "log")
    assert ctl(admin, "shards").splitlines()[2].startswith("1 ")
    assert re.search(r"^turn +since the start +\d+ +\d+ ", ctl(admin, "latency"), re.M)
    assert ctl(admin, "history").startswith("TIME ") and "every_s" in ctl(admin, "history", "--after", "1", as_json=True)
    ctl(admin, "publish", "deep/down/one", "x", "--retain")
    ctl(admin, "publish", "deep/down/two", "x", "--retain")
    assert ctl(admin, "levels", "--below", "deep").splitlines()[1].split() == ["down", "no", "yes"]
    rows = ctl(admin, "levels", "--below", "deep/down", "--limit", "1", as_json=True)
    assert [row["name"] for row in rows["levels"]] == ["one"] and rows["next"]
    assert ctl(admin, "openapi", as_json=True)["openapi"].startswith("3.")
    node = client("node", to=broker)
    for kind, names, payload in [("NBIRTH", "n", b"\x18\0"), ("DBIRTH", "n/d", b"\x18\1"), ("NDATA", "n", b"\x18\4")]:
        node.publish_all([(f"spBv1.0/g 1/{kind}/{names}", payload, 1)])
    node.publish_all([("spBv1.0/STATE/scada", b'{"online": true, "timestamp": 7}', 1)])
    eventually(lambda: [row for row in ctl(admin, "sparkplug", as_json=True)["nodes"] if row["gaps"]])
    row = ctl(admin, "sparkplug", as_json=True)["nodes"][0]
    assert (row["group"], row["node"], row["online"], row["missing"]) == ("g 1", "n", True, 2)
    assert re.search(r"^d +online ", ctl(admin, "sparkplug", "g 1/n"), re.M)
    assert ctl(admin, "sparkplug", "--hosts").splitlines()[1].split() == ["scada", "yes", "7"]
    assert "no edge node" in ctl(admin, "sparkplug", "g/n", code=1)
    ctl(admin, "sparkplug", "n", code=2)
    # Every operation has a verb. The page's WebSocket shows what `trace --filter` does.
    described, asked = admin.routes()
    # Others are those of test_bridge_control.py and test_cluster_lanes.py.
    others = ("/api/v1/bridges", "/api/v1/cluster")
    missing = {route for route in described - asked if not route[1].startswith(others)}
    # An upgrade is that of test_upgrade.py.
    assert missing == {("GET", "/api/v1/live"), ("POST", "/api/v1/upgrade")}
    ctl(admin, "nothing", code=2)
    assert "is the broker running" in ctl(type(direct)(free_port()), "status", code=3)


def test_ctl_by_socket_and_token(start, tmp_path):
    path, file = tmp_path / "admin.sock", tmp_path / "tokens"
    secret = token(file, "v")
    start(2, admin_listen=f"unix:{path}", admin_token_file=file)
    environment = {**os.environ, "RINGMQ_TOKEN": secret, "RINGMQ_ADMIN": f"unix:{path}"}
    command = [BINARY, "ctl", "publish", "a", "b"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1 and "role admin" in done.stderr
    assert secret not in done.stderr


@pytest.mark.parametrize("method,path,body,status,sentence", [
    ("GET", "clients?cursor=2.0.0", None, 400,
     'cursor: "2.0.0" is beyond the end: the last of 2 shards has the number 1'),
    ("GET", "subscriptions?cursor=9.1.1", None, 400,
     'cursor: "9.1.1" is beyond the end: the last of 2 shards has the number 1'),
    ("GET", "retained?cursor=7:a/b", None, 400,
     'cursor: "7:a/b" is beyond the end: the last of 2 shards has the number 1'),
    ("GET", "clients?limit=1001", None, 400, "limit: 1001 is not between 1 and 1000"),
    ("POST", "trace", {"client": "c", "bytes": 1 << 40}, 400,
     "bytes: 1099511627776 is not a whole number between 1 and 268435456"),
    ("POST", "trace", {"client": "c", "seconds": 3_601}, 400, "seconds: 3601 is not a whole number between 1 and 3600"),
    ("POST", "trace", {"client": "c", "payload_bytes": 1 << 20}, 400,
     "payload_bytes: 1048576 is not a whole number between 1 and 65536"),
])
def test_bad_input_is_a_sentence(start, method, path, body, status, sentence):
    _, admin = start_admin(start, 2)
    answer = change(admin, method, path, body) if method == "POST" else admin.get(api(path))
    assert (answer.status, answer.json["detail"]) == (status, sentence)


def test_behind_the_last_row_of_the_last_shard_there_is_nothing(start, client):
    broker, admin = start_admin(start, 2)
    client("c", to=broker)
    page = admin.get(api("clients?cursor=1.4294967295.0")).json
    assert page == {"clients": [], "next": None}


def test_a_token_of_no_account_is_a_sentence(start, tmp_path):
    tokens = tmp_path / "tokens"
    token(tokens, "viewer")
    _, admin = start_admin(start, 1, host="0.0.0.0", admin_token_file=tokens)
    answer = admin.get(api("clients"), token="rmq_" + "A" * 43)
    assert (answer.status, answer.json["detail"]) == (401, "no account has this token")
    ctl = subprocess.run([BINARY, "ctl", "--admin", f"http://127.0.0.1:{admin.port}", "clients"], capture_output=True,
                         text=True, check=False, timeout=DEADLINE_S, env={**os.environ, "RINGMQ_TOKEN": "rmq_x"})
    assert (ctl.returncode, ctl.stdout, ctl.stderr) == (1, "", "ringmq ctl: no account has this token\n")


def test_a_trace_ends_at_its_size(start, client, name):
    broker, admin = start_admin(start, 2)
    one = client("c", to=broker)
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            one.publish_and_wait("a", b"x" * 100, 1)

    load = threading.Thread(target=publish)
    load.start()
    try:
        body = {"client": f"{name}-c", "bytes": 2_000, "payload_bytes": 100, "seconds": 60}
        lines = change(admin, "POST", "trace", body).text.splitlines()
    finally:
        stop.set()
        load.join()
    assert json.loads(lines[-1]) == {"event": "end", "why": "the size asked for is reached"}
    assert 1_000 < sum(len(line) + 1 for line in lines[:-1]) < 2_000 + 1_000
