"""Mosquitto bridges to a ringmq that is killed in the middle of the traffic, and every message is counted.

Mosquitto lives on, since it writes its sessions down at an ordered end only. Its window is unlimited, as the configuration
here says: with one, 2.0.11 lets a message that has just come overtake those that wait for room, and in the end some of
these wait for ever, with nothing in flight and all of it acknowledged. Its protocol is 3.1.1 with the mark of a bridge, the
default: in 5.0 its bridge asks for a session that ends with the connection, so by its own wish it loses what is on its
way to it. Clients are those of the kills, which repeat, forget and hide nothing on their own.
"""

import selectors
import time

import pytest

import kills
from bridges import mosquitto, needs_mosquitto  # noqa: F401
from broker import START_S, Broker, free_port
from conftest import SHARDS
from raw import publish

pytestmark = [needs_mosquitto, pytest.mark.ringmq]

KILLS = 3
# Unacknowledged messages of each publisher.
WINDOW = 40
# Messages that a keeper gets before each kill.
BEFORE = 150
# Messages of each QoS that have not come, at most.
UNDER_WAY = 300
QOS = (0, 1, 2)


class Side:
    """One of the two brokers, for the clients of it."""

    def __init__(self, port, selector):
        self.port, self.selector, self.acknowledged = port, selector, 0


class Keeper(kills.Client):
    """Holds what comes of each QoS to order, and 0 and 2 to once."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.numbers, self.repeated, self.got = {qos: set() for qos in QOS}, 0, 0

    def took(self, topic, payload, qos):
        number, seen = int(payload), self.numbers[qos]
        self.got += 1
        if number not in seen and number < max(seen, default=-1):
            raise kills.Broken(f"{self.name}: {topic}: {number} came behind {max(seen)}")
        if number in seen and qos != 1:
            raise kills.Broken(f"{self.name}: {topic}: {number} came twice")
        self.repeated += number in seen
        seen.add(number)

    def lacks(self, sender):
        """What was sent at QoS 1 and 2 and has not come."""
        return {qos: sorted(set(range(sender.sent[qos])) - self.numbers[qos]) for qos in (1, 2)}


class Sender(kills.Client):
    """Numbers what it publishes, and keeps its window full."""

    def __init__(self, side, branch):
        super().__init__(side, f"sender-{branch}")
        self.branch, self.sent, self.under_way = branch, {qos: 0 for qos in QOS}, UNDER_WAY

    def fill(self, keeper):
        """As long as not too many are under way: the end waits for all of them."""
        while (self.socket and self.is_connected() and len(self.unfinished) < WINDOW
               and self.sent[1] < len(keeper.numbers[1]) + self.under_way):
            self.one_of_each()

    def one_of_each(self):
        for qos in QOS:
            topic, payload = f"{self.branch}/{qos}", b"%d" % self.sent[qos]
            self.sent[qos] += 1
            if qos:
                self.publish(topic, payload, qos)
            else:
                self.send(publish(topic, payload))


class Flow:
    """Both brokers, a sender and a keeper at each; what is sent at one is kept at the other."""

    def __init__(self, mosquitto, shards, folder):
        self.shards, self.folder, self.broker, self.log = shards, folder, None, ""
        self.selector = selectors.DefaultSelector()
        self.here = Side(free_port(), self.selector)
        self.start()
        self.mosquitto = mosquitto(
            f"max_inflight_messages 0\nconnection up\naddress 127.0.0.1:{self.here.port}\nremote_clientid stock\nrestart_timeout 1\n"
            + "".join(f"topic up/{qos} out {qos}\ntopic down/{qos} in {qos}\n" for qos in QOS)
        )
        self.there = Side(self.mosquitto.port, self.selector)
        self.up, self.down = Sender(self.there, "up"), Sender(self.here, "down")
        self.keeps_up, self.keeps_down = Keeper(self.here, "keeps-up"), Keeper(self.there, "keeps-down")
        self.at_ours = (self.down, self.keeps_up)

    def start(self):
        self.broker = Broker(self.shards, self.here.port, data_dir=self.folder / "data", **kills.OPTIONS)

    def close(self):
        self.broker.close()
        for client in (self.up, self.down, self.keeps_up, self.keeps_down):
            client.close()

    def kill(self):
        """What has been sent to its clients before counts."""
        self.log = self.broker.log()
        self.broker.kill()
        for client in self.at_ours:
            client.socket.setblocking(True)
            client.socket.settimeout(START_S)
            while client.read():
                pass
            client.close()
        self.broker.close()

    def until(self, is_done, what, flows=True):
        """Both senders go on meanwhile, as far as they are connected."""
        end = time.monotonic() + kills.DEADLINE_S
        while not is_done():
            if flows:
                self.up.fill(self.keeps_up)
                self.down.fill(self.keeps_down)
            for key, events in self.selector.select(0.05):
                client = key.data
                if events & selectors.EVENT_WRITE:
                    client.flush()
                if client.socket and events & selectors.EVENT_READ and not client.read():
                    raise kills.Broken(f"the connection of {client.name} has ended")
            if time.monotonic() > end:
                raise kills.Broken(f"not within {kills.DEADLINE_S} s: {what()}")

    def connect(self, *clients):
        for client in clients:
            client.connect()
        self.until(lambda: all(one.is_connected() for one in clients), lambda: "CONNACK", flows=False)

    def begin(self):
        self.connect(self.keeps_up, self.keeps_down)
        self.keeps_up.subscribe("up/#")
        self.keeps_down.subscribe("down/#")
        self.until(lambda: self.keeps_up.subscribed and self.keeps_down.subscribed, lambda: "SUBACK", flows=False)
        self.crosses()
        self.connect(self.up, self.down)

    def crosses(self):
        """The bridge carries QoS 0 both ways, so it has subscribed, too."""
        both = (self.keeps_up, self.keeps_down)
        before = [len(one.numbers[0]) for one in both]
        probes = Sender(self.there, "up"), Sender(self.here, "down")
        for probe, sender in zip(probes, (self.up, self.down)):
            probe.name, probe.clean = f"probe-{probe.branch}", True
            self.connect(probe)
            probe.sender = sender

        def has_crossed():
            for probe, one, count in zip(probes, both, before):
                if len(one.numbers[0]) == count:
                    probe.send(publish(f"{probe.branch}/0", b"%d" % probe.sender.sent[0]))
                    probe.sender.sent[0] += 1
            return all(len(one.numbers[0]) > count for one, count in zip(both, before))

        self.until(has_crossed, lambda: "QoS 0 in both directions", flows=False)
        for probe in probes:
            probe.disconnect()

    def moves(self, *keepers):
        wanted = [one.got + BEFORE for one in keepers]
        self.until(lambda: all(one.got >= count for one, count in zip(keepers, wanted)),
                   lambda: f"the flow: {[one.got for one in keepers]}")

    def arrives(self):
        """Everything, without more traffic."""
        pairs = (self.keeps_up, self.up), (self.keeps_down, self.down)

        def is_done():
            return not any(sender.unfinished or any(keeper.lacks(sender).values()) for keeper, sender in pairs)

        self.until(is_done, lambda: f"all: {[keeper.lacks(sender) for keeper, sender in pairs]} have not come, and "
                                    f"{[sender.unfinished for _, sender in pairs]} wait", flows=False)


@pytest.mark.parametrize("shards", SHARDS)
def test_mosquitto_bridges_to_a_broker_that_is_killed(mosquitto, tmp_path, shards):
    flow = Flow(mosquitto, shards, tmp_path)
    try:
        flow.begin()
        for _ in range(KILLS):
            flow.moves(flow.keeps_up, flow.keeps_down)
            flow.kill()
            # Mosquitto takes what is published at it, and keeps it for its bridge.
            wanted = flow.there.acknowledged + BEFORE
            flow.up.under_way += BEFORE
            flow.until(lambda: flow.there.acknowledged >= wanted, lambda: "a Mosquitto alone")  # noqa: B023
            flow.start()
            flow.connect(*flow.at_ours)
        flow.moves(flow.keeps_up, flow.keeps_down)
        flow.arrives()
        repeated = [one.repeated for one in (flow.keeps_up, flow.keeps_down)]
        print(f"{flow.up.sent} up and {flow.down.sent} down, again at QoS 1 {repeated}; of QoS 0 "
              f"{len(flow.keeps_up.numbers[0])} and {len(flow.keeps_down.numbers[0])} have arrived")
    except kills.Broken as broken:
        raise AssertionError(f"{broken}\n{flow.log[-2000:]}\n{flow.mosquitto.log()[-3000:]}") from broken
    finally:
        flow.close()
