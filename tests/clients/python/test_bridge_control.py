"""Bridges as operators have them: how they start and stop, return to their main address, change, and go through a proxy."""

import base64
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from admin import Admin
from bridges import at, bridging, connect, is_up, scripted, write_bridges  # noqa: F401
from broker import BINARY, START_S, free_port
from client import DEADLINE_S, eventually

pytestmark = pytest.mark.ringmq


def ctl(port, *arguments, code=0):
    environment = {**os.environ, "RINGMQ_ADMIN": f"http://127.0.0.1:{port}"}
    done = subprocess.run([BINARY, "ctl", "--json", *arguments], capture_output=True, text=True, timeout=DEADLINE_S,
                          env=environment, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout.strip() else None


def bridge(port, name):
    found = [one for one in ctl(port, "bridges")["bridges"] if one["name"] == name]
    return found[0] if found else None


def test_bridges_start_by_hand_by_messages_and_once(bridging, start):
    there, admin = start(1), free_port()
    far = connect(there, "far")
    far.subscribe("#", qos=1)
    here = bridging(
        at(there) + "start = \"manual\"\ntopics = [\"b0/# out 1\"]",
        at(there) + "start = \"lazy\"\nlazy-messages = 3\nidle-timeout = \"1s\"\ntopics = [\"b1/# out 1\"]",
        at(there) + "start = \"once\"\ntopics = [\"b2/# out 1\"]",
        more=f"admin-listen = \"127.0.0.1:{admin}\"",
    )
    is_up(here, "b2")
    near = connect(here, "near")
    near.publish_all([("b0/1", b"", 1), ("b1/1", b"", 1), ("b1/2", b"", 1)])
    states = {one["name"]: (one["state"], one["connects"], one["queue_messages"]) for one in
              ctl(admin, "bridges")["bridges"]}
    assert states == {"b0": ("stopped", 0, 1), "b1": ("idle", 0, 2), "b2": ("up", 1, 0)}
    # By hand: it carries what has waited, and stops in the same way.
    ctl(admin, "bridge", "b0", "start")
    assert far.next().topic == "b0/1"
    ctl(admin, "bridge", "b0", "stop")
    eventually(lambda: bridge(admin, "b0")["state"] == "stopped")
    near.publish_all([("b0/2", b"", 1)])
    ctl(admin, "bridge", "b0", "start")
    assert far.next().topic == "b0/2"
    # By messages, until none comes any more.
    near.publish_all([("b1/3", b"", 1)])
    assert [far.next().topic for _ in range(3)] == ["b1/1", "b1/2", "b1/3"]
    here.wait_line("bridge b1:", "it waits for messages")
    eventually(lambda: bridge(admin, "b1")["state"] == "idle")
    # Once, and by hand after that.
    ctl(admin, "bridge", "b2", "stop")
    eventually(lambda: bridge(admin, "b2")["state"] == "stopped")
    ctl(admin, "bridge", "b2", "start")
    is_up(here, "b2", times=2)
    ctl(admin, "bridge", "nowhere", "stop", code=1)
    near.close()
    far.close()


def test_a_bridge_that_starts_once_is_not_tried_again(bridging, scripted):
    there = scripted(b"\x20\x02\x00\x00\xff\xff")  # accepted, and then garbage
    here = bridging(at(there) + "version = \"3.1.1\"\nstart = \"once\"\ntopics = [\"t/# out 1\"]")
    here.wait_line("bridge b0:", "it is not tried again (start = \"once\")")


def test_a_bridge_returns_to_its_main_address(bridging, start):
    standby, port = start(1), free_port()
    here = bridging(
        f"addresses = [\"127.0.0.1:{port}\", \"127.0.0.1:{standby.port}\"]\nprimary-check = \"1s\"\n"
        "topics = [\"t/# out 1\"]"
    )
    here.wait_line(f"bridge b0: connected to 127.0.0.1:{standby.port}")
    main = start(1, port=port)
    far = connect(main, "far")
    far.subscribe("t/#", qos=1)
    here.wait_line("bridge b0:", "back to it")
    here.wait_line(f"bridge b0: connected to 127.0.0.1:{port}")
    near = connect(here, "near")
    near.publish_all([("t/1", b"x", 1)])
    assert far.next().payload == b"x"
    near.close()
    far.close()


def test_a_reload_changes_those_bridges_that_have_changed(bridging, start, tmp_path):
    there, admin, port = start(1), free_port(), free_port()
    more = f"admin-listen = \"127.0.0.1:{admin}\""
    stays = at(there) + "topics = [\"b0/# both 1\"]"
    here = bridging(
        stays,
        at(there) + "topics = [\"old/in in 1\", \"old/out out 1\", \"both/# both 1\"]",
        at(there) + "client-id = \"gone\"\ntopics = [\"b2/# both 1\"]",
        more=more, port=port, data_dir=tmp_path / "data",
    )
    for number in range(3):
        is_up(here, f"b{number}")
    near, far = connect(here, "near"), connect(there, "far")
    near.subscribe("#", qos=1)
    far.subscribe("#", qos=1)
    tables = [stays, at(there) + "topics = [\"new/in in 1\", \"new/out out 1\", \"both/# both 1\"]"]
    write_bridges(tmp_path / "bridging-1.toml", port, tables, more)
    ctl(admin, "reload")
    is_up(here, "b1", times=2)
    here.wait_line("bridge b2: removed")
    assert [one["name"] for one in ctl(admin, "bridges")["bridges"]] == ["b0", "b1"]
    ids = {one["client_id"] for one in ctl(admin, "clients")["clients"]}
    assert "bridge.b1" in ids and "bridge.b2" not in ids
    assert here.log().count("bridge b0: up") == 1, "it was left alone"
    # Filters of before are given up on both sides: what comes of them is not even seen.
    near.publish_all([("old/out", b"", 1), ("new/out", b"", 1), ("b0/end", b"", 1)])
    assert sorted([far.next().topic, far.next().topic]) == ["b0/end", "new/out"]
    far.publish_all([("old/in", b"", 1), ("new/in", b"", 1)])
    assert "new/in" in [near.next().topic for _ in range(4)]
    assert sum(bridge(admin, "b1")["dropped"].values()) == 0
    near.close()
    far.close()


def test_a_bridge_has_a_queue_and_a_pace_of_its_own(bridging, start):
    there, admin = start(1), free_port()
    far = connect(there, "far")
    far.subscribe("#", qos=1)
    here = bridging(
        at(there) + "start = \"manual\"\nqueue-messages-max = 3\nqueue-policy = \"drop-newest\"\ntopics = [\"b0 out 1\"]",
        at(there) + "messages-per-s = 50\ntopics = [\"b1 out 1\"]",
        more=f"admin-listen = \"127.0.0.1:{admin}\"",
    )
    is_up(here, "b1")
    near = connect(here, "near")
    near.publish_all([("b0", str(n).encode(), 1) for n in range(5)])
    assert bridge(admin, "b0")["queue_messages"] == 3
    assert "queue-messages-max (3)" in here.wait_line("messages dropped", "bridge.b0")
    ctl(admin, "bridge", "b0", "start")
    assert far.payloads(3) == [b"0", b"1", b"2"]
    began = time.monotonic()
    near.publish_all([("b1", str(n).encode(), 1) for n in range(25)])
    assert far.payloads(25) == [str(n).encode() for n in range(25)]
    assert time.monotonic() - began >= 0.3, "5 at once, and then one in 20 ms"
    near.close()
    far.close()


class Proxy:
    """An HTTP proxy that knows CONNECT, and one login."""

    def __init__(self, login):
        self.login = "Basic " + base64.b64encode(login.encode()).decode()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.targets = self.socket.getsockname()[1], []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._open, args=(near,), daemon=True).start()

    def _open(self, near):
        head = b""
        while b"\r\n\r\n" not in head:
            data = near.recv(4096)
            if not data:
                return
            head += data
        if self.login not in head.decode():
            near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            near.close()
            return
        target = head.split()[1].decode()
        self.targets.append(target)
        host, port = target.rsplit(":", 1)
        try:
            far = socket.create_connection((host, int(port)), START_S)
        except OSError:
            near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            near.close()
            return
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self._carry, args=(far, near), daemon=True).start()
        self._carry(near, far)

    @staticmethod
    def _carry(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_bridge_through_a_proxy(bridging, start, tmp_path):
    there, proxy = start(1), Proxy("user:secret")
    (tmp_path / "password").write_text("secret\n")
    through = f"proxy = \"127.0.0.1:{proxy.port}\"\n"
    login = f"proxy-user = \"user\"\nproxy-password-file = \"{tmp_path}/password\"\n"
    here = bridging(
        at(there) + through + login + "topics = [\"b0/# both 2\"]",
        at(there) + through + "client-id = \"other\"\ntopics = [\"b1/# out 1\"]",
        at(there) + f"proxy = \"127.0.0.1:{free_port()}\"\nclient-id = \"third\"\ntopics = [\"b2/# out 1\"]",
    )
    is_up(here)
    near, far = connect(here, "near"), connect(there, "far")
    near.subscribe("b0/#", qos=2)
    far.subscribe("b0/#", qos=2)
    near.publish_all([("b0/1", bytes(100_000), 2)])
    assert (near.next().topic, far.next().payload) == ("b0/1", bytes(100_000))
    far.publish_all([("b0/2", b"x", 2)])
    assert near.next().payload == b"x"
    assert set(proxy.targets) == {f"127.0.0.1:{there.port}"}
    here.wait_line("bridge b1:", "the proxy: it wants a login (407)")
    here.wait_line("bridge b2:", "the proxy 127.0.0.1:", "Connection refused")
    near.close()
    far.close()


def test_the_main_address_is_looked_at_through_the_proxy(bridging, start, tmp_path):
    standby, port, proxy = start(1), free_port(), Proxy("user:secret")
    (tmp_path / "password").write_text("secret\n")
    main = f"127.0.0.1:{port}"
    here = bridging(
        f"addresses = [\"{main}\", \"127.0.0.1:{standby.port}\"]\nprimary-check = \"1s\"\n"
        f"proxy = \"127.0.0.1:{proxy.port}\"\nproxy-user = \"user\"\n"
        f"proxy-password-file = \"{tmp_path}/password\"\ntopics = [\"t/# out 1\"]"
    )
    here.wait_line(f"bridge b0: connected to 127.0.0.1:{standby.port}")
    # The proxy takes the connection, and there is nothing behind it.
    eventually(lambda: proxy.targets.count(main) >= 3)
    assert "back to it" not in here.log() and "bridge b0:" in here.log()
    start(1, port=port)
    here.wait_line("bridge b0:", "back to it")
    here.wait_line(f"bridge b0: connected to {main}")


def state_kept(broker, name):
    """What is retained of a bridge's state, by a subscription that is answered behind it."""
    late = connect(broker, "late-state")
    late.subscribe(f"$SYS/broker/connection/{name}/state", qos=1)
    late.subscribe("end", qos=1)
    late.publish_all([("end", b"", 1)])
    got = [message.payload for message in late.until("end")]
    late.close()
    return got


def test_nothing_stays_of_the_state_of_a_bridge_that_is_removed(bridging, start):
    there, port = start(1), free_port()
    tables = [at(there) + f"client-id = \"{name}\"\ntopics = [\"{name}/# out 1\"]" for name in ("stays", "goes", "moves")]
    here = bridging(*tables, port=port, shards=2)
    for number in range(3):
        is_up(here, f"b{number}")
    watcher = connect(here, "watcher")
    watcher.subscribe("$SYS/broker/connection/+/state", qos=1)
    assert [message.payload for message in watcher.take(3)] == [b"1"] * 3
    config = next(iter(here.process.args[at + 1] for at, one in enumerate(here.process.args) if one == "--config"))
    text = open(config, encoding="utf-8").read().split("[[bridge]]\n")
    with open(config, "w", encoding="utf-8") as file:
        file.write("[[bridge]]\n".join([text[0], text[1], text[3].replace("\"moves\"", "\"moved\"")]))
    here.send_signal(signal.SIGHUP)
    # Who watches learns that it is down, and then that there is nothing any more.
    seen = {}
    while seen.get("goes", [])[-1:] != [b""] or seen.get("moves", [])[-1:] != [b""] or seen.get("moved", [])[-1:] != [b"1"]:
        message = watcher.next()
        seen.setdefault(message.topic.split("/")[3], []).append(message.payload)
    assert seen["goes"][0] == seen["moves"][0] == b"0" and "stays" not in seen
    assert {name: state_kept(here, name) for name in ("stays", "goes", "moves", "moved")} == {
        "stays": [b"1"], "goes": [], "moves": [], "moved": [b"1"]}
    watcher.close()


def test_what_is_published_once_the_broker_is_ready_waits_for_its_bridges(bridging):
    """Also for those that are not started, and have no session of an earlier process."""
    admin, names = free_port(), range(30)
    tables = [f"addresses = [\"127.0.0.1:1\"]\nstart = \"manual\"\ntopics = [\"up/{name} out 1\"]" for name in names]
    here = bridging(*tables, shards=2, more=f"admin-listen = \"127.0.0.1:{admin}\"")
    near = connect(here, "near")
    near.publish_all([(f"up/{name}", b"", 1) for name in names])
    assert [one["queue_messages"] for one in ctl(admin, "bridges")["bridges"]] == [1] * len(names)
    near.close()


def test_publishers_wait_for_a_full_bridge_where_the_operator_wants_it(bridging, start):
    there, admin, count = start(1), free_port(), 300
    here = bridging(
        at(there) + "start = \"manual\"\nqueue-policy = \"block\"\nqueue-messages-max = 50\n"
        "topics = [\"up/# both 1\"]",
        shards=4, more=f"admin-listen = \"127.0.0.1:{admin}\"",
    )
    far, near, other = connect(there, "far"), connect(here, "near"), connect(here, "other")
    far.subscribe("up/#", qos=1)
    # How long the broker runs is not how long a message waits.
    eventually(lambda: Admin(admin).get("/api/v1/broker").json["uptime_s"] >= 3)
    began = time.monotonic()
    mids = [near.publish(f"up/{n % 3}", str(n).encode(), 1) for n in range(count)]
    here.wait_line("bridge.b0", "its queue is full: who publishes to its topics waits")
    other.publish_all([("elsewhere", b"", 1), ("up/0", b"dropped", 0)])
    # What was under way when it was full is in it, too; the rest is at its publisher.
    assert 50 <= bridge(admin, "b0")["queue_messages"] < count
    eventually(lambda: bridge(admin, "b0")["lag_ms"] >= 1_500)
    lag = bridge(admin, "b0")["lag_ms"]
    assert lag <= (time.monotonic() - began) * 1_000 + 1_000  # at most a second too much
    ctl(admin, "bridge", "b0", "start")
    for mid in mids:
        near._wait_ack(("p", mid))
    got = [int(payload) for payload in far.payloads(count)]
    assert sorted(got) == list(range(count))
    assert bridge(admin, "b0")["lag_ms"] == 0
    assert [n for n in got if n % 3 == 0] == list(range(0, count, 3))  # of one topic
    # What comes in does not wait, so nothing stands still.
    near.subscribe("up/#", qos=1)
    far.publish_all([("up/in", b"in", 1)])
    assert near.next().payload == b"in"
    for client in (far, near, other):
        client.close()
