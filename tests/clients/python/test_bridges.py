"""Bridges of ours: to Mosquitto, to another ringmq, and to remotes that misbehave."""

import signal
import socket
import threading

import pytest

from bridges import at, bridging, connect, is_up, mosquitto, needs_mosquitto, scripted  # noqa: F401
from broker import START_S, free_port
from client import eventually

pytestmark = pytest.mark.ringmq


# conformance: 3.1.1:MQTT-7.0.0-1
@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("version", ["5.0", "3.1.1", "3.1"])
@pytest.mark.parametrize("remote", [pytest.param("mosquitto", marks=needs_mosquitto), "ringmq"])
def test_messages_cross_in_both_directions(bridging, start, mosquitto, remote, version, shards):
    there = mosquitto() if remote == "mosquitto" else start(shards)
    here = bridging(
        at(there) + f"version = \"{version}\"\nnotify = \"both\"\n"
        "topics = [\"out/# out 1\", \"in/# in 1\", \"both/# both 2 here/ there/\"]",
        shards=shards,
    )
    is_up(here)
    near, far = connect(here, "near"), connect(there, "far")
    near.subscribe("#", qos=2)
    far.subscribe("#", qos=2)
    near.publish_all([("out/1", b"a", 1), ("in/1", b"b", 1), ("here/both/1", b"c", 2)])
    got = far.take(2)
    assert {(m.topic, m.payload, m.qos) for m in got} == {("out/1", b"a", 1), ("there/both/1", b"c", 2)}
    near.take(3)
    far.publish_all([("in/2", b"d", 1), ("out/2", b"e", 1), ("there/both/2", b"f", 2)])
    got = near.take(2)
    assert {(m.topic, m.payload, m.qos) for m in got} == {("in/2", b"d", 1), ("here/both/2", b"f", 2)}
    far.take(3)
    # Nothing has come back: the last message of each is the next one.
    near.publish_all([("here/both/end", b"end", 2)])
    assert (near.next().topic, far.next().topic) == ("here/both/end", "there/both/end")
    # RETAIN crosses, and the state is known on both sides.
    near.publish_all([("out/kept", b"k", 1, True)])
    assert far.next().topic == "out/kept"
    for broker in (here, there):
        late = connect(broker, "late")
        late.subscribe("$SYS/broker/connection/b0/state", qos=1)
        message = late.next()
        assert (message.payload, message.retain) == (b"1", True)
        late.close()
    late = connect(there, "later")
    late.subscribe("out/kept", qos=1)
    assert late.next().retain
    for client in (near, far, late):
        client.close()


@needs_mosquitto
@pytest.mark.parametrize("shards", [1, 2])
def test_what_is_published_while_the_remote_is_away_arrives_once_and_in_order(bridging, mosquitto, shards):
    """A Mosquitto that ends and starts again, several times, amid traffic."""
    there = mosquitto()
    here = bridging(
        at(there) + "topics = [\"up/# out 2\", \"down/# in 2\"]", shards=shards, queue_messages_max=100000,
        queue_bytes_max=1 << 26,
    )
    is_up(here)
    near, far = connect(here, "near"), connect(there, "far", clean=False, version="3.1.1")
    near.subscribe("down/#", qos=2)
    far.subscribe("up/#", qos=2)
    far.publish_all([(f"down/{n}", str(n).encode(), 2) for n in range(300)])
    assert [int(payload) for payload in near.payloads(300)] == list(range(300))
    far.close()
    count = 0
    for times in range(2, 5):
        near.publish_all([(f"up/{n}", str(n).encode(), 2) for n in range(count, count + 200)])
        there.close()  # its own file is written at an ordered end only
        near.publish_all([(f"up/{n}", str(n).encode(), 2) for n in range(count + 200, count + 400)])
        count += 400
        there.start()
        is_up(here, times=times)
    far = connect(there, "far", clean=False, version="3.1.1")
    assert [int(payload) for payload in far.payloads(count)] == list(range(count))
    far.publish_all([("up/end", b"end", 2)])
    assert far.next().payload == b"end"
    near.close()
    far.close()


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_kill_9_of_either_side_loses_nothing_and_repeats_no_qos_2(bridging, start, tmp_path, shards):
    """With journals on both sides, amid QoS 1 and 2 in both directions."""
    here_port, there_port = free_port(), free_port()
    table = (f"addresses = [\"127.0.0.1:{there_port}\"]\n"
             "topics = [\"up/1 out 1\", \"up/2 out 2\", \"down/1 in 1\", \"down/2 in 2\"]")
    limits = {"queue_messages_max": 100000, "queue_bytes_max": 1 << 26, "journal_segment_bytes": 4 << 20}
    ups = 0

    def begin_here():
        return bridging(table, shards=shards, port=here_port, data_dir=tmp_path / "here", **limits)

    def begin_there():
        return start(shards, port=there_port, data_dir=tmp_path / "there", **limits)

    there, here = begin_there(), begin_here()
    is_up(here)
    keepers = [connect(here, "keeper", clean=False, version="3.1.1"), connect(there, "keeper", clean=False, version="3.1.1")]
    for keeper, filters in zip(keepers, ("down/#", "up/#")):
        keeper.subscribe(filters, qos=2)
        keeper.close()
    total = 0
    for killed in ("here", "there", "here"):
        near, far = (connect(one, "sender", clean=False, version="3.1.1") for one in (here, there))
        numbers = range(total, total + 100)
        for client, name in ((near, "up"), (far, "down")):
            client.publish_all([(f"{name}/{1 + n % 2}", str(n).encode(), 1 + n % 2) for n in numbers])
            client.close()
        total += 100
        victim = here if killed == "here" else there
        ups = here.log().count("bridge b0: up")
        victim.send_signal(signal.SIGKILL)
        victim.process.wait()
        if killed == "here":
            here, ups = begin_here(), 0
        else:
            there = begin_there()
        is_up(here, times=ups + 1)
    for broker, name in ((here, "up"), (there, "down")):
        sender = connect(broker, "last")
        sender.publish_all([(f"{name}/{qos}", b"end", qos) for qos in (1, 2)])
        sender.close()
    for broker, name in ((here, "down"), (there, "up")):
        keeper = connect(broker, "keeper", clean=False, version="3.1.1")
        got, ends = {1: [], 2: []}, 0
        while ends < 2:
            message = keeper.next()
            ends += message.payload == b"end"
            if message.payload != b"end":
                got[int(message.topic[-1])].append(int(message.payload))
        keeper.close()
        assert sorted(set(got[1])) == list(range(0, total, 2)), f"{name}: lost at QoS 1"
        assert got[2] == list(range(1, total, 2)), f"{name}: lost or repeated at QoS 2"


def test_a_ring_of_three_delivers_each_message_once(bridging):
    ports = [free_port() for _ in range(3)]
    table = "topics = [\"# both 2\"]\n"
    ring = [
        bridging(f"addresses = [\"127.0.0.1:{ports[(at + 1) % 3]}\"]\nclient-id = \"from{at}\"\n{table}",
                 port=ports[at])
        for at in range(3)
    ]
    for one in ring:
        is_up(one)
    clients = [connect(one, "client") for one in ring]
    for client in clients:
        client.subscribe("#", qos=2)
    for at, client in enumerate(clients):
        client.publish_all([(f"from/{at}", b"x", 2)])
        for other in clients:
            assert other.next().topic == f"from/{at}"
    # Had one come a second time, it would come before these.
    for at, client in enumerate(clients):
        client.publish_all([(f"end/{at}", b"x", 2)])
        for other in clients:
            assert other.next().topic == f"end/{at}"
    for client in clients:
        client.close()


@pytest.mark.parametrize("answer,sentence", [
    (None, "closed before the remote had accepted it"),
    (b"\x20\x02\x00\x05", "not authorized"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the remote does not keep to MQTT"),
    (b"\x20\x02\x00\x00\xff\xff", "the remote does not keep to MQTT"),
    (b"\x20\x02\x00\x00\x30\x05\x00\x01\x61xx", "which no line that comes in is about"),
], ids=["closes", "refuses", "http", "garbage", "unasked"])
def test_remotes_that_misbehave_are_sentences_and_harm_nobody(bridging, scripted, answer, sentence):
    there = scripted(answer)
    here = bridging(at(there) + "version = \"3.1.1\"\ntopics = [\"t/# both 1\"]")
    near = connect(here, "near")
    near.subscribe("t/#", qos=1)
    line = here.wait_line("bridge b0:", sentence)
    assert "WARN" in line
    near.publish_all([("t/1", b"x", 1)])
    assert near.next().payload == b"x"
    near.close()


def test_an_unreachable_remote_is_a_sentence_and_the_next_address_is_used(bridging, start):
    there = start(1)
    closed = free_port()
    here = bridging(
        f"addresses = [\"127.0.0.1:{closed}\"]\nclient-id = \"one\"\ntopics = [\"t/# out 1\"]",
        f"addresses = [\"127.0.0.1:{closed}\", \"127.0.0.1:{there.port}\"]\ntopics = [\"u/# out 1\"]",
    )
    here.wait_line("bridge b0:", "Connection refused")
    is_up(here, "b1")


def test_a_remote_that_does_not_speak_5_0_or_refuses_the_mark_is_spoken_to_otherwise(bridging, scripted):
    there = scripted(b"\x20\x02\x00\x01", b"\x20\x02\x00\x01", b"\x20\x02\x00\x00")
    here = bridging(at(there) + "topics = [\"t/# out 1\"]")
    here.wait_line("bridge b0: connected")
    levels = [seen[seen.index(b"MQTT") + 4] for seen in there.seen]
    assert levels == [5, 0x84, 4]


class Cutting:
    """A relay of bytes to a remote. The first connection is left alone until `drop`; each that follows ends when it has
    carried the next of these numbers of bytes in one direction; those behind the last one are left alone, too."""

    def __init__(self, port, cuts):
        self.target, self.cuts, self.used = port, [(None, None), *cuts], 0
        self.first = None
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                near, _ = self.socket.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            limits = (None, None)
            self.first = self.first or near
            if self.used < len(self.cuts):
                limits = self.cuts[self.used]
                self.used += 1
            for one, other, limit in ((near, far, limits[0]), (far, near, limits[1])):
                threading.Thread(target=self._carry, args=(one, other, limit), daemon=True).start()

    @staticmethod
    def _carry(one, other, left):
        try:
            while left is None or left > 0:
                data = one.recv(4096 if left is None else min(left, 4096))
                if not data:
                    break
                other.sendall(data)
                left = None if left is None else left - len(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def drop(self):
        self.first.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.socket.close()


def test_a_link_that_is_cut_anywhere_loses_and_repeats_nothing(bridging, start):
    """With real sockets at some bytes of what each side sends; tests/bridge.rs cuts at each of them."""
    there = start(1)
    cuts = [cut for at in range(1, 260, 23) for cut in ((at, None), (None, at))]
    link = Cutting(there.port, cuts)
    here = bridging(
        f"addresses = [\"127.0.0.1:{link.port}\"]\n"
        "topics = [\"up/# out 2\", \"down/# in 2\"]",
        shards=2,
    )
    is_up(here)
    near, far = connect(here, "near"), connect(there, "far")
    near.subscribe("down/#", qos=2)
    far.subscribe("up/#", qos=2)
    link.drop()
    sent = 0

    def all_cut():
        """Messages until the last connection was cut: those of one are fewer bytes than most cuts leave through."""
        nonlocal sent
        if link.used > len(cuts):
            return True
        near.publish_all([(f"up/{sent}", str(sent).encode(), 2)])
        far.publish_all([(f"down/{sent}", str(sent).encode(), 2)])
        sent += 1
        return False

    eventually(all_cut, 3 * START_S)
    near.publish_all([("up/end", b"end", 2)])
    far.publish_all([("down/end", b"end", 2)])
    wanted = [str(n).encode() for n in range(sent)] + [b"end"]
    for client in (far, near):
        got = client.payloads(1)
        while got[-1] != b"end":
            got += client.payloads(1)
        assert got == wanted
        client.close()
    link.close()
