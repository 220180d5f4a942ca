"""Retained messages: set, replaced, cleared, found by wildcards in great numbers."""

import time

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

import raw as mqtt

VERSIONS = ["3.1", "3.1.1", "5"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_set_replace_clear(client, name, version, qos):
    publisher = client("p", version)
    topic = f"{name}/t"

    def publish(payload, retain):
        publisher.publish_and_wait(topic, payload, qos, retain)
        # QoS 0 has no answer: what is acknowledged after it tells that it was accepted.
        publisher.publish_and_wait(f"{name}-accepted", b"", 1)

    def seen_by_a_new_subscriber(number, expected):
        subscriber = client(f"s{number}", version)
        subscriber.subscribe(f"{name}/+", qos)
        messages = subscriber.take(expected)
        publisher.publish_and_wait(f"{name}/end", b"", qos)
        messages += subscriber.until(f"{name}/end")
        return [(m.payload, m.retain, m.qos) for m in messages]

    publish(b"one", True)
    assert seen_by_a_new_subscriber(1, 1) == [(b"one", True, qos)]
    publish(b"two", True)
    assert seen_by_a_new_subscriber(2, 1) == [(b"two", True, qos)]
    publish(b"not kept", False)
    assert seen_by_a_new_subscriber(3, 1) == [(b"two", True, qos)]
    publish(b"", True)
    assert seen_by_a_new_subscriber(4, 0) == []


def store(raw, name, count):
    """Retains `count` messages on `name/<n mod 100>/<n>`; all are stored on return."""
    publisher = raw(4)
    publisher.connect(f"{name}-filler")
    for start in range(0, count, 1000):
        publisher.send(*(
            mqtt.publish(f"{name}/{n % 100}/{n}", b"%d" % n, retain=True)
            for n in range(start, min(start + 1000, count))))
    publisher.send(mqtt.publish(f"{name}/last", b"x", 1, 1, retain=True))
    while publisher.receive()[0] != 0x40:
        pass
    return publisher


def clear(publisher, name, count):
    for start in range(0, count, 1000):
        publisher.send(*(
            mqtt.publish(f"{name}/{n % 100}/{n}", b"", retain=True)
            for n in range(start, min(start + 1000, count))))
    publisher.send(mqtt.publish(f"{name}/last", b"", retain=True))
    publisher.ping()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_ten_thousand_for_a_wildcard(raw, name, qos):
    count = 10_000
    publisher = store(raw, name, count)
    subscriber = raw(4)
    subscriber.connect(f"{name}-s")
    subscriber.send(mqtt.subscribe(1, [(f"{name}/+/+", qos)]))
    numbers = []
    while len(numbers) < count:
        first, body = subscriber.receive()
        if first & 0xF0 == 0x30:
            publish = mqtt.Publish(first, body, 4)
            assert publish.retain and publish.qos == 0
            numbers.append(int(publish.payload))
    assert sorted(numbers) == list(range(count))
    clear(publisher, name, count)


@pytest.mark.ringmq
@pytest.mark.parametrize("qos", [1, 2])
def test_ten_thousand_at_higher_qos_pass_the_queue_limit(raw, name, qos):
    """More matches than a session may queue: they come in pieces, none is cut."""
    count = 10_000
    publisher = raw(4)
    publisher.connect(f"{name}-filler")
    for start in range(0, count, 500):
        publisher.send(*(mqtt.publish(f"{name}/{n}", b"%d" % n, 1, n + 1, retain=True)
                         for n in range(start, start + 500)))
        for _ in range(500):
            publisher.expect(0x40)
    subscriber = raw(4)
    subscriber.connect(f"{name}-s")
    subscriber.send(mqtt.subscribe(1, [(f"{name}/#", qos)]))
    numbers = []
    while len(numbers) < count:
        first, body = subscriber.receive()
        if first & 0xF0 == 0x30:
            publish = mqtt.Publish(first, body, 4)
            assert publish.qos == 1
            numbers.append(int(publish.payload))
            subscriber.send(mqtt.ack(0x40, publish.packet_id))
    assert sorted(numbers) == list(range(count))


@pytest.mark.ringmq
def test_hundred_thousand_without_stalling_others(raw, name):
    count = 100_000
    publisher = store(raw, name, count)
    other = raw(5)
    other.connect(f"{name}-other")
    subscriber = raw(5)
    subscriber.connect(f"{name}-s")
    subscriber.send(mqtt.subscribe(1, [(f"{name}/#", 0)], 5))
    seen, longest = set(), 0.0
    while len(seen) < count + 1:
        first, body = subscriber.receive()
        if first & 0xF0 == 0x30:
            publish = mqtt.Publish(first, body, 5)
            assert publish.retain
            seen.add(publish.topic)
            if len(seen) % 5000 == 0:
                start = time.monotonic()
                other.ping()
                longest = max(longest, time.monotonic() - start)
    assert longest < 5, "a walk over retained messages held the shard"
    assert subscriber.is_open()
    clear(publisher, name, count)


def test_retain_handling(client, name):
    client("p").publish_and_wait(f"{name}/t", b"x", 1, True)
    marker = client("m")

    def subscribe(subscriber, handling, expected):
        subscriber.subscribe(f"{name}/t", options=SubscribeOptions(
            qos=1, retainHandling=handling))
        payloads = subscriber.payloads(expected)
        marker.publish_and_wait(f"{name}/end", b"", 1)
        return payloads + [m.payload for m in subscriber.until(f"{name}/end")]

    subscriber = client("s", "5")
    subscriber.subscribe(f"{name}/end", 1)
    assert subscribe(subscriber, 2, 0) == []
    assert subscribe(subscriber, 1, 0) == []
    assert subscribe(subscriber, 0, 1) == [b"x"]
    subscriber.unsubscribe(f"{name}/t")
    assert subscribe(subscriber, 1, 1) == [b"x"]


def test_retain_as_published(client, name):
    plain, as_published = client("a", "5"), client("b", "5")
    plain.subscribe(name, options=SubscribeOptions(retainAsPublished=False))
    as_published.subscribe(name, options=SubscribeOptions(retainAsPublished=True))
    publisher = client("p")
    publisher.publish(name, b"1", retain=True)
    publisher.publish(name, b"2", retain=False)
    assert [m.retain for m in plain.take(2)] == [False, False]
    assert [m.retain for m in as_published.take(2)] == [True, False]


def test_retained_messages_expire(client, raw, name):
    publisher = client("p", "5")
    publisher.publish_and_wait(f"{name}/short", b"x", 1, True, MessageExpiryInterval=1)
    publisher.publish_and_wait(f"{name}/long", b"y", 1, True, MessageExpiryInterval=100)
    mqtt.wait(2.5)
    subscriber = client("s", "5")
    subscriber.subscribe(f"{name}/#")
    message = subscriber.next()
    assert message.payload == b"y"
    assert 90 <= message.properties.MessageExpiryInterval <= 98


def test_a_retained_message_is_there_for_every_shard(client, name):
    """Whatever the shards of the publisher, the topic and the subscriber."""
    publishers = [client(f"p{i}") for i in range(4)]
    for i, publisher in enumerate(publishers):
        for n in range(10):
            publisher.publish_and_wait(f"{name}/{i}/{n}", b"%d" % n, 1, True)
    for s in range(4):
        subscriber = client(f"s{s}", "5")
        subscriber.subscribe(f"{name}/+/+", 1)
        topics = {m.topic for m in subscriber.take(40)}
        assert len(topics) == 40
