"""Over from Mosquitto: one configuration, both brokers, the same answers to the same clients."""

import os
import shutil
import subprocess
import time

import pytest

import raw as mqtt
from authority import Authority
from broker import BINARY, free_port
from test_accounts import log_in
from test_reload import At
from test_service import START_S

pytestmark = pytest.mark.ringmq

MOSQUITTO = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
PASSWD = shutil.which("mosquitto_passwd")

ACL = """# who brings no name
topic read public/#

user ann
topic readwrite home/#
topic deny home/secret

user bob
topic read home/+/state
topic write bob/%%

pattern readwrite devices/%u/#
""".replace("topic write bob/%%\n", "topic write bob/#\n")

# Who, with what password, publishes where, and whether a subscriber that may read all sees it.
PUBLISHED = [
    ("ann", "o n:e", "home/lamp/state"), ("ann", "o n:e", "home/secret"), ("ann", "o n:e", "bob/x"),
    ("ann", "wrong", "home/lamp/state"), ("bob", "two", "home/lamp/state"), ("bob", "two", "bob/x"),
    ("bob", "two", "devices/bob/a"), ("bob", "two", "devices/ann/a"), (None, None, "public/x"),
    ("eve", "two", "bob/x"),
]


def import_of(folder, conf):
    made = folder / "ringmq.toml"
    done = subprocess.run([BINARY, "import", str(conf), "-o", str(made)], capture_output=True, text=True, check=False)
    return done, made


def start(command, port, log):
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    end = time.monotonic() + START_S
    while True:
        probe = subprocess.run(["mosquitto_pub", "-p", str(port), "-u", "root", "-P", "all", "-t", "probe", "-m", "x"],
                               capture_output=True, check=False)
        if probe.returncode == 0:
            return process
        assert process.poll() is None and time.monotonic() < end, "the broker does not come up"


def by_password(port):
    """Arguments of mosquitto_pub, and the topic, for each publication."""
    for user, password, topic in PUBLISHED:
        yield ["-p", str(port), *(["-u", user, "-P", password] if user else [])], topic


def outcomes(port, published):
    """What each client is answered, and which of its publications arrive."""
    watch, code = log_in(At(port), "watch", "root", "all")
    assert code == 0 and watch.subscribe(("#", 1)) == b"\1"
    codes = []
    end = (["-p", str(port), "-u", "root", "-P", "all"], "end")
    for index, (arguments, topic) in enumerate([*published, end]):
        done = subprocess.run(["mosquitto_pub", *arguments, "-q", "1", "-t", topic, "-m", str(index)],
                              capture_output=True, check=False)
        codes.append(done.returncode != 0)
    arrived = []
    while not arrived or arrived[-1][0] != "end":
        received = watch.expect_publish()
        arrived.append((received.topic, received.payload))
    watch.close()
    return codes, arrived


def in_both(tmp_path, conf, port, published):
    """Outcomes with Mosquitto, and with what the import makes of its configuration."""
    for path in tmp_path.rglob("*"):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    done, made = import_of(tmp_path, conf)
    assert done.returncode == 0, done.stderr
    both = []
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        for command in [[MOSQUITTO, "-c", conf], [BINARY, "--config", made, "--shards", "2"]]:
            process = start(command, port, log)
            try:
                both.append(outcomes(port, published))
            finally:
                process.kill()
                process.wait()
    assert both[0] == both[1]
    return both[1]


def accounts_and_rules(tmp_path):
    accounts = tmp_path / "passwd"
    for user, password in [("ann", "o n:e"), ("bob", "two"), ("root", "all")]:
        create = [] if accounts.exists() else ["-c"]
        subprocess.run([PASSWD, *create, "-b", accounts, user, password], check=True)
    (tmp_path / "acl").write_text(ACL + "\nuser root\ntopic readwrite #\n", encoding="utf-8")
    return f"password_file {accounts}\nacl_file {tmp_path}/acl\n"


@pytest.mark.skipif(not (MOSQUITTO and PASSWD), reason="mosquitto is not installed")
def test_the_same_passwords_and_rules_count_in_both_brokers(tmp_path):
    """As a home has it: its own lines in a folder that is included."""
    port = free_port()
    os.chmod(tmp_path, 0o755)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "local.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\nmax_queued_messages 0\n{accounts_and_rules(tmp_path)}"
        f"\nlistener {free_port()} 127.0.0.1\nprotocol websockets\n", encoding="utf-8")
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"user root\nper_listener_settings false\npersistence false\ninclude_dir {tmp_path}/conf.d\n",
                    encoding="utf-8")
    codes, arrived = in_both(tmp_path, conf, port, list(by_password(port)))
    assert codes[3] and codes[8] and codes[9], "a wrong password, nobody, and somebody unknown are refused"
    assert ("home/lamp/state", b"0") in arrived and ("home/secret", b"1") not in arrived


@pytest.mark.skipif(not (MOSQUITTO and PASSWD), reason="mosquitto is not installed")
def test_the_same_certificates_let_in_and_name_their_owners_in_both_brokers(tmp_path):
    port, tls = free_port(), free_port()
    os.chmod(tmp_path, 0o755)
    own, strange = Authority(tmp_path / "own"), Authority(tmp_path / "strange")
    certificate, key = own.sign("server")
    own.sign("revoked")
    own.revoke("revoked")
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"user root\n{accounts_and_rules(tmp_path)}listener {port} 127.0.0.1\n"
                    f"listener {tls} 127.0.0.1\ncafile {own.ca}\ncertfile {certificate}\nkeyfile {key}\n"
                    f"crlfile {own.revocation_list()}\nrequire_certificate true\nuse_identity_as_username true\n",
                    encoding="utf-8")
    common = ["-p", str(tls), "-h", "localhost", "--cafile", own.ca]

    def of(authority, name):
        if not os.path.exists(authority.path(f"{name}.pem")):
            authority.sign(name)
        return [*common, "--cert", authority.path(f"{name}.pem"), "--key", authority.path(f"{name}.key")]

    published = [(of(own, user), topic) for user, _, topic in PUBLISHED if user]
    published += [(common, "home/a"), (of(strange, "ann"), "home/a"), (of(own, "revoked"), "home/a"),
                  ([*of(own, "bob"), "-u", "ann"], "home/lamp/state")]
    codes, arrived = in_both(tmp_path, conf, port, published)
    assert codes[-5:] == [True, True, True, False, False] and not any(codes[:9])
    assert ("home/lamp/state", b"0") in arrived and ("bob/x", b"5") in arrived
    assert len(published) == 13 and not any(payload == b"12" for _, payload in arrived), "bob is bob"


@pytest.mark.skipif(not (MOSQUITTO and PASSWD), reason="mosquitto is not installed")
def test_each_listener_keeps_its_own_accounts_and_rules_in_both_brokers(tmp_path):
    port, open_to_all = free_port(), free_port()
    os.chmod(tmp_path, 0o755)
    conf, rules = tmp_path / "mosquitto.conf", tmp_path / "acl"
    conf.write_text(f"user root\nper_listener_settings true\nlistener {port} 127.0.0.1\nallow_anonymous false\n"
                    f"{accounts_and_rules(tmp_path)}listener {open_to_all} 127.0.0.1\nallow_anonymous true\n"
                    f"acl_file {rules}\n", encoding="utf-8")
    rules.write_text("topic write sensors/#\n" + rules.read_text(encoding="utf-8"), encoding="utf-8")
    other = ["-p", str(open_to_all)]
    published = [*by_password(port), (other, "sensors/a"), (other, "home/lamp/state")]
    published += [(["-p", str(port), "-u", "ann", "-P", "o n:e"], "sensors/a"), (["-p", str(port)], "sensors/a")]
    codes, arrived = in_both(tmp_path, conf, port, published)
    assert codes[13] and not codes[10], "nobody is let in by one listener, and everybody by the other"
    assert [payload for topic, payload in arrived if topic == "sensors/a"] == [b"10"]
    assert [payload for topic, payload in arrived if topic == "home/lamp/state"] == [b"0"]


@pytest.mark.skipif(not (MOSQUITTO and PASSWD), reason="mosquitto is not installed")
def test_two_listeners_with_files_of_their_own_in_both_brokers(tmp_path):
    """The same user has another password and other rights at the other door."""
    port, other = free_port(), free_port()
    os.chmod(tmp_path, 0o755)
    conf, rules, guests = tmp_path / "mosquitto.conf", tmp_path / "guests.acl", tmp_path / "guests.passwords"
    subprocess.run([PASSWD, "-b", "-c", guests, "ann", "guest"], check=True, capture_output=True)
    rules.write_text("user ann\ntopic write guests/#\n", encoding="utf-8")
    for file in (rules, guests):
        os.chmod(file, 0o644)
    conf.write_text(f"user root\nper_listener_settings true\nlistener {port} 127.0.0.1\nallow_anonymous false\n"
                    f"{accounts_and_rules(tmp_path)}listener {other} 127.0.0.1\nallow_anonymous false\n"
                    f"password_file {guests}\nacl_file {rules}\n", encoding="utf-8")
    at_home, as_guest = (["-p", str(port), "-u", "ann", "-P", "o n:e"], ["-p", str(other), "-u", "ann", "-P", "guest"])
    published = [(at_home, "home/lamp/state"), (at_home, "guests/a"), (as_guest, "home/lamp/state"), (as_guest, "guests/a"),
                 ([*as_guest[:-1], "o n:e"], "guests/b"), ([*at_home[:-1], "guest"], "home/lamp/b")]
    codes, arrived = in_both(tmp_path, conf, port, published)
    assert codes[4:6] == [True, True] and not any(codes[:4]), "each has its own passwords"
    assert sorted(arrived[:-1]) == [("guests/a", b"3"), ("home/lamp/state", b"0")]


def crosses(sender, receiver, topic, expected):
    """What is published at one broker arrives at the other, once the bridge is there."""
    watch = subprocess.Popen(["mosquitto_sub", "-p", str(receiver), "-t", "#", "-C", "1", "-F", "%t %p", "-W", "25"],
                             stdout=subprocess.PIPE, text=True)
    while watch.poll() is None:
        subprocess.run(["mosquitto_pub", "-p", str(sender), "-q", "1", "-t", topic, "-m", "x"], check=True)
        time.sleep(0.05)
    assert watch.communicate()[0] == f"{expected} x\n"


@pytest.mark.skipif(not MOSQUITTO, reason="mosquitto is not installed")
def test_the_same_bridge_joins_both_brokers_to_a_third(tmp_path):
    port, remote = free_port(), free_port()
    conf, other = tmp_path / "mosquitto.conf", tmp_path / "remote.conf"
    other.write_text(f"listener {remote} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    conf.write_text(f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n\nconnection cloud\n"
                    f"address 127.0.0.1:{remote}\nremote_clientid home-1\nnotifications false\nrestart_timeout 1\n"
                    "topic # out 1 up/ site/1/\ntopic # in 1 down/ site/1/cmd/\n", encoding="utf-8")
    done, made = import_of(tmp_path, conf)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        third = start([MOSQUITTO, "-c", other], remote, log)
        try:
            for command in [[MOSQUITTO, "-c", conf], [BINARY, "--config", made, "--shards", "2"]]:
                process = start(command, port, log)
                try:
                    crosses(port, remote, "up/lamp", "site/1/lamp")
                    crosses(remote, port, "site/1/cmd/on", "down/on")
                finally:
                    process.kill()
                    process.wait()
        finally:
            third.kill()
            third.wait()


def test_a_line_that_keeps_others_out_is_named_and_the_code_says_so(tmp_path):
    conf = tmp_path / "mosquitto.conf"
    conf.write_text("listener 1883\nallow_anonymous true\nmount_point a/\ntomorrow 1\n", encoding="utf-8")
    done, made = import_of(tmp_path, conf)
    assert done.returncode == 1
    assert f"{conf}:3: mount_point a/: NOT CARRIED" in done.stderr
    assert f"{conf}:4: tomorrow 1: NOT CARRIED" in done.stderr
    assert "\n[[listener]]" not in made.read_text(encoding="utf-8")
    # A plugin is one that we have not: its listener stays closed.
    conf.write_text("per_listener_settings true\nlistener 1883\nallow_anonymous true\nacl_file a\n"
                    "listener 1884\nplugin /b.so\nallow_anonymous true\n", encoding="utf-8")
    os.remove(made)
    done, made = import_of(tmp_path, conf)
    assert done.returncode == 1 and f"{conf}:6: plugin /b.so: NOT CARRIED, AND IT KEEPS OTHERS OUT" in done.stderr
    # What is there is not written over, and what cannot be read is a sentence.
    done, _ = import_of(tmp_path, conf)
    assert done.returncode == 2 and "ringmq.toml: cannot be made" in done.stderr
    done, _ = import_of(tmp_path, tmp_path / "none.conf")
    assert done.returncode == 2 and "none.conf: cannot be read" in done.stderr
    conf.write_text(f"include_dir {tmp_path}/none\n", encoding="utf-8")
    os.remove(made)
    done, _ = import_of(tmp_path, conf)
    assert done.returncode == 2 and f"{conf}:1: include_dir {tmp_path}/none: cannot be read" in done.stderr
    assert not made.exists()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A mosquitto.db with a session that waits, and retained messages."""
    if not MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("there")
    port = free_port()
    conf = folder / "mosquitto.conf"
    conf.write_text(f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
                    f"persistence_location {folder}/\n", encoding="utf-8")
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = start([MOSQUITTO, "-c", conf], port, log)
    away = mqtt.Raw(At(port), 4)
    away.send(mqtt.connect("away", clean=False))
    assert away.expect(0x20)[1] == 0
    assert away.subscribe(("work/#", 1), ("other/+", 2)) == b"\1\2"
    away.close()
    expiring = mqtt.Raw(At(port), 5)
    expiring.send(mqtt.connect("expiring", version=5, clean=False, properties=b"\x11\0\0\x0e\x10"))
    assert expiring.expect(0x20)[1] == 0
    assert expiring.subscribe(("none", 0)) == b"\0"
    expiring.close()
    publisher = mqtt.Raw(At(port), 5)
    publisher.connect("publisher")
    packets = [mqtt.publish(f"work/{n}", b"%d" % n, qos=1, packet_id=n + 1, version=5) for n in range(20)]
    packets += [mqtt.publish(f"kept/{n}", b"x" * n, qos=1, packet_id=n + 100, version=5, retain=True) for n in range(1, 300)]
    user_property = b"\x26\0\1k\0\1v"
    packets.append(mqtt.publish("kept/with", b"property", qos=1, packet_id=500, version=5, retain=True, properties=user_property))
    packets.append(mqtt.publish("other/a", b"last", qos=2, packet_id=501, version=5))
    for packet in packets:
        publisher.send(packet)
    publisher.send(mqtt.ack(0x62, 501))
    while publisher.receive()[0] & 0xF0 != 0x70:
        pass
    publisher.close()
    process.terminate()
    assert process.wait(START_S) == 0
    return folder / "mosquitto.db"


def carried(db, folder):
    return subprocess.run([BINARY, "import", "--db", str(db), "--data-dir", str(folder)], capture_output=True, text=True,
                          check=False)


@pytest.mark.parametrize("shards", [1, 3])
def test_what_outlives_mosquitto_outlives_the_way_over(database, tmp_path, shards):
    folder = tmp_path / "data"
    done = carried(database, folder)
    assert done.returncode == 0, done.stderr
    assert "2 sessions and 300 retained messages" in done.stderr
    port = free_port()
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        process = start([BINARY, "--listen", f"127.0.0.1:{port}", "--data-dir", folder, "--shards", shards], port, log)
    try:
        away = mqtt.Raw(At(port), 4)
        away.send(mqtt.connect("away", clean=False))
        assert away.expect(0x20) == b"\1\0", "the session is there"
        received = []
        for _ in range(21):
            received.append(away.expect_publish())
        assert [(one.topic, one.payload) for one in received[:20]] == [(f"work/{n}", b"%d" % n) for n in range(20)]
        assert (received[20].topic, received[20].payload, received[20].qos) == ("other/a", b"last", 2)
        expiring = mqtt.Raw(At(port), 5)
        expiring.send(mqtt.connect("expiring", version=5, clean=False))
        assert expiring.expect(0x20)[0] == 1
        watch = mqtt.Raw(At(port), 5)
        watch.connect("watch")
        assert watch.subscribe(("kept/#", 0)) == b"\0"
        kept = {}
        while len(kept) < 300:
            one = watch.expect_publish()
            kept[one.topic] = one
        assert all(kept[f"kept/{n}"].payload == b"x" * n for n in range(1, 300))
        assert b"\x26\0\1k\0\1v" in bytes(kept["kept/with"].properties)
    finally:
        process.kill()
        process.wait()
    # A folder that has something in it is not touched.
    before = sorted(folder.rglob("*"))
    done = carried(database, folder)
    assert done.returncode == 2 and "is not empty" in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_a_file_that_is_cut_or_damaged_yields_a_sentence_and_nothing_else(database, tmp_path):
    whole = database.read_bytes()
    folder, cut = tmp_path / "data", tmp_path / "cut.db"
    damaged = bytearray(whole)
    damaged[30] ^= 0xFF  # the length of the first chunk
    for bad in [b"", b"nonsense", whole[:20], whole[:-1], whole[:len(whole) // 2], whole[:19] + b"\0\0\0\x09" + whole[23:],
                bytes(damaged)]:
        cut.write_bytes(bad)
        done = carried(cut, folder)
        assert done.returncode == 2, (len(bad), done.stderr)
        assert done.stderr.startswith(f"ringmq import: {cut}: ") and done.stderr.count("\n") == 1, done.stderr
        assert not folder.exists()
