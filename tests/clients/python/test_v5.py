"""What only v5 has: properties, identifiers, aliases, limits."""

import struct

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

import raw as mqtt
from client import properties


def test_properties_are_passed_on_unchanged_and_in_order(client, name):
    subscriber = client("s", "5")
    subscriber.subscribe(name, 1)
    pairs = [("z", "1"), ("a", "2"), ("z", "3"), ("", ""), ("ü", "€")]
    client("p", "5").publish_and_wait(
        name, b"x", 1, PayloadFormatIndicator=1, ContentType="application/json",
        ResponseTopic=f"{name}/answer", CorrelationData=b"\0\1\xff", UserProperty=pairs)
    received = subscriber.next().properties
    assert received.UserProperty == pairs
    assert received.PayloadFormatIndicator == 1
    assert received.ContentType == "application/json"
    assert received.ResponseTopic == f"{name}/answer"
    assert received.CorrelationData == b"\0\1\xff"


def test_request_and_response(client, name):
    server, asker = client("server", "5"), client("asker", "5")
    server.subscribe(f"{name}/question", 1)
    asker.subscribe(f"{name}/answer/#", 1)
    asker.publish(f"{name}/question", b"6*7", 1, ResponseTopic=f"{name}/answer/1",
                  CorrelationData=b"id")
    question = server.next()
    server.publish(question.properties.ResponseTopic, b"42", 1,
                   CorrelationData=question.properties.CorrelationData)
    answer = asker.next()
    assert (answer.topic, answer.payload) == (f"{name}/answer/1", b"42")
    assert answer.properties.CorrelationData == b"id"


def test_subscription_identifiers(client, name):
    subscriber = client("s", "5")
    subscriber.subscribe(f"{name}/a", 1, SubscriptionIdentifier=7)
    subscriber.subscribe(f"{name}/+", 0, SubscriptionIdentifier=268_435_455)
    publisher = client("p", "5")
    publisher.publish_and_wait(f"{name}/b", b"x", 1)
    assert subscriber.next().properties.SubscriptionIdentifier == [268_435_455]


@pytest.mark.ringmq
def test_overlapping_subscriptions_one_copy_all_identifiers(client, name):
    subscriber = client("s", "5")
    subscriber.subscribe(f"{name}/a", 1, SubscriptionIdentifier=7)
    subscriber.subscribe(f"{name}/+", 2, SubscriptionIdentifier=8)
    subscriber.subscribe(f"{name}/#", 0)
    publisher = client("p", "5")
    publisher.publish_all([(f"{name}/a", b"x", 2), (f"{name}/end", b"", 2)])
    messages = subscriber.until(f"{name}/end")
    assert [m.payload for m in messages] == [b"x"]
    assert messages[0].qos == 2
    assert sorted(messages[0].properties.SubscriptionIdentifier) == [7, 8]


def test_no_local(client, name):
    both = client("b", "5")
    both.subscribe(name, options=SubscribeOptions(qos=1, noLocal=True))
    both.publish_and_wait(name, b"mine", 1)
    client("p").publish_and_wait(name, b"theirs", 1)
    assert both.next().payload == b"theirs"


def test_topic_alias_from_a_client(client, name):
    subscriber = client("s", "5")
    subscriber.subscribe(f"{name}/#", 1)
    publisher = client("p", "5")
    assert publisher.connack.TopicAliasMaximum >= 10
    publisher.publish(f"{name}/one", b"1", 1, TopicAlias=1)
    publisher.publish(f"{name}/two", b"2", 1, TopicAlias=2)
    for n in range(20):
        publisher.publish("", b"%d" % n, 1, TopicAlias=n % 2 + 1)
    expected = [f"{name}/one", f"{name}/two"] * 11
    assert [m.topic for m in subscriber.take(22)] == expected


@pytest.mark.ringmq
def test_topic_alias_to_a_client(raw, client, name):
    subscriber = raw(5)
    subscriber.connect(f"{name}-s", properties=b"\x22\0\x02")
    subscriber.subscribe((f"{name}/#", 0))
    publisher = client("p", "5")
    for n in range(30):
        publisher.publish(f"{name}/a/topic/long/enough/{n % 3}", b"%d" % n, 0)
    aliases, used = {}, 0
    for n in range(30):
        publish = subscriber.expect_publish()
        topic = publish.topic
        if publish.properties:
            assert publish.properties[0] == 0x23
            alias = struct.unpack_from("!H", publish.properties, 1)[0]
            assert 1 <= alias <= 2
            if topic:
                aliases[alias] = topic
            else:
                used += 1
            topic = aliases[alias]
        assert topic == f"{name}/a/topic/long/enough/{n % 3}"
        assert publish.payload == b"%d" % n
    assert used >= 5


def test_message_expiry(client, name):
    kept = properties("CONNECT", SessionExpiryInterval=3600)
    subscriber = client("s", "5", connect_properties=kept)
    subscriber.subscribe(f"{name}/#", 1)
    subscriber.disconnect()
    publisher = client("p", "5")
    publisher.publish_and_wait(f"{name}/1", b"short", 1, MessageExpiryInterval=1)
    publisher.publish_and_wait(f"{name}/2", b"long", 1, MessageExpiryInterval=100)
    publisher.publish_and_wait(f"{name}/3", b"none", 1)
    mqtt.wait(2.5)
    subscriber = client("s", "5", clean=False, connect_properties=kept)
    first, second = subscriber.take(2)
    assert (first.payload, second.payload) == (b"long", b"none")
    assert 90 <= first.properties.MessageExpiryInterval <= 98


def test_maximum_packet_size_of_the_client(raw, client, name):
    small, large = raw(5), client("large", "5")
    small.connect(f"{name}-small", properties=b"\x27\0\0\1\0")
    small.subscribe((f"{name}/#", 1))
    large.subscribe(f"{name}/#", 1)
    publisher = client("p", "5")
    assert publisher.publish_and_wait(f"{name}/1", b"x" * 1000, 1) in (0, 0x10)
    publisher.publish_and_wait(f"{name}/2", b"y", 1)
    assert [len(p) for p in large.payloads(2)] == [1000, 1]
    assert small.expect_publish().payload == b"y"


@pytest.mark.ringmq
def test_maximum_packet_size_of_the_server(raw, start, client, name):
    broker = start(packet_size_max=1000)
    one = raw(5, to=broker)
    one.send(mqtt.connect(f"{name}-p", 5))
    assert b"\x27\0\0\x03\xe8" in one.expect(0x20)
    one.send(mqtt.publish(name, b"x" * 900, 1, 1, version=5))
    one.expect(0x40)
    one.send_as_far_as_possible(mqtt.publish(name, b"x" * 1000, 1, 2, version=5))
    assert one.expect_end()[0][1][0] == 0x95


@pytest.mark.ringmq
@pytest.mark.parametrize("asked_s", [0, 600])
def test_server_keep_alive(raw, start, name, asked_s):
    broker = start(keep_alive_max="1s")
    silent, old, modest = raw(5, to=broker), raw(4, to=broker), raw(5, to=broker)
    modest.send(mqtt.connect(f"{name}-modest", 5, keep_alive=1))
    assert b"\x13" not in modest.expect(0x20)
    silent.send(mqtt.connect(f"{name}-silent", 5, keep_alive=asked_s))
    assert b"\x13\0\x01" in silent.expect(0x20)  # [MQTT-3.1.2-21]
    old.connect(f"{name}-old", keep_alive=asked_s)  # told nothing, and timed by it all the same
    assert silent.expect_end()[0][1][0] == 0x8D
    assert old.expect_end() == []


@pytest.mark.ringmq
@pytest.mark.parametrize("maximum", [1, 3])
def test_receive_maximum_of_the_client(raw, client, name, maximum):
    subscriber = raw(5)
    subscriber.connect(f"{name}-s", properties=b"\x21" + struct.pack("!H", maximum))
    subscriber.subscribe((f"{name}/t", 1))
    client("p", "5").publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(10)])
    received, waiting = [], []
    while len(received) < 10:
        publish = subscriber.expect_publish()
        received.append(publish.payload)
        waiting.append(publish.packet_id)
        if len(waiting) == maximum:
            assert subscriber.ping() == [], "more than the receive maximum"
            subscriber.send(*(mqtt.ack(0x40, number) for number in waiting))
            waiting = []
    assert received == [b"%d" % n for n in range(10)]


@pytest.mark.ringmq
def test_receive_maximum_of_the_server(raw, name):
    one = raw(5)
    one.send(mqtt.connect(f"{name}-p", 5))
    body = one.expect(0x20)
    at = body.index(b"\x21")
    maximum = struct.unpack_from("!H", body, at + 1)[0]
    one.send(*(mqtt.publish(name, b"x", 2, n, version=5) for n in range(1, maximum + 1)))
    for _ in range(maximum):
        one.expect(0x50)
    one.send(mqtt.publish(name, b"x", 2, maximum + 1, version=5))
    assert one.expect_end()[0][1][0] == 0x93


def test_authentication_method_is_refused(raw, name):
    one = raw(5)
    one.send(mqtt.connect(f"{name}-a", 5, properties=b"\x15" + mqtt.text("SCRAM-SHA-256")))
    body = one.expect(0x20)
    assert body[:2] == b"\0\x8c"
    assert one.expect_end() == []


@pytest.mark.ringmq
def test_auth_without_method_is_a_protocol_error(raw, name):
    one = raw(5)
    one.connect(f"{name}-a")
    one.send(b"\xf0\0")
    assert one.expect_end()[0][1][0] == 0x82
