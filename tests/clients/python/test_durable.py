"""What outlives the process: sessions, subscriptions, queues, retained messages and wills, after kill -9 and after
SIGTERM; and data directories that are refused."""

import glob
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from broker import BINARY, Broker, free_port
from client import Client, VERSIONS, eventually, properties
from conftest import SHARDS

pytestmark = pytest.mark.ringmq

KEPT = properties("CONNECT", SessionExpiryInterval=3600)
# Under load, with a client library; test_kills.py has more, by hand.
KILLS = 3
SMALL = {"journal_segment_bytes": "1MiB"}


@pytest.fixture
def folder():
    """A folder for a data directory."""
    path = tempfile.mkdtemp(prefix="ringmq-data-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Lives:
    """One broker after the other on the same data directory and port, and clients of all of them."""

    def __init__(self, folder, shards, **options):
        self.data = os.path.join(folder, "data")
        self.shards, self.port = shards, free_port()
        self.options = {**SMALL, **options}
        self.clients, self.broker = [], None
        self.start()

    def start(self):
        self.broker = Broker(self.shards, self.port, data_dir=self.data, **self.options)

    def end(self, how):
        if how == "kill":
            self.broker.kill()
        else:
            assert self.broker.stop(how)[0] == 0, self.broker.log()
        for one in self.clients:
            one.paho.loop_stop()
        self.clients.clear()
        self.broker.close()
        self.broker = None

    def restart(self, how):
        self.end(how)
        self.start()

    def client(self, client_id, version="5", clean=True, **options):
        kept = KEPT if version == "5" and not clean else None
        options.setdefault("connect_properties", kept)
        one = Client(self.broker, client_id, VERSIONS[version], clean=clean, **options)
        self.clients.append(one)
        return one.connect()

    def kept(self, client_id, version="5", **options):
        return self.client(client_id, version, clean=False, **options)

    def close(self):
        if self.broker:
            self.end("kill")


@pytest.fixture
def lives(folder):
    """Starts a broker with a data directory."""
    made = []

    def make(shards=2, **options):
        made.append(Lives(folder, shards, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def by_qos(messages):
    """Payloads of QoS 1, and of QoS 2, which the client library shows later: at PUBREL."""
    return tuple([m.payload for m in messages if m.qos == qos] for qos in (1, 2))


ENDS = pytest.mark.parametrize("how", ["kill", signal.SIGTERM], ids=["kill", "term"])
ON_SHARDS = pytest.mark.parametrize("shards", SHARDS)


@ENDS
@ON_SHARDS
def test_sessions_with_their_queues(lives, shards, how):
    all_of = lives(shards)
    names = [(f"s{n}", version) for n in range(8) for version in ("3.1.1", "5")]
    for name, version in names:
        one = all_of.kept(name + version, version)
        assert one.subscribe([f"a/{name}", "all", f"end/{name}{version}"], 2) == [2, 2, 2]
        one.disconnect()
    publisher = all_of.client("p")
    publisher.publish_all([(f"a/{name}", b"%d" % n, 1 + n % 2) for name, _ in names for n in range(4)])
    publisher.publish_all([("all", b"all%d" % n, 1 + n % 2) for n in range(20)])
    all_of.restart(how)
    for name, version in names:
        one = all_of.kept(name + version, version)
        assert one.session_present
        # Each topic was published to for both versions.
        expected = [b"%d" % n for _ in range(2) for n in range(4)] + [b"all%d" % n for n in range(20)]
        assert by_qos(one.take(28)) == (expected[::2], expected[1::2])
        one.publish_and_wait(f"end/{name}{version}", b"end", 1)
        assert one.next().payload == b"end"


def test_a_folder_that_is_named_from_where_the_broker_runs(lives):
    """As somebody types it who tries the broker: it needs files that are made meanwhile, too."""
    all_of = lives(1, queue_bytes_max="64MiB")
    all_of.data = os.path.relpath(all_of.data)
    all_of.restart("kill")
    all_of.kept("s").subscribe("a", 1)
    sent = [b"%d" % n + bytes(100_000) for n in range(40)]
    for ends in ("kill", signal.SIGTERM):
        all_of.clients[-1].disconnect()
        all_of.client("p").publish_all([("a", payload, 1) for payload in sent])
        all_of.restart(ends)
        assert all_of.kept("s").payloads(len(sent)) == sent


def resident_bytes(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) << 10


def test_queues_of_clients_that_are_away_take_no_memory(lives):
    """16 MiB wait with 256 KiB of memory for them."""
    all_of = lives(1, queue_memory="256KiB", queue_messages_max=10_000, queue_bytes_max="64MiB",
                   journal_segment_bytes="4MiB", memory_max="200MiB")  # small: without huge pages
    all_of.kept("s").subscribe("t/#", 1)
    all_of.clients[-1].disconnect()
    publisher = all_of.client("p")
    before = resident_bytes(all_of.broker.process)
    sent = [b"%04d" % n + bytes(4_092) for n in range(4_096)]
    for start in range(0, len(sent), 256):
        publisher.publish_all([(f"t/{n % 3}", payload, 1)
                               for n, payload in enumerate(sent[start:start + 256])])
    # The journal's own buffers are in it.
    assert resident_bytes(all_of.broker.process) - before < 8 << 20
    all_of.restart("kill")
    assert resident_bytes(all_of.broker.process) - before < 16 << 20, "also after it has read a segment at a time"
    one = all_of.kept("s")
    assert one.session_present
    assert one.payloads(len(sent)) == sent


def test_queues_of_shared_groups_take_no_memory(lives):
    """80 MB wait for a group with 1 MiB of memory for them, are handed on when their member's session ends, and come over
    kills at each step."""
    all_of = lives(2, queue_memory="1MiB", queue_messages_max=100_000, queue_bytes_max="100MiB",
                   journal_segment_bytes="4MiB", memory_max="300MiB")  # small: without huge pages
    for name in ("leaves", "stays"):
        one = all_of.kept(name)
        one.subscribe("$share/g/t/#", 1)
        one.disconnect()
    publisher = all_of.client("p")
    before = resident_bytes(all_of.broker.process)
    sent = {b"%05d" % n + bytes(3_995) for n in range(20_000)}
    waiting = sorted(sent)
    for start in range(0, len(waiting), 500):
        publisher.publish_all([(f"t/{n % 3}", payload, 1)
                               for n, payload in enumerate(waiting[start:start + 500])])
    # 40 bytes of each message stay; the journals' own buffers are in it.
    assert resident_bytes(all_of.broker.process) - before < 12 << 20
    all_of.restart("kill")
    # Each has half of them. One begins anew: its half is the other's, wherever that is.
    all_of.client("leaves").disconnect()
    all_of.restart("kill")
    stays = all_of.kept("stays")
    assert stays.session_present
    got = []
    while len(got) < len(sent):
        got += stays.payloads(min(500, len(sent) - len(got)))
    assert len(got) == len(sent) and set(got) == sent
    # What is held for the other shard, and what is on its way to each disk, are bounded by 8 MiB, in two or three copies.
    assert resident_bytes(all_of.broker.process) - before < 64 << 20


@ENDS
@ON_SHARDS
def test_subscriptions_are_known_to_all_shards_before_the_first_publication(lives, shards, how):
    all_of = lives(shards)
    names = [f"s{n}" for n in range(20)]
    for name in names:
        one = all_of.kept(name)
        one.subscribe([f"own/{name}", f"left/{name}"], 1)
        one.unsubscribe([f"left/{name}"])
        one.disconnect()
    for round_ in range(3):
        all_of.restart(how)
        publisher = all_of.client(f"p{round_}")
        publisher.publish_all([(f"left/{name}", b"left", 1) for name in names])
        publisher.publish_all([(f"own/{name}", b"%d" % round_, 1) for name in names])
    for name in names:
        assert all_of.kept(name).payloads(3) == [b"0", b"1", b"2"]


@ENDS
@ON_SHARDS
def test_what_was_acknowledged_is_not_delivered_again(lives, shards, how):
    all_of = lives(shards)
    one = all_of.kept("s")
    one.subscribe("t", 2)
    publisher = all_of.client("p")
    publisher.publish_all([("t", b"%d" % n, 1 + n % 2) for n in range(50)])
    expected = [b"%d" % n for n in range(50)]
    assert by_qos(one.take(50)) == (expected[::2], expected[1::2])
    # PUBREC and PUBCOMP of all are at the broker before what this client itself publishes.
    one.publish_and_wait("other", b"", 1)
    one.disconnect()
    all_of.restart(how)
    one = all_of.kept("s")
    assert one.session_present
    all_of.client("p").publish_and_wait("t", b"end", 1)
    assert one.next().payload == b"end"


@ENDS
@ON_SHARDS
def test_retained_messages_set_replaced_and_cleared(lives, shards, how):
    all_of = lives(shards)
    publisher = all_of.client("p")
    for n in range(30):
        publisher.publish_and_wait(f"r/{n}", b"first", 1, True)
    for n in range(10):
        publisher.publish_and_wait(f"r/{n}", b"second", 2, True)
    for n in range(10, 20):
        publisher.publish_and_wait(f"r/{n}", b"", 1, True)
    for _ in range(2):
        all_of.restart(how)
        reader = all_of.client("reader")
        reader.subscribe("r/#", 1)
        found = {message.topic: message.payload for message in reader.take(20)}
        expected = {f"r/{n}": b"second" if n < 10 else b"first" for n in [*range(10), *range(20, 30)]}
        assert found == expected


@ENDS
@ON_SHARDS
def test_wills(lives, shards, how):
    all_of = lives(shards)
    watcher = all_of.kept("watcher")
    watcher.subscribe("will/#", 2)
    watcher.disconnect()

    def will(name, delay):
        return {"topic": f"will/{name}", "payload": b"gone", "qos": 2,
                "properties": properties("WILLMESSAGE", WillDelayInterval=delay)}

    away = all_of.kept("away", will=will("away", 2))
    away.cut()
    # Whose connection ends with the process, and who is back before its delay is over.
    all_of.kept("back", will=will("back", 3600))
    if how == "kill":
        all_of.kept("there", will=will("there", 0))
    all_of.restart(how)
    all_of.kept("back").disconnect()
    watcher = all_of.kept("watcher")
    expected = {"will/away", "will/there"} if how == "kill" else {"will/away"}
    assert {watcher.next().topic for _ in expected} == expected
    watcher.publish_and_wait("will/end", b"", 1)
    assert watcher.next().topic == "will/end"


@ENDS
def test_another_number_of_shards(lives, how):
    all_of = lives(1)
    names = [f"s{n}" for n in range(20)]
    for name in names:
        one = all_of.kept(name)
        one.subscribe([f"own/{name}", "all"], 2)
        one.disconnect()
    publisher = all_of.client("p")
    for n in range(20):
        publisher.publish_and_wait(f"r/{n}", b"kept", 1, True)
    for round_, shards in enumerate([4, 2, 3, 1]):
        publisher = all_of.client("p")
        publisher.publish_all([(f"own/{name}", b"%d" % round_, 1) for name in names])
        publisher.publish_and_wait("all", b"all%d" % round_, 2)
        all_of.shards = shards
        all_of.restart(how)
        all_of.broker.wait_line("shards are now the logs")
    folders = [os.path.basename(path) for path in glob.glob(os.path.join(all_of.data, "shard-*"))]
    assert folders == ["shard-00-of-01"]
    reader = all_of.client("reader")
    reader.subscribe("r/#", 1)
    assert {message.topic for message in reader.take(20)} == {f"r/{n}" for n in range(20)}
    for name in names:
        one = all_of.kept(name)
        assert one.session_present
        found = by_qos(one.take(8))
        assert found == ([b"0", b"1", b"2", b"3"], [b"all0", b"all1", b"all2", b"all3"])


@ON_SHARDS
def test_sessions_end_while_the_process_is_away(lives, shards):
    all_of = lives(shards)
    short = properties("CONNECT", SessionExpiryInterval=1)
    for name in ("a", "b", "c"):
        all_of.kept(name, connect_properties=short).disconnect()
        all_of.kept(name + "-stays").disconnect()
    all_of.end("kill")
    over = time.time() + 1.1
    eventually(lambda: time.time() > over)
    all_of.start()
    for name in ("a", "b", "c"):
        assert not all_of.kept(name).session_present
        assert all_of.kept(name + "-stays").session_present


def test_a_session_that_ended_stays_ended(lives):
    all_of = lives(2)
    for name in ("a", "b"):
        one = all_of.kept(name)
        one.subscribe("t", 1)
        one.disconnect()
    all_of.client("a").disconnect()  # clean
    all_of.restart("kill")
    assert not all_of.kept("a").session_present
    assert all_of.kept("b").session_present


@ON_SHARDS
def test_messages_of_a_group_that_are_handed_on(lives, shards):
    """The sessions of members end one after the other, and what waited for them goes to those of other shards."""
    all_of = lives(shards)
    names = [f"m{n}" for n in range(8)]
    for name in names:
        one = all_of.kept(name)
        one.subscribe(["$share/g/load", f"end/{name}"], 2)
        one.disconnect()
    all_of.client("p").publish_all([("load", b"%d" % n, 2) for n in range(200)])
    for number, name in enumerate(names[:-1]):
        all_of.client(name)  # clean: its CONNACK says that the old session has ended
        if number % 2:
            all_of.restart("kill")
    all_of.restart("kill")
    last = all_of.kept(names[-1])
    assert last.session_present
    assert sorted(int(m.payload) for m in last.take(200)) == list(range(200))
    last.publish_and_wait(f"end/{names[-1]}", b"end", 2)
    assert last.next().payload == b"end"


class Publisher(threading.Thread):
    """Publishes to its own topic until its connection ends, and keeps what was acknowledged."""

    def __init__(self, lives, name, first):
        super().__init__()
        self.name_, self.next, self.acknowledged = name, first, []
        self.client = lives.client(f"p-{name}-{first}")
        self.numbers, self.open = {}, threading.Semaphore(50)
        self.client.paho.on_publish = self.on_publish
        self.ended = threading.Event()
        self.client.paho.on_disconnect = lambda *_: (self.ended.set(), self.open.release())

    def on_publish(self, _client, _userdata, mid, _reason, _properties):
        self.acknowledged.append(mid)
        self.open.release()

    def run(self):
        while not self.ended.is_set():
            self.open.acquire()
            info = self.client.paho.publish(f"load/{self.name_}", b"%d" % self.next, 1 + self.next % 2)
            self.numbers[info.mid] = self.next
            self.next += 1

    def result(self):
        """Numbers that were acknowledged."""
        return {self.numbers[mid] for mid in self.acknowledged if mid in self.numbers}


@ON_SHARDS
def test_acknowledged_messages_are_there_after_kills_under_load(lives, shards):
    all_of = lives(shards, queue_messages_max=1_000_000, queue_bytes_max="1GiB")
    names = [f"{n}" for n in range(4)]
    for name in names:
        one = all_of.kept(f"s{name}")
        one.subscribe([f"load/{name}", f"end/{name}"], 2)
        one.disconnect()
    first, moments = 0, random.Random(shards)
    for _ in range(KILLS):
        publishers = [Publisher(all_of, name, first) for name in names]
        for one in publishers:
            one.start()
        enough = moments.randrange(1, 800)
        eventually(lambda: all(len(p.acknowledged) >= enough for p in publishers))
        all_of.broker.kill()
        for one in publishers:
            assert one.ended.wait(20)
            one.join(20)
        all_of.restart("kill")
        ends = [(f"end/{name}", b"", 2) for name in names]
        all_of.client("p").publish_all(ends)
        for publisher in publishers:
            name = publisher.name_
            one = all_of.kept(f"s{name}")
            assert one.session_present
            of_each = [[int(m) for m in found] for found in by_qos(one.until(f"end/{name}"))]
            assert sorted(publisher.result() - set(sum(of_each, []))) == [], "acknowledged and lost"
            for numbers in of_each:
                assert numbers == sorted(set(numbers)), "out of order, or twice"
                assert not numbers or numbers[0] >= first, "delivered again"
            one.publish_and_wait("other", b"", 1)  # behind its PUBCOMPs
            one.disconnect()
        first = max(one.next for one in publishers)


def test_an_interval_is_not_waited_for(lives):
    all_of = lives(2, durability="interval:60s")
    one = all_of.kept("s")
    one.subscribe("t", 1)
    one.disconnect()
    publisher = all_of.client("p")
    publisher.publish_and_wait("t", b"first", 1)  # perhaps with the first commit
    publisher.publish_and_wait("t", b"second", 1)
    publisher.publish_and_wait("kept", b"x", 1, True)
    all_of.restart(signal.SIGTERM)
    assert all_of.kept("s").payloads(2) == [b"first", b"second"]
    reader = all_of.client("r")
    reader.subscribe("kept", 1)
    assert reader.next().payload == b"x"


# What is refused, and what is not.


def refusal(*arguments, program=BINARY, **keywords):
    """The last line of a start that must fail, with its status."""
    command = [program, "--listen", f"127.0.0.1:{free_port()}", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **keywords)
    return found.returncode, found.stderr.splitlines()[-1]


def last_segment(all_of):
    """The file of the last segment of the first shard that holds records, as its bytes."""
    names = glob.glob(os.path.join(all_of.data, "shard-00-of-*", "*.seg"))
    for name in sorted(names, key=lambda name: -int(os.path.basename(name)[:-4])):
        with open(name, "rb") as file:
            content = bytearray(file.read())
        if content[:4] == b"SQMR" and int.from_bytes(content[28:32], "little") == int(
                os.path.basename(name)[:-4]):
            return name, content
    raise AssertionError("no segment holds anything")


def frames(content):
    """Offsets of the frames behind the header."""
    offset, found = 4096, []
    while content[offset:offset + 4] == b"FQMR":
        found.append(offset)
        length = 64 + int.from_bytes(content[offset + 4:offset + 8], "little")
        offset += -(-length // 4096) * 4096
    return found


@pytest.fixture
def written(lives):
    """A data directory of one shard with many frames, whose broker was killed."""
    all_of = lives(1)
    one = all_of.kept("s")
    one.subscribe("t", 1)
    one.disconnect()
    publisher = all_of.client("p")
    for n in range(20):
        publisher.publish_and_wait("t", b"%d" % n, 1)
    # What this client is acknowledged is on the disk with all before it.
    all_of.kept("last").disconnect()
    all_of.end("kill")
    remove_mark(all_of)
    return all_of


def remove_mark(written):
    """A log that has rested for a second ends with a frame without records."""
    name, content = last_segment(written)
    last = frames(content)[-1]
    if content[last + 48:last + 52] == bytes(4):
        content[last:last + 64] = bytes(64)
        with open(name, "wb") as file:
            file.write(content)


def start_on(written, shards=1):
    return refusal("--data-dir", written.data, "--shards", str(shards))


def test_a_damaged_log_is_refused(written):
    name, content = last_segment(written)
    place = frames(content)[5] + 70
    content[place] ^= 1
    with open(name, "wb") as file:
        file.write(content)
    status, line = start_on(written)
    assert status == 1
    assert f"the journal is damaged at {name}: frame" in line and "byte " in line
    assert "bring the data directory back from a backup" in line
    content[place] ^= 1
    with open(name, "wb") as file:
        file.write(content)
    written.start()
    assert written.kept("s").payloads(20) == [b"%d" % n for n in range(20)]


def test_a_torn_end_is_cut_off(written):
    name, content = last_segment(written)
    cut = frames(content)[-1] + 40
    content[cut:] = bytes(len(content) - cut)
    with open(name, "wb") as file:
        file.write(content)
    written.start()
    assert written.kept("s").payloads(20) == [b"%d" % n for n in range(20)]


def test_a_second_process_is_refused(lives):
    all_of = lives(1)
    status, line = start_on(all_of)
    assert status == 1
    assert f"is in use by process {all_of.broker.pid}" in line
    all_of.restart("kill")  # the lock went with its process


def test_a_folder_that_may_not_be_written_is_refused(folder):
    os.chmod(folder, 0o755)
    program = BINARY
    if os.geteuid() == 0:
        # Another user may not enter the folder that the tests have the broker in.
        with tempfile.NamedTemporaryFile(delete=False) as copy:
            program = copy.name
        shutil.copy(BINARY, program)
        os.chmod(program, 0o755)

    def anybody():
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)

    if os.geteuid() != 0:
        os.chmod(folder, 0o555)
    status, line = refusal("--data-dir", folder, program=program, preexec_fn=anybody)
    if program != BINARY:
        os.remove(program)
    assert status == 1
    assert line.startswith(f"ringmq: ringmq may not write to {folder}/"), line


def test_what_is_no_data_directory_is_refused(folder):
    with open(os.path.join(folder, "other"), "w", encoding="ascii"):
        pass
    assert "has no manifest, but other files (other)" in refusal("--data-dir", folder)[1]
    file = os.path.join(folder, "other")
    assert f"{file} is not a folder" in refusal("--data-dir", file)[1]
    missing = os.path.join(folder, "no", "such")
    assert "there is no folder for it" in refusal("--data-dir", missing)[1]


def test_the_start_says_what_it_keeps(start, lives):
    start(1).wait_line("no data-dir", "end with the process")
    all_of = lives(2)
    all_of.kept("s").disconnect()
    all_of.restart(signal.SIGTERM)
    all_of.broker.wait_line(f"data directory {all_of.data}", " 1 sessions are there")


def publish_until_refused(publisher):
    """Retained, each on a topic of its own, until one is not taken."""
    for n in range(2_000):
        code = publisher.publish_and_wait(f"r/{n}", b"x" * 10_000, 1, True)
        if code >= 0x80:
            return code
    raise AssertionError("all of them were taken")


def test_a_process_without_file_descriptors_says_so_and_goes_on(lives):
    all_of = lives(1)
    publisher = all_of.client("p")
    publisher.publish_and_wait("r/0", b"first", 1, True)
    eventually(lambda: len(glob.glob(os.path.join(all_of.data, "shard-00-of-01", "*.seg"))) == 3)
    pid = all_of.broker.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    assert publish_until_refused(publisher) == 0x97
    line = all_of.broker.wait_line("no further file can be made", "Too many open files")
    assert "LimitNOFILE=" in line and "0x97" in line
    assert publisher.publish_and_wait("nobody", b"", 1) == 0x10, "the rest is served"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    all_of.broker.wait_log("files can be made again")
    assert publisher.publish_and_wait("r/end", b"end", 1, True) == 0x10


def test_a_folder_that_is_removed_ends_the_process(lives):
    all_of = lives(1)
    publisher = all_of.client("p")
    publisher.publish_and_wait("r/0", b"first", 1, True)
    eventually(lambda: len(glob.glob(os.path.join(all_of.data, "shard-00-of-01", "*.seg"))) == 3)
    shutil.rmtree(os.path.join(all_of.data, "shard-00-of-01"))
    for n in range(400):
        publisher.publish(f"r/{n}", b"x" * 10_000, 1, True)
    assert all_of.broker.process.wait(20) == 3
    assert "the folder was removed or renamed while the broker ran" in all_of.broker.log()


def test_a_write_that_fails_ends_the_process(lives):
    all_of = lives(1)
    publisher = all_of.client("p")
    publisher.publish_and_wait("r/0", b"first", 1, True)  # acknowledged: the first file is there
    # Those that are wanted ahead are there, too: what cannot be made is a full disk.
    eventually(lambda: len(glob.glob(os.path.join(all_of.data, "shard-00-of-01", "*.seg"))) == 3)
    # Beyond this offset every write to a file fails.
    resource.prlimit(all_of.broker.pid, resource.RLIMIT_FSIZE, (400_000, 400_000))
    for n in range(200):
        publisher.publish(f"r/{n}", b"x" * 10_000, 1, True)
    assert all_of.broker.process.wait(20) == 3
    assert "cannot be written: " in all_of.broker.log()
    all_of.start()
