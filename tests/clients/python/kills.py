"""Kills a broker with a data directory again and again, at random moments under load, and holds every promise of
docs/durability.md against what clients that keep their own side of each session then find.

    python3 kills.py --kills 1000 --shards 1,2,4 [--seed N]

Of each client all is by hand, so that nothing repeats, forgets or hides anything behind its back. Publishers have
sessions of their own and go on after each kill with what was not acknowledged, so in the end every message has arrived:
in order, without a gap, and at QoS 2 once.
"""

import argparse
import os
import random
import selectors
import shutil
import socket
import struct
import sys
import tempfile
import time

from broker import Broker, allow_many_files, free_port
from raw import ack, packet, publish, read_length, subscribe, text

DEADLINE_S = 30
PUBLISHERS = 3
# Unacknowledged messages of one publisher.
WINDOW = 40
RETAINED_TOPICS = 8
# Of each life, kept until a later one has looked at them.
NEW_SESSIONS = 3
OPTIONS = {"journal_segment_bytes": "1MiB", "queue_messages_max": 10_000_000, "queue_bytes_max": "1GiB"}


class Broken(AssertionError):
    """A promise that was not kept."""


class Client:
    """One side of a session, over any number of connections. MQTT 3.1.1."""

    def __init__(self, run, name, clean=False, will=None):
        self.run, self.name, self.clean, self.will = run, name, clean, will
        self.socket, self.buffer, self.out = None, bytearray(), bytearray()
        # A CONNACK has come, so there is a session from then on; whether it was there before the last one.
        self.is_promised, self.present = False, None
        self.subscribed = self.pongs = 0
        self.unfinished, self.next_id, self.open = {}, 0, set()

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.run.port), DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.buffer.clear()
        self.out.clear()
        self.present = None
        self.run.selector.register(self.socket, selectors.EVENT_READ, self)
        flags, tail = 2 * self.clean, b""
        if self.will:
            flags |= 0x14  # QoS 2
            tail = text(self.will[0]) + text(self.will[1])
        self.send(packet(0x10, b"\0\x04MQTT\x04", bytes([flags]), b"\0\0", text(self.name), tail))
        return self

    def is_connected(self):
        return self.present is not None

    def send(self, *packets):
        self.out += b"".join(packets)
        self.flush()

    def flush(self):
        while self.out and self.socket:
            try:
                del self.out[:self.socket.send(self.out)]
            except BlockingIOError:
                break
            except OSError:
                return  # the end of the connection is read
        if self.socket:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
            self.run.selector.modify(self.socket, events, self)

    def publish(self, topic, payload, qos, retain=False):
        while True:
            self.next_id = self.next_id % 65_535 + 1
            if self.next_id not in self.unfinished:
                break
        self.unfinished[self.next_id] = [topic, payload, qos, retain, False]
        self.send(publish(topic, payload, qos, self.next_id, retain=retain))

    def subscribe(self, *filters):
        self.send(subscribe(1, [(one, 2) for one in filters]))

    def close(self):
        if self.socket:
            self.run.selector.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def disconnect(self):
        self.send(b"\xe0\0")
        self.close()

    def read(self):
        """Everything that has come. False: the connection has ended."""
        is_open = True
        try:
            while data := self.socket.recv(1 << 18):
                self.buffer += data
            is_open = False
        except BlockingIOError:
            pass
        except OSError:
            is_open = False
        at = 0
        while len(self.buffer) - at >= 2:
            try:
                size, used = read_length(self.buffer[at + 1:at + 5])
            except ValueError:
                break
            end = at + 1 + used + size
            if end > len(self.buffer):
                break
            self.take(self.buffer[at], bytes(self.buffer[at + 1 + used:end]))
            at = end
        del self.buffer[:at]
        return is_open

    def take(self, first, body):
        kind = first >> 4
        number = struct.unpack_from("!H", body)[0] if len(body) >= 2 else 0
        if kind == 2:
            self.connected(bool(body[0]))
        elif kind == 3:
            self.take_publish(first, body)
        elif kind == 4:
            self.run.acknowledged += self.unfinished.pop(number, None) is not None
        elif kind == 5:
            self.run.acknowledged += not self.unfinished[number][4]
            self.unfinished[number][4] = True
            self.send(ack(0x62, number))
        elif kind == 6:
            self.open.discard(number)
            self.send(ack(0x70, number))
        elif kind == 7:
            self.unfinished.pop(number, None)
        elif kind == 9:
            self.subscribed += 1
        elif kind == 13:
            self.pongs += 1

    def connected(self, present):
        self.present = present
        if self.clean:
            self.open.clear()
            self.unfinished.clear()
        elif self.is_promised and not present:
            raise Broken(f"the session of {self.name} is gone")
        elif not present and self.open:
            raise Broken(f"{self.name} has open exchanges and no session")
        self.is_promised = not self.clean
        again = []
        for number, (topic, payload, qos, retain, is_released) in self.unfinished.items():
            again.append(ack(0x62, number) if is_released
                         else publish(topic, payload, qos, number, retain=retain, dup=True))
        self.send(*again)

    def take_publish(self, first, body):
        qos = first >> 1 & 3
        size = struct.unpack_from("!H", body)[0]
        topic, at = body[2:2 + size].decode(), 2 + size
        number = struct.unpack_from("!H", body, at)[0] if qos else 0
        payload = body[at + (2 if qos else 0):]
        if qos == 2 and number in self.open:
            self.send(ack(0x50, number))
            return
        if qos == 2:
            self.open.add(number)
        if qos:
            self.send(ack(0x40 if qos == 1 else 0x50, number))
        self.took(topic, payload, qos)

    def took(self, topic, payload, qos):
        """A message was delivered."""


class Subscriber(Client):
    """Has seen each topic up to some number."""

    def __init__(self, run, name, **options):
        super().__init__(run, name, **options)
        self.expected, self.repeated, self.wills = {}, [0, 0, 0], {}

    def took(self, topic, payload, qos):
        if topic.startswith("will/"):
            self.wills[topic] = self.wills.get(topic, 0) + 1
            return
        number, expected = int(payload), self.expected.get(topic, 0)
        if number > expected:
            raise Broken(f"{self.name}: {topic}: {number} came where {expected} is next")
        if number == expected:
            self.expected[topic] = expected + 1
            return
        self.repeated[qos] += 1
        if qos == 2:
            raise Broken(f"{self.name}: {topic}: {number} came again, {expected} is next")


class Retained(Client):
    """Asks for retained messages."""

    def __init__(self, run):
        super().__init__(run, "retained-reader", clean=True)
        self.found = {}

    def took(self, topic, payload, qos):
        self.found[topic] = int(payload)


class Run:
    """Lives of one broker on one data directory, and its clients."""

    def __init__(self, shards, seed):
        self.shards, self.draw = shards, random.Random(f"{seed}/{shards}")
        self.folder = tempfile.mkdtemp(prefix="ringmq-kills-")
        self.port, self.broker = free_port(), None
        self.selector = selectors.DefaultSelector()
        self.acknowledged = self.lives = 0
        self.publishers = [Client(self, f"publisher-{n}") for n in range(PUBLISHERS)]
        self.published = {}
        self.there, self.away = Subscriber(self, "there"), Subscriber(self, "away")
        self.retained, self.will = {}, None
        self.wills_due, self.fresh, self.ended = [], [], []

    def start(self):
        self.broker = Broker(self.shards, self.port, data_dir=os.path.join(self.folder, "data"), **OPTIONS)

    def kill(self, clients):
        """Whatever has been sent before counts."""
        self.broker.kill()
        for client in clients:
            if client.socket:
                client.socket.setblocking(True)
                client.socket.settimeout(DEADLINE_S)
                while client.read():
                    pass
                client.close()
        self.broker.close()
        self.broker = None

    def until(self, is_done, what):
        end = time.monotonic() + DEADLINE_S
        while not is_done():
            for key, events in self.selector.select(0.05):
                client = key.data
                if events & selectors.EVENT_WRITE:
                    client.flush()
                if client.socket and events & selectors.EVENT_READ and not client.read():
                    client.close()
                    raise Broken(f"the connection of {client.name} has ended")
            if time.monotonic() > end:
                raise Broken(f"not within {DEADLINE_S} s: {what}")

    def connect(self, *clients):
        for client in clients:
            client.connect()
        self.until(lambda: all(client.is_connected() for client in clients), "CONNACK")

    def once(self, name, clean):
        """Whether a session was present."""
        client = Client(self, name, clean)
        self.connect(client)
        client.disconnect()
        return client.present

    def begin(self):
        """The first life: who subscribes does so once."""
        self.start()
        for one in (self.there, self.away):
            self.connect(one)
            one.subscribe("load/#", "will/#")
            self.until(lambda one=one: one.subscribed, "SUBACK")
        self.away.disconnect()
        self.there.disconnect()

    def judge(self):
        """After a start: everything that was promised is there."""
        self.connect(*self.publishers, self.there)
        self.until(lambda: not any(one.unfinished for one in self.publishers), "what was sent again")
        self.connect(self.away)
        # Behind what waits, while it is on its way.
        for number, publisher in enumerate(self.publishers):
            for qos in (1, 2):
                self.publish_load(number, publisher, qos)
        both = (self.there, self.away)
        try:
            self.until(lambda: all(one.expected == self.published for one in both), "all messages")
        except Broken as broken:
            found = {one.name: one.expected for one in both}
            raise Broken(f"{broken}: of {self.published} there are {found}") from None
        self.judge_wills(both)
        self.judge_retained()
        self.judge_sessions()
        # Its acknowledgements are there before it leaves.
        pongs = self.away.pongs
        self.away.send(b"\xc0\0")
        self.until(lambda: self.away.pongs > pongs and not self.away.open, "the last exchanges")
        self.away.disconnect()

    def judge_wills(self, both):
        due = lambda: all(topic in one.wills for one in both for topic in self.wills_due)
        self.until(due, f"wills {self.wills_due}")
        for one in both:
            more = [topic for topic, count in one.wills.items() if count > 1]
            if more:
                raise Broken(f"{one.name}: wills more than once: {more}")
            one.wills.clear()
        self.wills_due.clear()

    def judge_retained(self):
        reader = Retained(self)
        self.connect(reader)
        reader.subscribe("retained/#")
        self.until(lambda: len(reader.found) >= len(self.retained) and reader.subscribed, "retained messages")
        if reader.found != self.retained:
            raise Broken(f"retained: {reader.found} instead of {self.retained}")
        reader.disconnect()

    def judge_sessions(self):
        for client in self.fresh:
            if client.is_promised and not self.once(client.name, False):
                raise Broken(f"the new session of {client.name} is gone")
            if self.once(client.name, True):
                raise Broken(f"a clean session of {client.name} was present")
            self.ended.append(client.name)
        self.fresh.clear()
        for name in self.ended[:-NEW_SESSIONS]:
            if self.once(name, False):
                raise Broken(f"the session of {name} has come back")
            self.once(name, True)
        del self.ended[:-NEW_SESSIONS]

    def load(self):
        """Traffic up to a random moment."""
        topic = f"will/{self.lives}"
        self.will = Client(self, f"will-{self.lives}", clean=True, will=(topic, b"gone"))
        self.connect(self.will)
        self.wills_due.append(topic)
        self.fresh = [Client(self, f"fresh-{self.lives}-{n}") for n in range(NEW_SESSIONS)]
        begins = sorted(self.draw.randrange(400) for _ in self.fresh)
        enough = self.acknowledged + self.draw.choice((1, 10, 100, 400)) * self.draw.randrange(1, 4)
        waiting = list(zip(begins, self.fresh))
        first = self.acknowledged

        def is_done():
            for number, publisher in enumerate(self.publishers):
                while len(publisher.unfinished) < WINDOW:
                    self.publish_one(number, publisher)
            while waiting and self.acknowledged - first >= waiting[0][0]:
                waiting.pop(0)[1].connect()
            return self.acknowledged >= enough

        self.until(is_done, "acknowledgements under load")

    def publish_one(self, number, publisher):
        qos = self.draw.randrange(1, 3)
        if self.draw.randrange(8) == 0:
            # One publisher and QoS of each topic, so that the last one sent is the one that stays: what is sent again
            # at QoS 1 would replace what was sent behind it at QoS 2.
            topic = f"retained/{number}/{qos}/{self.draw.randrange(RETAINED_TOPICS)}"
            self.retained[topic] = self.retained.get(topic, 0) + 1
            publisher.publish(topic, b"%d" % self.retained[topic], qos, True)
            return
        self.publish_load(number, publisher, qos)

    def publish_load(self, number, publisher, qos):
        topic = f"load/{number}/{qos}"
        count = self.published.get(topic, 0)
        self.published[topic] = count + 1
        publisher.publish(topic, b"%d" % count, qos)

    def life(self):
        """From one start to the kill."""
        self.lives += 1
        if self.draw.randrange(6) == 0:
            # In the middle of a start, or right behind it.
            self.broker = None
            self.kill_while_it_starts()
        self.start()
        self.judge()
        self.load()
        self.kill([*self.publishers, self.there, self.away, self.will, *self.fresh])

    def kill_while_it_starts(self):
        try:
            self.broker = Broker(self.shards, self.port, data_dir=os.path.join(self.folder, "data"),
                                 wait=False, **OPTIONS)
            time.sleep(self.draw.random() * 0.05)
        finally:
            if self.broker:
                self.broker.kill()
                self.broker.close()
                self.broker = None

    def repeated(self):
        return [sum(one.repeated[qos] for one in (self.there, self.away)) for qos in (1, 2)]


def run(shards, kills, seed, say=print):
    """Raises Broken with what to repeat it with."""
    one, begun = Run(shards, seed), time.monotonic()
    try:
        one.begin()
        one.kill([])
        while one.lives < kills:
            one.life()
            if one.lives % 100 == 0:
                say(f"{shards} shards: {one.lives} kills, {one.acknowledged} acknowledged", flush=True)
        one.start()
        one.judge()
    except (Broken, AssertionError, OSError) as error:
        log = one.broker.log()[-2000:] if one.broker else ""
        if one.broker:
            one.broker.close()
        raise Broken(f"{error}\nseed {seed}, {shards} shards, kill {one.lives}; the data directory is in "
                     f"{one.folder}\n{log}") from error
    one.kill([*one.publishers, one.there])
    shutil.rmtree(one.folder, ignore_errors=True)
    again = one.repeated()
    say(f"{shards} shards: {one.lives} kills in {time.monotonic() - begun:.0f} s, {one.acknowledged} messages "
        f"acknowledged, none lost; delivered again: {again[0]} at QoS 1, {again[1]} at QoS 2", flush=True)
    return one


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="of all numbers of shards together")
    parser.add_argument("--shards", default="1,2,4")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    allow_many_files()
    numbers = [int(one) for one in given.shards.split(",")]
    print(f"seed {given.seed}", flush=True)
    for index, shards in enumerate(numbers):
        kills = (given.kills * (index + 1)) // len(numbers) - (given.kills * index) // len(numbers)
        try:
            run(shards, kills, given.seed)
        except Broken as broken:
            sys.exit(f"BROKEN: {broken}")


if __name__ == "__main__":
    main()
