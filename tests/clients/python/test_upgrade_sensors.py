"""An upgrade with clients of MQTT-SN and with bridges: their sessions go on, and nothing of QoS 1 is lost."""

import pytest

from bridges import at, is_up, needs_mosquitto, mosquitto  # noqa: F401
from client import V5, Client
from sn import DISCONNECT, PINGREQ, Sn
from test_mqtt_sn import LISTENER, free_udp_port
from upgraded import Configured, joined, upgraded  # noqa: F401

pytestmark = pytest.mark.ringmq


@pytest.fixture
def sensors():
    made = []

    def make(port, client_id):
        made.append(Sn(port, client_id))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("has_journal", [False, True], ids=["memory", "journal"])
def test_sensors_keep_sessions_and_topic_ids(upgraded, joined, sensors, tmp_path, has_journal):
    """Awake or asleep, a sensor is told to connect once [SN-91], and goes on with what it had."""
    configured, port = Configured(tmp_path), free_udp_port()
    journal = [f'data-dir = "{tmp_path / "data"}"', 'journal-segment-bytes = "4MiB"'] if has_journal else []
    configured.write(2, *journal)
    with open(configured.path, "a", encoding="utf-8") as out:
        out.write(LISTENER.format(port=port))
    broker = configured.start(upgraded)
    awake, asleep = sensors(port, "awake").connect(clean=False), sensors(port, "asleep").connect(clean=False)
    ids = {one: one.subscribe(f"t/{one.client_id.decode()}".encode(), 1) for one in (awake, asleep)}
    asleep.sleep(60)
    sender = joined(broker, "sender")
    for count in range(2):
        sender.publish_all([("t/asleep", b"before %d" % count, 1)])
        broker.upgrade()
        sender.publish_all([("t/asleep", b"after %d" % count, 1), ("t/awake", b"after %d" % count, 1)])
        awake.send(PINGREQ)
        awake.expect(DISCONNECT, b"")
        asleep.wake()
        asleep.expect(DISCONNECT, b"")
        expected = {awake: [b"after %d" % count], asleep: [b"before %d" % count, b"after %d" % count]}
        for one in (awake, asleep):
            one.connect(clean=False)
            assert one.take_registration() == (ids[one], f"t/{one.client_id.decode()}".encode())
            for payload in expected[one]:
                assert one.take()[1:4:2] == (ids[one], payload)
            if not has_journal:
                # Ids that it has asked for are in the log alone: it is told so, and asks again [SN-60].
                one.publish(ids[one], b"own", 0, code=2)
                assert one.register(f"t/{one.client_id.decode()}".encode()) == ids[one]
            one.publish(ids[one], b"own", 0)
            assert one.take()[1:4:2] == (ids[one], b"own")
        asleep.sleep(60)
    assert sender.disconnected.empty()


@needs_mosquitto
def test_a_bridge_loses_nothing_at_qos_1(upgraded, joined, mosquitto, tmp_path):
    """It is made anew by the new process, and what waits for the other end is sent then."""
    other = mosquitto()
    configured = Configured(tmp_path)
    configured.write(2)
    with open(configured.path, "a", encoding="utf-8") as out:
        out.write('[[bridge]]\nname = "b0"\nbackoff-base = 0\nbackoff-cap = 0\n' + at(other) +
                  'topics = ["out/# out 1", "in/# in 1"]\n')
    broker = configured.start(upgraded)
    is_up(broker)
    here = joined(broker, "here")
    here.subscribe("in/#", qos=1)
    there = Client(other, "there", V5).connect()
    there.subscribe("out/#", qos=1)
    sent = 0
    for times in range(3):
        payloads = [b"%d" % number for number in range(sent, sent + 20)]
        here.publish_all([("out/t", payload, 1) for payload in payloads[:10]])
        if times:
            broker.upgrade()
        here.publish_all([("out/t", payload, 1) for payload in payloads[10:]])
        is_up(broker, times=times + 1)
        there.publish_all([("in/t", payload, 1) for payload in payloads])
        for client in (there, here):
            missing = set(payloads)
            while missing:  # some may come twice
                missing.discard(client.next().payload)
        sent += 20
    there.close()
    assert here.disconnected.empty()
