"""Will messages."""

import pytest

import raw as mqtt
from client import properties

VERSIONS = ["3.1", "3.1.1", "5"]


def will(topic, payload=b"gone", qos=1, retain=False, **values):
    result = {"topic": topic, "payload": payload, "qos": qos, "retain": retain}
    if values:
        result["properties"] = properties("WILLMESSAGE", **values)
    return result


@pytest.fixture
def observer(client, name):
    one = client("observer", "5")
    one.subscribe(f"{name}/#", 2)
    return one


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_broken_connection(client, observer, name, version, qos):
    client("w", version, will=will(f"{name}/w", qos=qos)).cut()
    message = observer.next()
    assert (message.topic, message.payload, message.qos) == (f"{name}/w", b"gone", qos)


@pytest.mark.parametrize("version", VERSIONS)
def test_disconnect_removes_it(client, observer, name, version):
    client("w", version, will=will(f"{name}/w")).disconnect()
    # The same client id again: its shard has handled the end of the first connection.
    client("w", version).publish_and_wait(f"{name}/end", b"", 1)
    assert observer.until(f"{name}/end") == []


def test_disconnect_with_will(raw, observer, name):
    one = raw(5)
    one.connect(f"{name}-w", will=(f"{name}/w", b"gone", b""))
    one.send(b"\xe0\x01\x04")
    assert one.expect_end() == []
    assert observer.next().payload == b"gone"


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_will(client, name, version):
    client("w", version, will=will(f"{name}/w", retain=True)).cut()
    subscriber = client("s")
    subscriber.subscribe(f"{name}/#", 1)
    message = subscriber.next()
    assert message.payload == b"gone"
    client("p").publish_and_wait(f"{name}/w", b"", 1, True)


def test_takeover_publishes_it(raw, observer, name):
    one, two = raw(4), raw(4)
    one.connect(f"{name}-w", will=(f"{name}/w", b"gone", b""))
    two.connect(f"{name}-w")
    assert observer.next().payload == b"gone"


def test_protocol_error_publishes_it(raw, observer, name):
    one = raw(5)
    one.connect(f"{name}-w", will=(f"{name}/w", b"gone", b""))
    one.send(b"\x36\x03\0\0\0")
    one.expect_end()
    assert observer.next().payload == b"gone"


def test_keep_alive_publishes_it(raw, observer, name):
    one = raw(4)
    one.connect(f"{name}-w", keep_alive=1, will=(f"{name}/w", b"gone", b""))
    assert observer.next().payload == b"gone"
    assert one.expect_end() == []


KEPT = properties("CONNECT", SessionExpiryInterval=3600)


def test_delay(client, observer, name):
    publisher = client("p")
    client("w", "5", connect_properties=KEPT, will=will(f"{name}/w", WillDelayInterval=2)).cut()
    publisher.publish_and_wait(f"{name}/before", b"", 1)
    assert observer.until(f"{name}/before") == []
    assert observer.next().payload == b"gone"


def test_delay_cancelled_by_a_reconnect(client, observer, name):
    client("w", "5", connect_properties=KEPT, will=will(f"{name}/w", WillDelayInterval=1)).cut()
    again = client("w", "5", clean=False, connect_properties=KEPT)
    assert again.session_present
    mqtt.wait(2.5)
    again.publish_and_wait(f"{name}/end", b"", 1)
    assert observer.until(f"{name}/end") == []


def test_delay_ends_with_the_session(client, observer, name):
    short = properties("CONNECT", SessionExpiryInterval=1)
    client("w", "5", connect_properties=short, will=will(f"{name}/w", WillDelayInterval=600)).cut()
    assert observer.next().payload == b"gone"


def test_properties(client, observer, name):
    pairs = [("b", "2"), ("a", "1"), ("b", "1")]
    client("w", "5", will=will(
        f"{name}/w", PayloadFormatIndicator=1, ContentType="text", ResponseTopic="answer",
        CorrelationData=b"\0\xff", MessageExpiryInterval=60, UserProperty=pairs)).cut()
    received = observer.next().properties
    assert received.UserProperty == pairs
    assert received.PayloadFormatIndicator == 1
    assert received.ContentType == "text"
    assert received.ResponseTopic == "answer"
    assert received.CorrelationData == b"\0\xff"
    assert 58 <= received.MessageExpiryInterval <= 60
