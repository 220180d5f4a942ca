"""What a listener has of its own: accounts, names in certificates, quotas; and what was counted."""

import shutil
import signal
import ssl
import subprocess
import threading
import time

import pytest

import raw as mqtt
from authority import Authority
from broker import Broker, free_port
from client import DEADLINE_S, VERSIONS, Client, properties
from raw import Raw
from test_accounts import accounts, connect, log_in, passwd  # noqa: F401
from secured import table

PUB, SUB = shutil.which("mosquitto_pub"), shutil.which("mosquitto_sub")

pytestmark = pytest.mark.ringmq
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


class At:
    """A listener of a running broker."""

    def __init__(self, port):
        self.port = port


@pytest.fixture
def start_file(tmp_path):
    """Starts brokers with a configuration file; `listeners` are tables, `more` is in front of them."""
    running = []

    def run(*listeners, shards=2, more=""):
        path = tmp_path / f"ringmq-{len(running)}.toml"
        path.write_text(more + "".join(listeners))
        port = next(int(text.split(":")[1].split('"')[0]) for text in listeners if "127.0.0.1:" in text)
        running.append(Broker(shards, port=port, config=path))
        return running[-1]

    yield run
    for one in running:
        one.close()


def counters(broker):
    """Asks for the counters; names and numbers."""
    since = len(broker.log())
    broker.send_signal(signal.SIGUSR1)
    broker.wait_log("refused by the listener", since)
    line = next(line for line in broker.log()[since:].splitlines() if "counters since the start" in line)
    pairs = (word.split("=") for word in line.split() if "=" in word)
    return {name: int(number) for name, number in pairs if number.isdigit()}


def flood(one, topic, count):
    one.send_as_far_as_possible(b"".join(mqtt.publish(topic, b"%06d" % n) for n in range(count)))


@pytest.mark.parametrize("shards", [1, 4])
def test_accounts_by_listener(start_file, accounts, shards):  # noqa: F811
    inside, outside, strict = At(free_port()), At(free_port()), At(free_port())
    start_file(
        table(f"127.0.0.1:{inside.port}", allow_anonymous=True),
        table(f"127.0.0.1:{outside.port}"),
        table(f"127.0.0.1:{strict.port}", authentication="required"),
        shards=shards, more=f'password-file = "{accounts}"\n')
    for version in [4, 5]:
        needed = 0x87 if version == 5 else 5
        wrong = 0x86 if version == 5 else 4
        for at, anonymous in [(inside, 0), (outside, needed), (strict, needed)]:
            assert log_in(at, "c", None, None, version)[1] == anonymous
            assert log_in(at, "d", "ann", "one", version)[1] == 0
            assert log_in(at, "e", "ann", "two", version)[1] == wrong


def test_an_open_broker_with_a_closed_listener(start_file, accounts):  # noqa: F811
    free, closed = At(free_port()), At(free_port())
    start_file(table(f"127.0.0.1:{free.port}"),
               table(f"127.0.0.1:{closed.port}", allow_anonymous=False),
               more=f'password-file = "{accounts}"\nallow-anonymous = true\n')
    assert log_in(free, "c", None, None)[1] == 0
    assert log_in(closed, "c", None, None)[1] == 5
    assert log_in(closed, "c", "bob", "two")[1] == 0


def test_rates_of_a_listener(start_file):
    """One listener is limited, the other is not; everything that must arrive does."""
    slow, fast = At(free_port()), At(free_port())
    broker = start_file(
        table(f"127.0.0.1:{slow.port}", client_in_messages_per_s=200, client_out_messages_per_s=50,
              rate_burst=1),
        table(f"127.0.0.1:{fast.port}"), shards=1, more="client-in-messages-per-s = 1000000\n")
    reader, late = Raw(fast), Raw(slow)
    reader.connect("reader")
    reader.subscribe(("#", 0))
    late.connect("late")
    late.subscribe(("a", 0))
    sender = Raw(fast)
    sender.connect("sender")
    flood(sender, "a", 500)
    assert [reader.expect_publish().payload for _ in range(500)] == [b"%06d" % n for n in range(500)]
    before = counters(broker)
    assert before["dropped_over_rate"] > 0 and before["reads_paused"] == 0
    patient = Raw(slow)
    patient.connect("patient")
    flood(patient, "b", 300)
    assert [reader.expect_publish().payload for _ in range(300)] == [b"%06d" % n for n in range(300)]
    patient.ping()
    assert counters(broker)["reads_paused"] > 0


def test_half_open_connections_of_a_listener(start_file):
    few, many = At(free_port()), At(free_port())
    broker = start_file(table(f"127.0.0.1:{many.port}"),
                        table(f"127.0.0.1:{few.port}", half_open_max=3), shards=1)
    silent = [Raw(few) for _ in range(3)]
    one_more = Raw(few)
    assert one_more.receive() is None
    broker.wait_log("half-open-max of its listener is reached")
    others = [Raw(many) for _ in range(20)]
    for n, one in enumerate(others):
        one.connect(f"o{n}")
    silent[0].connect("speaks")
    assert Raw(few).connect("now") is False
    assert counters(broker)["refused_half_open"] == 1


@needs_openssl
@pytest.mark.parametrize("source, san", [
    ("cn", "DNS:other"), ("san-dns", "DNS:device"), ("san-email", "email:device"), ("san-uri", "URI:device"),
])
def test_names_in_certificates_and_rules(start_file, accounts, tmp_path, source, san):  # noqa: F811
    own = Authority(tmp_path / "authority")
    own.sign("server")
    subject = "device" if source == "cn" else "someone"
    certificate, key = own.sign(subject, san=san)
    acl = tmp_path / "acl"
    acl.write_text("user device\ntopic read news\npattern readwrite own/%u/#\nuser ann\ntopic readwrite #\n")
    port, plain = free_port(), At(free_port())
    tls = {"transport": "tls", "tls_certificate": own.path("server.pem"), "tls_key": own.path("server.key"),
           "tls_client_ca": own.ca, "tls_identity": source}
    broker = start_file(
        table(f"127.0.0.1:{plain.port}"),
        table(f"127.0.0.1:{port}", tls_client_certificate="optional", **tls),
        more=f'password-file = "{accounts}"\nacl-file = "{acl}"\n')
    trust = ssl.create_default_context(cafile=own.ca)
    trust.load_cert_chain(certificate, key)

    def secure(client_id, context, user=None, password=None):
        one = Client(broker, client_id, VERSIONS["5"])
        one.broker = At(port)
        one.paho.tls_set_context(context)
        if user:
            one.paho.username_pw_set(user, password)
        return one.connect()

    # Its certificate says who it is, whatever it says itself, and its password is not looked at.
    for n, (user, password) in enumerate([(None, None), ("ann", "one"), ("ann", "wrong")]):
        device = secure(f"d{n}", trust, user, password)
        assert device.reason == 0
        assert device.subscribe(["news", "own/device/#", "own/ann/#", "other"]) == [0, 0, 0x87, 0x87]
        device.publish_all([("own/device/x", b"mine", 1)])
        assert device.messages.get(timeout=DEADLINE_S).payload == b"mine"
        device.close()
    # Without a certificate it is the password file that knows.
    bare = ssl.create_default_context(cafile=own.ca)
    for user, password, reason in [(None, None, 0x87), ("ann", "two", 0x86), ("ann", "one", 0)]:
        one = secure("bare", bare, user, password)
        assert one.reason == reason
        one.close()
    # A session is its user's: also where another way of proving it leads to another name.
    kept = properties("CONNECT", SessionExpiryInterval=60)
    device = Client(broker, "mine", VERSIONS["5"], clean=False, connect_properties=kept)
    device.broker = At(port)
    device.paho.tls_set_context(trust)
    device.connect().close()
    assert log_in(plain, "mine", "ann", "one", 5)[1] == 0x87


@needs_openssl
@pytest.mark.skipif(not (PUB and SUB), reason="mosquitto-clients is not installed")
def test_mosquitto_clients_with_names_in_certificates(start_file, tmp_path):
    own = Authority(tmp_path / "authority")
    own.sign("server")
    own.sign("device")
    acl = tmp_path / "acl"
    acl.write_text("pattern write up/%u\n")
    port = free_port()
    broker = start_file(
        table(f"127.0.0.1:{port}", transport="tls", tls_certificate=own.path("server.pem"),
              tls_key=own.path("server.key"), tls_client_ca=own.ca, tls_client_certificate="required"),
        more=f'acl-file = "{acl}"\n')
    to = ["-h", "localhost", "-p", str(port), "--cafile", own.ca, "--cert", own.path("device.pem"),
          "--key", own.path("device.key"), "-V", "5", "-q", "1"]
    for topic, good in [("up/device", True), ("up/server", False)]:
        since = len(broker.log())
        done = subprocess.run([PUB, *to, "-t", topic, "-m", "x", "-d"], capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False)
        assert ("RC:135" in done.stdout) != good, done  # 0x87
        if not good:
            broker.wait_log('not authorized to publish to "up/server"', since)
    done = subprocess.run([SUB, *to, "-t", "up/device", "-E"], capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    assert "denied" in done.stderr.lower() or "not authorized" in done.stderr.lower(), done


def test_a_full_login_queue_by_version(start, tmp_path):
    """Whoever finds the queue full is told so in the words of its version."""
    path = tmp_path / "passwords"
    passwd("-c", "-b", "--rounds", 20_000, path, "ann", "one")
    broker = start(1, password_file=path, login_queue_max=5, ban_failures=0)
    calm, _ = log_in(broker, "calm", "ann", "one", 5)
    storm = [(version, Raw(broker, version)) for version in [3, 4, 5] * 60]
    for n, (version, one) in enumerate(storm):
        if version == 3:
            packet = mqtt.packet(0x10, mqtt.NAMES[3], b"\xc2\0\0",
                                 *map(mqtt.text, [f"s{n}", "ann", "one"]))
        else:
            packet = connect(f"s{n}", version, "ann", "one")
        one.send(packet)
    calm.ping()
    codes = {3: [], 4: [], 5: []}
    for version, one in storm:
        first, body = one.receive()
        assert first == 0x20
        codes[version].append(body[1])
    for version, busy in [(3, 3), (4, 3), (5, 0x97)]:
        assert set(codes[version]) <= {0, busy} and busy in codes[version], codes
    calm.ping()
    counted = counters(broker)
    assert counted["logins_busy"] == counted["logins_refused"] == sum(map(len, codes.values())) - \
        sum(listed.count(0) for listed in codes.values())


def test_memory_max(start):
    """Near its memory the broker lets nobody in, serves who is there, and recovers."""
    probe = start(1, memory_max=100 << 20)  # small as well: without huge pages
    base = probe.resident_kib() << 10
    broker = start(1, memory_max=base + (48 << 20))
    old, five = Raw(broker), Raw(broker, 5)
    old.connect("old")
    five.connect("five")
    five.subscribe(("live", 1))
    payload = bytes(256 << 10)
    topics = []

    def retain_more():
        topics.append(f"r/{len(topics)}")
        assert len(topics) < 1_000, "memory is never short"
        old.send(mqtt.publish(topics[-1], payload, 1, len(topics), retain=True))
        old.expect(0x40)

    def until_refused(code, attempt):
        """What the allocator gives back may let somebody in once more, until that is used, too."""
        while attempt() != code:
            retain_more()

    def log_in(version):
        one = Raw(broker, version)
        one.send(mqtt.connect("new", version))
        return one.expect(0x20)[1]

    until_refused(3, lambda: log_in(4))
    broker.wait_log("clients, subscriptions and messages to be retained are refused")
    until_refused(0x97, lambda: log_in(5))
    # Those that are in are served, but nothing more is kept for them.
    until_refused(b"\x97", lambda: five.subscribe((f"more/{len(topics)}", 1)))
    old.send(mqtt.publish("live", b"x"))
    assert five.expect_publish().payload == b"x"
    for topic in topics:
        old.send(mqtt.publish(topic, b"", retain=True))
    old.ping()
    let_in, short = "new clients are let in again", "to be retained are refused"
    end = time.monotonic() + DEADLINE_S
    while broker.log().rfind(let_in) < broker.log().rfind(short):
        assert time.monotonic() < end, (broker.resident_kib(), broker.log())
        old.ping()
    assert Raw(broker).connect("new") is False
    assert counters(broker)["refused_memory"] == 3 and broker.is_running()


def test_turn_max(start):
    """While turns take too long nobody is let in; those that are in are served, and it passes."""
    broker = start(1, turn_max_ms=1)
    readers = [Raw(broker, receive_buffer=4_096) for _ in range(400)]
    for n, one in enumerate(readers):
        one.connect(f"r{n}")
        one.subscribe(("load/#", 0))
    calm = Raw(broker)
    calm.connect("calm")
    stop = threading.Event()
    data = b"".join(mqtt.publish(f"load/{n % 50}", b"x" * 20) for n in range(5_000))

    def load(one):
        while not stop.is_set():
            try:
                one.socket.sendall(data)
            except OSError:
                return

    writers = [Raw(broker) for _ in range(4)]
    for n, one in enumerate(writers):
        one.connect(f"w{n}")
    threads = [threading.Thread(target=load, args=(one,), daemon=True) for one in writers]
    for thread in threads:
        thread.start()
    codes, end = set(), time.monotonic() + DEADLINE_S
    while not {0x97, 3} <= codes:
        assert time.monotonic() < end, codes
        for version in [4, 5]:
            one = Raw(broker, version)
            one.send(mqtt.connect("new", version))
            codes.add(one.expect(0x20)[1])
            one.close()
    calm.ping()
    stop.set()
    for one in [*writers, *readers]:
        one.close()
    while True:
        one = Raw(broker)
        one.send(mqtt.connect("new"))
        if one.expect(0x20)[1] == 0:
            break
        assert time.monotonic() < end + DEADLINE_S
    assert counters(broker)["refused_turns"] >= 2


@pytest.mark.parametrize("shards", [1, 4])
def test_checked_deliveries_across_shards(start, accounts, tmp_path, shards):  # noqa: F811
    """A stretch of publications crosses to other shards as one piece, where each receiver is judged."""
    acl = tmp_path / "acl"
    acl.write_text("user ann\ntopic readwrite #\nuser bob\ntopic read b/#\n")
    broker = start(shards, password_file=accounts, acl_file=acl, acl_check_delivery="true")
    anns, bobs, members = [], [], []
    for n in range(8):
        for kind, user, password, filter_ in [(anns, "ann", "one", "#"), (bobs, "bob", "two", "#"),
                                              (members, "bob", "two", "$share/g/b/#")]:
            one, code = log_in(broker, f"{user}-{len(kind)}-{filter_[:2]}", user, password, 5)
            assert code == 0 and one.subscribe((filter_, 1)) == b"\x01"
            kind.append(one)
    assert bobs[0].subscribe(("$share/g/#", 1), packet_id=2) == b"\x87", "a group is not filtered"
    sender, _ = log_in(broker, "sender", "ann", "one", 5)
    count = 300
    for topic in ["a/x", "b/x"]:
        sender.send(b"".join(mqtt.publish(topic, b"%03d" % n, version=5) for n in range(count)))
        sender.send(b"".join(mqtt.publish(topic, b"%03d" % n, 1, n + 1, version=5) for n in range(count, count + 50)))
        for _ in range(50):
            sender.expect(0x40)
    expected = [b"%03d" % n for n in range(count + 50)]

    def received(one, number):
        got = []
        for _ in range(number):
            packet = one.expect_publish()
            got.append(packet)
            if packet.qos:
                one.send(mqtt.ack(0x40, packet.packet_id))
        assert one.ping() == []
        return got

    def in_order(packets):  # order is promised for each QoS by itself
        return [packet.payload for qos in [0, 1] for packet in packets if packet.qos == qos]

    for one in anns:
        got = received(one, 2 * len(expected))
        for topic in ["a/x", "b/x"]:
            assert in_order([packet for packet in got if packet.topic == topic]) == expected
    for one in bobs:
        got = received(one, len(expected))
        assert {packet.topic for packet in got} == {"b/x"}
        assert in_order(got) == expected
    shared = []
    for one in members:
        for first, body in one.ping():
            packet = mqtt.Publish(first, body, 5)
            shared.append(packet.payload)
    assert sorted(shared) == expected, "each to one member of the group"
    assert counters(broker)["dropped_not_authorized"] == 8 * len(expected)


def test_counters(start):
    broker = start(4)
    for n in range(8):
        Raw(broker).connect(f"c{n}")
    bad = Raw(broker)
    bad.send(mqtt.connect("c", will=("a/#", b"", b"")))
    assert bad.receive() is None
    counted = counters(broker)
    assert counted["connects_accepted"] == 8 and counted["connects_refused"] == 1
    assert counted["malformed_packets"] + counted["protocol_errors"] == 1
    assert counted["connections_opened"] >= 9
    assert counters(broker) == counted, "they are asked for, not taken"
    since = len(broker.log())
    assert broker.stop()[0] == 0
    told = broker.log()[since:]
    assert told.count("counters since the start") == 1 and " connects_accepted=8 " in told
    assert f"refused by the listener on 127.0.0.1:{broker.port}: connections-max=0" in told


def admitted(port, client_id):
    """Connects as soon as there is room: the connection by which the start was noticed may still count."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            one = Raw(At(port))
            one.connect(client_id)
            return one
        except (AssertionError, OSError):
            assert time.monotonic() < end, "nobody is let in"


def test_counters_of_refusals(start_file):
    port = free_port()
    broker = start_file(table(f"127.0.0.1:{port}", connections_max=2), shards=2, more="connections-max = 100\n")
    kept = [admitted(port, f"c{n}") for n in range(2)]
    refused = [Raw(At(port)) for _ in range(3)]
    assert [one.receive() for one in refused] == [None] * 3
    broker.send_signal(signal.SIGUSR1)
    line = broker.wait_line("refused by the listener on 127.0.0.1:")
    number = int(line.split("connections-max=")[1].split()[0])
    assert number >= 3, line
