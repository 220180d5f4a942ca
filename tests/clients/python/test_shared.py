"""Shared subscriptions over all shards, for v3 and v5 clients."""

import queue
import time
from collections import Counter

import pytest

from client import DEADLINE_S, properties


def gather(members, count):
    """Payloads per member until `count` messages have come."""
    seen = {i: [] for i in range(len(members))}
    total = 0
    end = time.monotonic() + DEADLINE_S
    while total < count:
        assert time.monotonic() < end, f"{total} of {count} messages"
        for i, member in enumerate(members):
            try:
                seen[i].append(member.messages.get(timeout=0.02).payload)
                total += 1
                while True:
                    seen[i].append(member.messages.get_nowait().payload)
                    total += 1
            except queue.Empty:
                pass
    return seen


@pytest.mark.ringmq
@pytest.mark.parametrize("version", ["3.1", "3.1.1", "5", "mixed"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_message_once_and_evenly(client, name, version, qos):
    count, size = 400, 8
    kinds = ["3.1", "3.1.1", "5"]
    members = [client(f"m{i}", kinds[i % 3] if version == "mixed" else version)
               for i in range(size)]
    for member in members:
        assert member.subscribe(f"$share/group/{name}/t", qos) == [qos]
    client("p").publish_all([(f"{name}/t", b"%d" % n, qos) for n in range(count)])
    seen = gather(members, count)
    assert Counter(sum(seen.values(), [])) == Counter(b"%d" % n for n in range(count))
    for numbers in seen.values():
        assert 0.8 * count / size <= len(numbers) <= 1.2 * count / size
        assert [int(n) for n in numbers] == sorted(int(n) for n in numbers)


def test_groups_and_single_subscribers_are_independent(client, name):
    one, two, single = client("a", "5"), client("b"), client("c")
    one.subscribe(f"$share/one/{name}/#", 1)
    two.subscribe(f"$share/two/{name}/#", 1)
    single.subscribe(f"{name}/#", 1)
    client("p").publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(50)])
    for subscriber in (one, two, single):
        assert subscriber.payloads(50) == [b"%d" % n for n in range(50)]


def test_a_member_leaves(client, name):
    stays, leaves = client("a", "5"), client("b", "5")
    for member in (stays, leaves):
        member.subscribe(f"$share/g/{name}/t", 1)
    assert leaves.unsubscribe(f"$share/g/{name}/t") == [0]
    client("p").publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(50)])
    assert len(stays.take(50)) == 50
    assert leaves.messages.empty()


@pytest.mark.ringmq
def test_unacknowledged_messages_of_a_lost_member_go_to_others(raw, client, name):
    lost = raw(4)
    lost.connect(f"{name}-lost")
    lost.subscribe((f"$share/g/{name}/t", 1))
    publisher = client("p")
    publisher.publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(20)])
    for _ in range(20):
        lost.expect_publish()
    others = [client(f"m{i}", "5") for i in range(4)]
    for other in others:
        other.subscribe(f"$share/g/{name}/t", 1)
    lost.close()
    seen = gather(others, 20)
    assert Counter(sum(seen.values(), [])) == Counter(b"%d" % n for n in range(20))


@pytest.mark.ringmq
def test_connected_members_are_preferred(client, name):
    kept = properties("CONNECT", SessionExpiryInterval=3600)
    absent = client("absent", "5", connect_properties=kept)
    absent.subscribe(f"$share/g/{name}/t", 1)
    present = client("present", "5")
    present.subscribe(f"$share/g/{name}/t", 1)
    absent.disconnect()
    client("p").publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(20)])
    assert len(present.take(20)) == 20


def test_messages_wait_when_all_members_are_away(client, name):
    member = client("m", "3.1.1", clean=False)
    member.subscribe(f"$share/g/{name}/t", 1)
    member.disconnect()
    client("p").publish_all([(f"{name}/t", b"%d" % n, 1) for n in range(10)])
    member = client("m", "3.1.1", clean=False)
    assert member.payloads(10) == [b"%d" % n for n in range(10)]


@pytest.mark.ringmq
def test_retained_messages_are_not_sent_to_a_group(client, name):
    publisher = client("p")
    publisher.publish_and_wait(f"{name}/t", b"kept", 1, True)
    member = client("m", "5")
    member.subscribe(f"$share/g/{name}/+", 1)
    publisher.publish_and_wait(f"{name}/end", b"", 1)
    assert member.until(f"{name}/end") == []


@pytest.mark.ringmq
def test_a_message_too_large_for_the_chosen_member_is_acknowledged(raw, client, name):
    small = raw(5)
    small.connect(f"{name}-small", properties=b"\x27\0\0\0\x40")
    small.subscribe((f"$share/g/{name}/t", 1))
    client("p").publish_and_wait(f"{name}/t", b"x" * 200, 1)
    assert small.ping() == []
