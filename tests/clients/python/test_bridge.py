"""Another broker that bridges to ours: Mosquitto with the settings it has when none are given."""

import time

import pytest

from bridges import mosquitto, needs_mosquitto  # noqa: F401
from broker import START_S
from client import VERSIONS, Client, eventually

pytestmark = [needs_mosquitto, pytest.mark.ringmq]


@pytest.fixture
def bridge(mosquitto):
    """A Mosquitto that passes on everything below `both/`, and `in/` and `out/` one way."""

    def make(broker, name, extra=""):
        return mosquitto(
            f"connection up\naddress 127.0.0.1:{broker.port}\nremote_clientid {name}\n"
            f"restart_timeout 1\ntopic both/# both 2\ntopic in/# in 1\ntopic out/# out 1\n{extra}"
        )

    return make


def state_of(watcher, name, wanted):
    """Waits for a word of the bridge about itself."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        message = watcher.next()
        assert message.topic == f"$SYS/broker/connection/{name}/state"
        if message.payload == wanted:
            return
    raise AssertionError(f"no {wanted}")


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("extra", [
    "",
    "bridge_protocol_version mqttv31\n",
    "bridge_protocol_version mqttv50\n",
], ids=["default", "3.1", "5.0"])
def test_mosquitto_bridges_with_its_defaults(start, bridge, name, shards, extra):
    broker = start(shards)
    name = name[-8:]
    watcher = Client(broker, "watcher", VERSIONS["3.1.1"]).connect()
    watcher.subscribe("$SYS/broker/connection/#", qos=1)
    other = bridge(broker, name, extra=extra)
    state_of(watcher, name, b"1")
    connected = broker.log().split(" ready\n", 1)[1]
    assert "refused" not in connected, connected  # no second try with another level
    eventually(lambda: other.log().count("Received SUBACK") >= 2)

    here = Client(broker, "here", VERSIONS["3.1.1"]).connect()
    there = Client(other, "there", VERSIONS["3.1.1"]).connect()
    here.subscribe("#", qos=2)
    there.subscribe("#", qos=2)
    here.publish_all([("in/1", b"down", 1), ("both/1", b"down", 2)])
    assert [there.next().payload for _ in range(2)] == [b"down"] * 2
    assert [here.next().payload for _ in range(2)] == [b"down"] * 2
    there.publish_all([("out/1", b"up", 1), ("both/2", b"up", 2)])
    assert [here.next().payload for _ in range(2)] == [b"up"] * 2
    assert [there.next().payload for _ in range(2)] == [b"up"] * 2
    # Nothing has come back: the last message of each is the next one.
    here.publish_all([("both/end", b"end", 2)])
    assert here.next().topic == there.next().topic == "both/end"

    # RETAIN crosses, in both directions.
    here.publish_all([("both/kept", b"k", 1, True)])
    assert here.next().topic == there.next().topic == "both/kept"
    late = Client(other, "late", VERSIONS["3.1.1"]).connect()
    late.subscribe("both/kept", qos=1)
    assert late.next().retain
    for one in (here, there, late):
        one.close()
    other.close()
    state_of(watcher, name, b"0")
    watcher.close()
