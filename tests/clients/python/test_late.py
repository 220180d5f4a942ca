"""A broker that was stopped for a while, as a paused machine is: who sent in time stays."""

import signal
import time

import pytest

import raw as mqtt
from conftest import SHARDS
from raw import DEADLINE_S, Raw, wait
from test_accounts import connect as logging_in
from test_hooks import publish, service  # noqa: F401

pytestmark = pytest.mark.ringmq

KEEP_ALIVE_S = 2
STOPPED_S = 6
PING = b"\xc0\0"


class Stopped:
    """The broker does not run inside, while time passes for its clients."""

    def __init__(self, broker):
        self.broker = broker

    def __enter__(self):
        self.broker.send_signal(signal.SIGSTOP)

    def __exit__(self, *_):
        self.broker.send_signal(signal.SIGCONT)


def with_wills(broker, count):
    clients = [Raw(broker, 5) for _ in range(count)]
    for n, one in enumerate(clients):
        one.connect(f"c{n}", keep_alive=KEEP_ALIVE_S, will=(f"w/{n}", b"gone", b""))
    return clients


def observe(broker):
    observer = Raw(broker, 5)
    observer.connect("observer")
    observer.subscribe(("w/#", 0))
    return observer


@pytest.mark.parametrize("shards", SHARDS)
def test_who_pinged_in_time_stays(start, shards):
    broker = start(shards)
    observer = observe(broker)
    clients = with_wills(broker, 40)
    with Stopped(broker):
        for _ in range(STOPPED_S):
            wait(1)
            for one in clients:
                one.send(PING)
    for n, one in enumerate(clients):
        for _ in range(STOPPED_S):
            first, body = one.receive()
            assert first == 0xD0, f"client {n} was sent {first:02x} {body}"
    # The first will comes of the first client that goes, and of no other before.
    for n in range(3):
        clients[n].close()
        assert observer.expect_publish().topic == f"w/{n}"


@pytest.mark.parametrize("shards", SHARDS)
def test_who_is_behind_much_to_read_stays(start, shards):
    """More than a turn reads lies in the sockets."""
    broker = start(shards)
    observer = observe(broker)
    clients = with_wills(broker, 20)
    for one in clients:
        one.socket.setblocking(False)
    message = mqtt.publish("nobody", b"x" * 1000, version=5)
    with Stopped(broker):
        wait(1)
        for one in clients:
            one.send_as_far_as_possible(message * 100)  # what one buffer certainly takes
            one.socket.settimeout(mqtt.DEADLINE_S)
        wait(STOPPED_S)
    for one in clients:
        one.send(PING)
    for n, one in enumerate(clients):
        first, body = one.receive()
        assert first == 0xD0, f"client {n} was sent {first:02x} {body}"
    clients[7].close()
    assert observer.expect_publish().topic == "w/7"


@pytest.mark.parametrize("shards", SHARDS)
def test_who_was_silent_goes(start, shards):
    broker = start(shards)
    observer = observe(broker)
    [silent] = with_wills(broker, 1)
    with Stopped(broker):
        wait(STOPPED_S)
    assert [(first, body[0]) for first, body in silent.expect_end()] == [(0xE0, 0x8D)]
    assert observer.expect_publish().topic == "w/0"


@pytest.mark.parametrize("shards", SHARDS)
def test_a_login_that_was_under_way_goes_on(start, shards):
    """Half of a CONNECT before, half of it some time after: there was nobody to hear it in between."""
    broker = start(shards, connect_timeout=2)
    clients = [Raw(broker, 5) for _ in range(10)]
    packets = [mqtt.connect(f"c{n}", 5) for n in range(len(clients))]
    for one, data in zip(clients, packets):
        one.send(data[:9])
    Raw(broker, 5).connect("x")  # all have been accepted before
    with Stopped(broker):
        wait(4)
    wait(1)  # of the two seconds that they have again
    for one, data in zip(clients, packets):
        one.send_as_far_as_possible(data[9:])
    for one in clients:
        assert one.expect(0x20)[1] == 0


# More than the 16 threads that ask: the others wait until one is free.
ASKING, THREADS = 20, 16


def stop_while_it_answers(broker, service):  # noqa: F811
    """The questions are on their way, then the broker is stopped for longer than any time-out allows."""
    end = time.monotonic() + DEADLINE_S
    while len(service.asked) < THREADS:
        assert time.monotonic() < end, f"{len(service.asked)} questions came"
        wait(0.01)
    with Stopped(broker):
        service.may_answer.set()
        wait(STOPPED_S)


@pytest.mark.parametrize("shards", SHARDS)
def test_logins_that_a_service_answered_meanwhile_succeed(start, service, shards):  # noqa: F811
    broker = start(shards, http_hook_url=service.login, http_hook_timeout=4, connect_timeout=5)
    service.may_answer.clear()
    clients = [Raw(broker, 5) for _ in range(ASKING)]
    for n, one in enumerate(clients):
        one.send(logging_in(f"c{n}", 5, f"user{n}", "letmein"))
    stop_while_it_answers(broker, service)
    assert [one.expect(0x20)[1] for one in clients] == [0] * ASKING
    # A service that does not answer while the broker runs is down as ever.
    service.may_answer.clear()
    late = Raw(broker, 5)
    late.send(logging_in("late", 5, "late", "letmein"))
    assert late.expect(0x20)[1] == 0x88


@pytest.mark.parametrize("shards", SHARDS)
def test_publications_that_a_service_allowed_meanwhile_are_taken(start, service, shards):  # noqa: F811
    broker = start(shards, http_hook_acl_url=service.rules, http_hook_timeout=4, connect_timeout=5)
    service.may_answer.clear()
    clients = []
    for n in range(ASKING):
        clients.append(Raw(broker, 5))
        clients[n].connect(f"c{n}")
        clients[n].send(mqtt.publish(f"t/{n}", b"x", 1, 1, version=5))
    stop_while_it_answers(broker, service)
    no_subscriber = 0x10
    assert [one.expect(0x40)[2] for one in clients] == [no_subscriber] * ASKING
    service.may_answer.clear()
    assert publish(clients[0], "other", packet_id=2) == 0x83
