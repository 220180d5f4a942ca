"""Clients of MQTT-SN as operators see them: API, `ringmq ctl` and the conditions that both name."""

import subprocess

import pytest

from admin import Admin
from broker import BINARY, free_port
from test_admin_api import api, change, until
from test_mqtt_sn import mqtt, sn, sn_broker, start_sn  # noqa: F401 (fixtures)

pytestmark = pytest.mark.ringmq

MORE = "sn-forwarders = true\nsn-retry = \"1s\"\nsn-retries = 1\n"


@pytest.fixture(params=[1, 2], ids=lambda n: f"shards{n}")
def watched(request, start_sn):  # noqa: F811
    port = free_port()
    return start_sn(request.param, more=MORE, admin_listen=f"127.0.0.1:{port}"), Admin(port)


def test_each_state_of_a_client_is_shown(watched, sn, mqtt, name):  # noqa: F811
    """Active, asleep and until when, awake, lost, disconnected; its node, its topic ids, and what waits for it."""
    broker, admin = watched
    one = sn("one", to=broker, node=b"\x01n").connect(clean=False, duration=100)
    speaker = mqtt("speaker", to=broker)

    def shown():
        found = admin.get(api(f"clients/{name}-one")).json
        return {**found, **found["mqtt_sn"]}

    def state():
        return shown()["state"]

    one.subscribe(f"{name}/a".encode(), 0)
    one.subscribe(f"{name}/b".encode(), 1)
    one.subscribe(f"{name}/+".encode(), 1)
    active = shown()
    assert (active["protocol"], active["version"], active["state"]) == ("mqtt-sn", "1.2", "active")
    assert (active["node"], active["topic_ids"], active["transport"]) == ("016e", 2, "udp")
    assert active["address"] == "127.0.0.1:%d" % one.socket.getsockname()[1] and active["keep_alive_s"] == 100
    assert active["sleep_s"] is None and active["wakes_in_ms"] is None and 100_000 < active["lost_in_ms"] <= 110_000

    one.sleep(50)
    asleep = shown()
    assert (asleep["state"], asleep["connected"], asleep["sleep_s"]) == ("asleep", True, 50)
    assert 40_000 < asleep["wakes_in_ms"] <= 50_000 < asleep["lost_in_ms"] <= 75_000
    for n in range(3):
        speaker.publish_and_wait(f"{name}/a", b"0", 0)
        speaker.publish_and_wait(f"{name}/b", b"1", 1)

    def waiting():
        found = shown()
        return found["queue_messages"] + found["unanswered"]

    until(waiting, 6)

    one.wake()
    one.take(answer=False)
    until(state, "awake")
    assert shown()["wakes_in_ms"] is None and shown()["unanswered"] >= 1
    until(state, "lost")  # it answers nothing
    lost = shown()
    assert (lost["connected"], lost["protocol"], lost["version"], lost["topic_ids"]) == (False, "mqtt-sn", None, 2)
    assert lost["last_connection_ended"]["why"] == "the client was silent too long, or did not answer"

    again = sn("one", to=broker, node=b"\x01n").connect(clean=False)
    assert shown()["state"] == "active" and change(admin, "DELETE", f"clients/{name}-one").status == 204
    assert shown()["state"] == "disconnected"
    again.close()


def test_clients_are_listed_by_protocol(watched, sn, mqtt, name):  # noqa: F811
    broker, admin = watched
    sensor, _other = sn("sensor", to=broker).connect(clean=False), mqtt("other", to=broker)

    def listed(protocol):
        rows = admin.get(api(f"clients?protocol={protocol}")).json["clients"]
        return [(row["client_id"].rsplit("-", 1)[1], row["protocol"], row["mqtt_sn"] is None) for row in rows]

    assert listed("mqtt") == [("other", "mqtt", True)] and listed("mqtt-sn") == [("sensor", "mqtt-sn", False)]
    assert admin.get(api("clients?protocol=coap")).status == 400
    sensor.sleep(9)
    command = [BINARY, "ctl", "--admin", f"http://127.0.0.1:{admin.port}", "clients", "--protocol", "mqtt-sn"]
    table = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert len(table) == 2 and table[1].split()[:4] == [f"{name}-sensor", "-", sensor_address(sensor), "mqtt-sn"]
    assert "asleep" in table[1]
    sensor.wake()
    sensor.expect(0x17)
    sensor.disconnect()
    until(lambda: listed("mqtt-sn"), [("sensor", "mqtt-sn", False)])  # its session was one of MQTT-SN
    taker = mqtt("sensor", to=broker)
    until(lambda: sorted(listed("mqtt")), [("other", "mqtt", True), ("sensor", "mqtt", True)])
    taker.close()


def sensor_address(sensor):
    return "127.0.0.1:%d" % sensor.socket.getsockname()[1]
