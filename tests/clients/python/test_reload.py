"""SIGHUP reads everything again: what can change does, what cannot is named, and a mistake changes nothing."""

import os
import re
import signal
import socket
import time

import pytest

import raw as mqtt
from admin import Admin, token
from broker import free_port
from client import eventually
from test_accounts import log_in, passwd
from test_hooks import Service as HookService
from test_hooks import publish
from test_service import START_S, Service
from test_sys import ROOT, tree

pytestmark = pytest.mark.ringmq


class Live(Service):
    """A broker whose file is written anew."""

    def __init__(self, folder, text):
        super().__init__(folder, text)
        self.path = folder / "ringmq.toml"
        self.wait_log("INFO ready")

    def reload(self, text, said):
        """Writes the file and waits for a line; returns what was logged."""
        since = len(self.log())
        self.path.write_text(text, encoding="utf-8")
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + START_S
        while said not in self.log()[since:]:
            assert time.monotonic() < end and self.process.poll() is None, self.log()
            time.sleep(0.01)
        return self.log()[since:]


@pytest.fixture
def live(tmp_path):
    running = []

    def run(text):
        running.append(Live(tmp_path, text))
        return running[-1]

    yield run
    for one in running:
        one.close()


APPLIED, REFUSED = "were read again", "nothing has changed: the old values stay in force"


class At:
    def __init__(self, port):
        self.port = port


def connected(port, version=5, client_id="c"):
    raw = mqtt.Raw(At(port), version)
    raw.connect(client_id)
    return raw


def refused(port):
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 2).close()


def test_a_listener_has_accounts_and_rules_of_its_own(live, tmp_path):
    """They hold for the session while its client is away, after a kill and after a reload."""
    plain, own = free_port(), free_port()
    acl, accounts = tmp_path / "acl", tmp_path / "passwd"
    passwd("-c", "-b", "--rounds", 100, accounts, "ann", "one")
    acl.write_text("user ann\ntopic readwrite a/#\n", encoding="utf-8")
    text = (f'listen = "127.0.0.1:{plain}"\ndata-dir = "{tmp_path}/data"\nacl-check-delivery = true\n'
            f'[[listener]]\naddress = "127.0.0.1:{own}"\npassword-file = "{accounts}"\nacl-file = "{acl}"\n')
    service = live(text)

    def ann(code=0):
        raw = mqtt.Raw(At(own), 4)
        raw.send(mqtt.connect("away", clean=False, login=("ann", "one")))
        assert raw.expect(0x20)[1] == code
        return raw

    refused_one = mqtt.Raw(At(own), 4)
    refused_one.send(mqtt.connect("nobody"))
    assert refused_one.expect(0x20)[1] == 5, "its accounts are asked"
    away = ann()
    assert away.subscribe(("a/b", 1), ("b", 1)) == b"\1\x80"
    assert away.subscribe(("+/b", 1), packet_id=2) == b"\1", "each delivery is checked"
    away.close()
    everybody = connected(plain)
    assert everybody.subscribe(("b", 0)) == b"\0", "without rules"

    def published(expected):
        """What of these arrives at the client that was away, by its own rules."""
        publisher = connected(plain, 4, "p")
        for packet_id, topic in enumerate(["a/b", "c/b", "a/b"], 1):
            publisher.send(mqtt.publish(topic, b"%d" % packet_id, 1, packet_id))
            publisher.expect(0x40)
        back = ann()
        received = []
        while len(received) < len(expected):
            one = back.expect_publish()
            back.send(mqtt.ack(0x40, one.packet_id))
            if not one.dup:  # of before the kill, which may have been acknowledged in vain
                received.append(one.payload)
        assert received == expected
        back.ping()  # and nothing else
        back.close()

    published([b"1", b"3"])
    service.process.kill()
    service.process.wait()
    service = live(text)
    eventually(lambda: service.log().count("INFO ready") == 2)
    published([b"1", b"3"])
    # Other rules end what they do not allow, for its clients alone.
    everybody = connected(plain)
    everybody.subscribe(("b", 0))
    acl.write_text("user ann\ntopic readwrite c/#\n", encoding="utf-8")
    service.reload(text, APPLIED)
    published([b"2"])
    everybody.ping()


def test_listeners_come_and_go_and_connections_of_others_stay(live, tmp_path):
    first, second, third = free_port(), free_port(), free_port()
    path = tmp_path / "socket"
    service = live(f'listen = ["127.0.0.1:{first}", "127.0.0.1:{second}"]\n')
    stays, goes = connected(first, client_id="stays"), connected(second, client_id="goes")
    log = service.reload(f'listen = ["127.0.0.1:{first}", "127.0.0.1:{third}"]\n'
                         f'[[listener]]\naddress = "unix:{path}"\n', APPLIED)
    assert f"listening on 127.0.0.1:{third}" in log and f"no longer listening on 127.0.0.1:{second}" in log
    # Connections stay, those of the listener that has gone, too.
    stays.ping()
    goes.ping()
    for index in range(8):  # on each shard
        connected(third, client_id=f"new{index}").ping()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(str(path))
    refused(second)
    goes.close()
    # Back again, and the Unix socket gone with its file.
    service.reload(f'listen = ["127.0.0.1:{first}", "127.0.0.1:{second}"]\n', APPLIED)
    assert not path.exists()
    for index in range(8):
        connected(second, client_id=f"again{index}").ping()
    refused(third)
    stays.ping()


def test_a_mistake_anywhere_changes_nothing(live, tmp_path):
    port, other, taken = free_port(), free_port(), free_port()
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite a\n", encoding="utf-8")
    begin = f'listen = "127.0.0.1:{port}"\nacl-file = "{acl}"\n'
    service = live(begin)
    client = connected(port)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", taken))
        holder.listen()
        mistakes = {
            "colour: no such option": begin + "colour = 1\n",
            "shards: 0 is too small": begin + "shards = 0\n",
            "cannot be read": begin + f'[[listener]]\naddress = "127.0.0.1:{other}"\ntransport = "tls"\n'
                                      f'tls-certificate = "{tmp_path}/none"\ntls-key = "{tmp_path}/none"\n',
            f"cannot listen on 127.0.0.1:{taken}": begin + f'[[listener]]\naddress = "127.0.0.1:{other}"\n'
                                                           f'[[listener]]\naddress = "127.0.0.1:{taken}"\n',
        }
        for said, text in mistakes.items():
            acl.write_text("topic readwrite b\n", encoding="utf-8")
            assert said in service.reload(text, REFUSED), said
            assert client.subscribe(("a", 0)) == b"\0" and client.subscribe(("b", 0), packet_id=2) == b"\x87"
            refused(other)
    # Without a mistake the rules of before end what they do not allow.
    service.reload(begin, APPLIED)
    assert [body[0] for first, body in client.expect_end() if first == 0xE0] == [0x98]
    assert connected(port).subscribe(("b", 0)) == b"\0"


def test_limits_levels_and_accounts_change_and_a_restart_is_named(live, tmp_path):
    port = free_port()
    begin = f'listen = "127.0.0.1:{port}"\n'
    service = live(begin + "topic-levels-max = 2\nconnections-max = 100\n")
    client = connected(port)
    assert client.subscribe(("a/b/c", 0)) == b"\x8f"
    log = service.reload(begin + 'topic-levels-max = 3\nconnections-max = 1\nlog-level = "debug"\nshards = 1\n', APPLIED)
    assert "reload: topic-levels-max: 3, 2 before" in log
    assert "reload: shards stays" not in log  # the command line overrides the file
    assert client.subscribe(("a/b/c", 0), packet_id=2) == b"\0"
    # One connection is open, and one is allowed.
    with socket.create_connection(("127.0.0.1", port), START_S) as late:
        late.settimeout(START_S)
        assert late.recv(1) == b""
    # Accounts where there were none: threads that judge logins begin to run.
    accounts = tmp_path / "passwd"
    passwd("-b", "-c", "--rounds", 100, accounts, "ann", "one")
    log = service.reload(begin + f'password-file = "{accounts}"\nlogin-queue-max = 7\nlog-level = "debug"\n', APPLIED)
    assert "WARN reload: login-queue-max stays 1000: 7 needs a restart" in log
    assert log_in(At(port), "c1", "ann", "one", 5)[1] == 0
    assert log_in(At(port), "c2", "ann", "two", 5)[1] == 0x86
    with pytest.raises(AssertionError):
        connected(port)
    service.wait_log("DEBUG")


def test_hooks_come_change_and_go(live):
    port = free_port()
    begin = f'listen = "127.0.0.1:{port}"\n'
    first, second = HookService(), HookService()
    try:
        service = live(begin)
        before = connected(port, client_id="before")
        hooks = begin + 'http-hook-url = "{}"\nhttp-hook-acl-url = "{}"\nhttp-hook-cache = 0\n'
        service.reload(hooks.format(first.login, first.rules), APPLIED)
        one, code = log_in(At(port), "c1", "eve", "letmein", 5)
        assert code == 0 and log_in(At(port), "c2", "eve", "wrong", 5)[1] == 0x86
        assert [publish(one, topic) for topic in ["yes", "no"]] == [0x10, 0x87]
        asked = len(first.asked)
        # Who is connected is asked about, too.
        assert publish(before, "no") == 0x87 and len(first.asked) == asked + 1
        asked = len(first.asked)
        service.reload(hooks.format(second.login, second.rules), APPLIED)
        one, code = log_in(At(port), "c3", "eve", "letmein", 5)
        assert code == 0 and publish(one, "no") == 0x87
        assert len(first.asked) == asked and len(second.asked) == 2
        service.reload(begin, APPLIED)
        assert publish(connected(port, client_id="c4"), "no") == 0x10
        assert len(second.asked) == 2
    finally:
        first.close()
        second.close()


def test_who_was_granted_something_keeps_it_and_who_comes_gets_the_new(live):
    port = free_port()
    begin = f'listen = "127.0.0.1:{port}"\n'
    service = live(begin + "receive-maximum = 3\ntopic-alias-maximum = 5\n")
    before = mqtt.Raw(At(port), 5)
    before.send(mqtt.connect("before", 5))
    assert b"\x21\0\3" in before.expect(0x20)
    log = service.reload(begin + "receive-maximum = 1\ntopic-alias-maximum = 2\n", APPLIED)
    assert "receive-maximum: 1 for new connections, 3 before" in log
    after = mqtt.Raw(At(port), 5)
    after.send(mqtt.connect("after", 5))
    granted = after.expect(0x20)
    assert b"\x21\0\1" in granted and b"\x22\0\2" in granted

    def three(one):
        """Three that are not released, and a topic alias of 5."""
        return [mqtt.publish("t", b"x", 2, n, version=5) for n in (1, 2, 3)] + [
            mqtt.publish("a", b"x", 0, version=5, properties=b"\x23\0\5")]

    before.send(*three(before))
    assert [before.receive()[0] for _ in range(3)] == [0x50] * 3
    before.ping()
    after.send(*three(after))
    ended = after.expect_end()
    assert ended[-1][0] == 0xE0 and ended[-1][1][0] == 0x93  # Receive Maximum exceeded


def test_the_tree_of_the_broker_follows_its_interval(live):
    port = free_port()
    begin = f'listen = "127.0.0.1:{port}"\n'
    service = live(begin + "sys-interval = 0\n")
    assert tree(port) == {}
    service.reload(begin + "sys-interval = 1\n", APPLIED)
    eventually(lambda: ROOT + "uptime" in tree(port))
    service.reload(begin + "sys-interval = 0\n", APPLIED)
    eventually(lambda: tree(port) == {})


def test_the_admin_listener_is_reloaded_whole_or_not_at_all(live, tmp_path):
    port, first, second, taken = (free_port() for _ in range(4))
    tokens, path = tmp_path / "tokens", tmp_path / "admin.sock"
    begin = f'listen = "127.0.0.1:{port}"\n'
    service = live(begin)
    refused(first)
    secret = token(tokens, "one")
    listening = begin + f'admin-listen = ["127.0.0.1:{first}", "unix:{path}"]\nadmin-token-file = "{tokens}"\n'
    service.reload(listening, APPLIED)
    admin = Admin(first)
    assert admin.get("/api/v1/broker", token=secret).json["role"] == "viewer"
    assert Admin(path=str(path)).get("/healthz").status == 200
    shown = {one["name"]: one for one in admin.get("/api/v1/config").json["options"]}
    assert shown["admin-token-file"] == {
        "name": "admin-token-file", "value": f'"{tokens}"', "origin": f"in {service.path}:3"}
    assert shown["shards"]["value"] == "2"
    # Each mistake is named, and nothing of the same file is taken.
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", taken))
        holder.listen()
        busy = f'admin-listen = ["unix:{path}2", "127.0.0.1:{taken}"]\ntopic-levels-max = 9\n'
        log = service.reload(begin + busy, REFUSED)
        assert f"cannot listen on 127.0.0.1:{taken}" in log and not os.path.exists(f"{path}2")
    good = tokens.read_text(encoding="utf-8")
    tokens.write_text(good + "nonsense\n", encoding="utf-8")
    service.path.write_text(listening, encoding="utf-8")
    answer = admin.request("POST", "/api/v1/reload", "{}", X_Ringmq_Request="1").json
    assert not answer["ok"] and f"{tokens}:2: " in answer["reloaded"][0]["problem"]
    assert admin.get("/api/v1/broker", token=secret).status == 200
    # What needs a restart is marked, and is shown with the value in force.
    tokens.write_text(good, encoding="utf-8")
    other = listening.replace(str(first), str(second)) + "login-queue-max = 9\ntopic-levels-max = 9\n"
    service.path.write_text(other, encoding="utf-8")
    answer = admin.request("POST", "/api/v1/reload", "{}", X_Ringmq_Request="1").json
    marked = {one["what"].split(":")[0]: one["needs_restart"] for one in answer["reloaded"]}
    assert answer["ok"] and marked["login-queue-max stays 1000"] and not marked["topic-levels-max"]
    refused(first)
    shown = {one["name"]: one for one in Admin(second).get("/api/v1/config").json["options"]}
    assert (shown["login-queue-max"]["value"], shown["login-queue-max"]["origin"]) == ("1000", "default")
    assert (shown["topic-levels-max"]["value"], shown["topic-levels-max"]["origin"]) == ("9", f"in {service.path}:5")
    log = service.reload(begin, APPLIED)
    assert re.search(r"no longer an admin listener on unix:", log) and not path.exists()


def test_files_of_the_admin_listener_are_watched_when_a_reload_says_so(live, tmp_path):
    port, admin_port = free_port(), free_port()
    tokens = tmp_path / "tokens"
    token(tokens, "one")
    begin = f'listen = "127.0.0.1:{port}"\nadmin-listen = ["127.0.0.1:{admin_port}"]\nadmin-token-file = "{tokens}"\n'
    service = live(begin)
    service.reload(begin + "watch-files = true\n", APPLIED)
    secret = token(tokens, "two")
    eventually(lambda: service.log().count(APPLIED) == 2)  # not by asking: wrong tokens ban an address
    assert "a file has changed" in service.log()
    assert Admin(admin_port).get("/api/v1/broker", token=secret).status == 200
