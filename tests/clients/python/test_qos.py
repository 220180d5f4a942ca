"""Qualities of service in both directions, in every version."""

import pytest

from client import VERSIONS

ALL = list(VERSIONS)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_delivered_qos_is_the_lower_one(client, name, version, published, granted):
    subscriber = client("s", version)
    assert subscriber.subscribe(f"{name}/+", granted) == [granted]
    client("p", version).publish_and_wait(f"{name}/t", b"hello", published)
    message = subscriber.next()
    assert (message.topic, message.payload) == (f"{name}/t", b"hello")
    assert message.qos == min(published, granted)
    assert not message.retain and not message.dup


@pytest.mark.parametrize("sender", ALL)
@pytest.mark.parametrize("receiver", ALL)
def test_versions_understand_each_other(client, name, sender, receiver):
    subscriber = client("s", receiver)
    subscriber.subscribe(f"{name}/#", 2)
    client("p", sender).publish_all([(f"{name}/{qos}", b"x%d" % qos, qos) for qos in range(3)])
    messages = sorted(subscriber.take(3), key=lambda message: message.qos)
    assert [(m.payload, m.qos) for m in messages] == [(b"x0", 0), (b"x1", 1), (b"x2", 2)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_order_and_completeness_for_many_subscribers(client, name, qos):
    count = 300
    subscribers = [client(f"s{i}", ALL[i % 3]) for i in range(6)]
    for subscriber in subscribers:
        subscriber.subscribe(f"{name}/#", qos)
    publishers = [client(f"p{i}", ALL[i % 3]) for i in range(3)]
    for i, publisher in enumerate(publishers):
        for n in range(count):
            publisher.publish(f"{name}/{i}", b"%d" % n, qos)
    for subscriber in subscribers:
        seen = {i: [] for i in range(3)}
        for message in subscriber.take(3 * count):
            seen[int(message.topic[-1])].append(int(message.payload))
        assert all(numbers == list(range(count)) for numbers in seen.values())


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 65_536, 1_000_000])
@pytest.mark.parametrize("qos", [0, 2])
def test_payloads_of_all_sizes(client, name, size, qos):
    subscriber = client("s", "5")
    subscriber.subscribe(name, qos)
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    client("p").publish_and_wait(name, payload, qos)
    assert subscriber.next().payload == payload


def test_one_connection_publishes_and_subscribes(client, name):
    both = client("b", "5")
    both.subscribe(f"{name}/#", 2)
    both.publish_all([(f"{name}/{n}", b"%d" % n, n % 3) for n in range(90)])
    seen = {0: [], 1: [], 2: []}
    for message in both.take(90):
        seen[message.qos].append(int(message.payload))
    assert seen == {q: [n for n in range(90) if n % 3 == q] for q in range(3)}


def test_unsubscribe_ends_delivery(client, name):
    subscriber, publisher = client("s", "5"), client("p")
    subscriber.subscribe([f"{name}/a", f"{name}/b"], 1)
    assert subscriber.unsubscribe(f"{name}/a") == [0]
    assert subscriber.unsubscribe(f"{name}/a") == [0x11]
    publisher.publish_all([(f"{name}/a", b"1", 1), (f"{name}/b", b"2", 1)])
    assert subscriber.until(f"{name}/b") == []


@pytest.mark.parametrize("qos", [1, 2])
def test_suback_means_visible_everywhere(client, name, qos):
    """A message published after the SUBACK, from any shard, reaches the subscriber."""
    publishers = [client(f"p{i}") for i in range(6)]
    for round_number in range(20):
        subscriber = client(f"s{round_number}")
        subscriber.subscribe(f"{name}/{round_number}", qos)
        for publisher in publishers:
            publisher.publish(f"{name}/{round_number}", b"x", qos)
        subscriber.take(len(publishers))
        subscriber.disconnect()
