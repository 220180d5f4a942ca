#!/usr/bin/env python3
"""Floods a broker and measures a bystander: a pair of established clients that exchange QoS 1 messages,
100 a second, before and while the flood runs. A second broker, which nobody attacks, tells what the
machine itself does to such a pair.

    scripts/attack/attack.py handshakes    15,000 TLS ClientHellos at once (RSA-2048)
    scripts/attack/attack.py connects      15,000 CONNECTs at once
    scripts/attack/attack.py subscribers   10,000 clients that subscribe `#` at once
    scripts/attack/attack.py subscribes    10,000 SUBSCRIBE `#` of one client
    scripts/attack/attack.py leavers       10,000 established clients that go at once

`--retained N` puts N retained messages before the subscriptions. The bystanders' topic begins with `$` (the one such name that clients may use), so
that `#` does not match it: what is measured is the flood, and not 10,000 deliveries of each message.
RINGMQ_BIN names the broker (target/release/ringmq); BROKER_CORE and LOAD_CORE are 0 and 1. Only Python's
own library is used, and only loopback. Exit status 1: the bystander's longest wait under attack is more
than `--allowed-ms` above its longest wait before.
"""

import argparse
import json
import os
import pathlib
import resource
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("RINGMQ_BIN", str(ROOT / "target/release/ringmq"))
BROKER_CORE = int(os.environ.get("BROKER_CORE", 0))
LOAD_CORE = int(os.environ.get("LOAD_CORE", 1))
TOPIC = b"$SYS/broker/connection/bystander/state"
PERIOD_S = 0.01
# The bystanders are alone for so long.
QUIET_S = 5
# From the flood's last answer to the last message measured: what it leaves behind counts, too.
AFTER_S = 3
PATIENCE_S = 60
COUNTS = {"handshakes": 15_000, "connects": 15_000, "subscribers": 10_000, "subscribes": 10_000,
          "leavers": 10_000}


def hurry():
    """Other work of the machine is not what is measured; without the right to, it is."""
    try:
        os.nice(-20)
    except PermissionError:
        pass


def text(value):
    return struct.pack("!H", len(value)) + value


def packet(first, body):
    length, out = len(body), bytearray([first])
    while True:
        length, low = divmod(length, 128)
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes(out) + body


def connect_packet(client_id):
    return packet(0x10, b"\0\x04MQTT\x04\x02\0\0" + text(client_id.encode()))


def subscribe_packet(topic, qos=0, number=1):
    return packet(0x82, struct.pack("!H", number) + text(topic) + bytes([qos]))


class Client:
    """A connected client that reads whole packets."""

    def __init__(self, port, client_id):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.socket.sendall(connect_packet(client_id))
        assert self.packets()[0][0] == 0x20

    def packets(self):
        """Waits for bytes; the packets that are complete. All are shorter than 128 bytes."""
        while True:
            data = self.socket.recv(1 << 16)
            assert data, "the broker has closed a bystander's connection"
            self.buffer += data
            found = []
            while len(self.buffer) >= 2 and len(self.buffer) >= 2 + self.buffer[1]:
                end = 2 + self.buffer[1]
                found.append((self.buffer[0], self.buffer[2:end]))
                self.buffer = self.buffer[end:]
            if found:
                return found


def bystand(port):
    """The pair: prints (sent, waited) of each message in JSON when it is told to end."""
    os.sched_setaffinity(0, {LOAD_CORE})
    hurry()
    subscriber, publisher = Client(port, "bystander-s"), Client(port, "bystander-p")
    subscriber.socket.sendall(subscribe_packet(TOPIC, 1))
    subscriber.packets()
    sent, waited, ends = {}, [], []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(True))
    print("ready", flush=True)
    number, due = 0, time.monotonic()
    while not ends:
        left = due - time.monotonic()
        if left <= 0:
            number = number % 65_535 + 1
            sent[number] = time.monotonic()
            body = text(TOPIC) + struct.pack("!HH", number, number)
            publisher.socket.sendall(packet(0x32, body))
            due += PERIOD_S
            continue
        readable = select.select([subscriber.socket, publisher.socket], [], [], left)[0]
        if publisher.socket in readable:
            publisher.packets()
        if subscriber.socket in readable:
            for first, body in subscriber.packets():
                if first >> 4 != 3:
                    continue
                at = 2 + len(TOPIC)
                identifier, which = struct.unpack_from("!HH", body, at)
                waited.append((sent[which], time.monotonic() - sent.pop(which)))
                subscriber.socket.sendall(packet(0x40, struct.pack("!H", identifier)))
    now = time.monotonic()
    waited += [(at, now - at) for at in sent.values()]
    print(json.dumps(waited), flush=True)


def client_hello():
    """What a client that knows nothing of the broker begins with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def open_sockets(port, count):
    """Connected sockets; nothing is sent on them."""
    made = []
    for n in range(count):
        one = socket.socket()
        # More loopback addresses of our own, so that there are enough ports.
        one.bind((f"127.0.0.{2 + n // 10_000}", 0))
        one.connect(("127.0.0.1", port))
        one.setblocking(False)
        made.append(one)
    return made


def send_each(sockets, packet_of):
    for n, one in enumerate(sockets):
        one.send(packet_of(n))


def await_answers(sockets, least=1):
    """Waits until each has been sent so many bytes, or is closed; returns how many were answered."""
    poll, by_number, seen = select.epoll(), {}, {}
    for one in sockets:
        by_number[one.fileno()] = one
        poll.register(one.fileno(), select.EPOLLIN)
    end, answered = time.monotonic() + PATIENCE_S, 0
    while by_number and time.monotonic() < end:
        for number, _ in poll.poll(1):
            try:
                data = by_number[number].recv(1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            seen[number] = seen.get(number, 0) + len(data)
            if not data or seen[number] >= least:
                answered += seen[number] >= least
                poll.unregister(number)
                del by_number[number]
    return answered


def flood(kind, count, port, tls_port, retained):
    """Waits for a line; says `opens` and `go`, and how many were answered when it has ended."""
    os.sched_setaffinity(0, {LOAD_CORE})
    with_retained = 4 + 5 + retained * 20  # SUBACK of both, and what each message takes at least
    sys.stdin.readline()
    print("opens", time.monotonic(), flush=True)
    sockets = open_sockets(tls_port if kind == "handshakes" else port,
                           1 if kind == "subscribes" else count)
    if kind in ("subscribers", "subscribes", "leavers"):
        send_each(sockets, lambda n: connect_packet(f"flood-{n}"))
        assert await_answers(sockets) == len(sockets)
    hello = client_hello()
    print("go", time.monotonic(), flush=True)
    if kind == "handshakes":
        send_each(sockets, lambda _: hello)
        answered = await_answers(sockets)
    elif kind == "connects":
        send_each(sockets, lambda n: connect_packet(f"flood-{n}"))
        answered = await_answers(sockets)
    elif kind == "subscribers":
        send_each(sockets, lambda _: subscribe_packet(b"#"))
        answered = await_answers(sockets, 5 if not retained else with_retained)
    elif kind == "subscribes":
        [one] = sockets
        one.setblocking(True)
        waiting, least = subscribe_packet(b"#") * count, 5 * count
        answered = received = 0
        end = time.monotonic() + PATIENCE_S
        while received < least and time.monotonic() < end:
            ready = select.select([one], [one] if waiting else [], [], 1)
            if ready[1]:
                waiting = waiting[one.send(waiting[:4096]):]
            if ready[0]:
                received += len(one.recv(1 << 20))
        answered = min(count, received // 5)
    else:
        answered = count
        for one in sockets:
            one.close()
    print("answered", answered, time.monotonic(), flush=True)
    sys.stdin.readline()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_broker(folder, core):
    """One shard on one core; returns the process, its port and its TLS port."""
    port, tls_port = free_port(), free_port()
    config = folder / f"{port}.toml"
    config.write_text(
        f'[[listener]]\naddress = "127.0.0.1:{tls_port}"\ntransport = "tls"\n'
        f'tls-certificate = ["{folder}/rsa.pem"]\ntls-key = ["{folder}/rsa.key"]\n')
    command = ["taskset", "--cpu-list", str(core), BINARY, "--config", str(config), "--shards", "1",
               "--listen", f"127.0.0.1:{port}"]
    with open(folder / f"{port}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=hurry)
    end = time.monotonic() + 20
    while b"ready" not in (folder / f"{port}.log").read_bytes():
        assert process.poll() is None and time.monotonic() < end, "the broker does not start"
        time.sleep(0.02)
    return process, port, tls_port


def retain(port, count):
    publisher = Client(port, "retainer")
    for n in range(count):
        publisher.socket.sendall(packet(0x31, text(b"retained/%d" % n) + b"12345678"))
    publisher.socket.sendall(b"\xc0\0")
    publisher.packets()


def helper(*arguments):
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(name, waits):
    waits = sorted(wait * 1e3 for wait in waits)
    at = [waits[min(len(waits) - 1, int(len(waits) * part))] for part in (0.5, 0.99)]
    print(f"{name:<34} {len(waits):>6} {at[0]:>9.2f} {at[1]:>9.2f} {waits[-1]:>9.2f}")
    return waits[-1]


def measure(options):
    with tempfile.TemporaryDirectory(prefix="ringmq-attack-") as name:
        folder, processes = pathlib.Path(name), []
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-keyout", folder / "rsa.key", "-out", folder / "rsa.pem"],
                       check=True, capture_output=True)
        try:
            broker, port, tls_port = start_broker(folder, BROKER_CORE)
            processes.append(broker)
            idle, idle_port, _ = start_broker(folder, LOAD_CORE)
            processes.append(idle)
            if options.retained:
                retain(port, options.retained)
            pairs = [helper("--bystand", port), helper("--bystand", idle_port)]
            attacker = helper(options.kind, "--flood", port, tls_port, "--count", options.count,
                              "--retained", options.retained)
            processes += [*pairs, attacker]
            for pair in pairs:
                assert pair.stdout.readline() == "ready\n"
            time.sleep(QUIET_S)
            attacker.stdin.write("begin\n")
            attacker.stdin.flush()
            opened = float(attacker.stdout.readline().split()[1])
            went = float(attacker.stdout.readline().split()[1])
            answered, ended = attacker.stdout.readline().split()[1:]
            time.sleep(AFTER_S)
            results = []
            for pair in pairs:
                pair.terminate()
                results.append(json.loads(pair.stdout.readline()))
        finally:
            for process in processes:
                process.kill()
                process.wait()
    report(options, results, (opened, went, float(ended)), int(answered))


def report(options, results, times, answered):
    opened, went, ended = times
    print(f"{options.kind}: {options.count}, {answered} answered {ended - went:.2f} s after "
          f"{went - opened:.2f} s of opening, "
          f"{options.retained} retained")
    print(f"{'':<34} {'sent':>6} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9}")
    longest = []
    for who, waited in zip(("attacked", "idle"), results):
        for when in ("before", "under attack"):
            inside = [wait for sent, wait in waited
                      if (sent < opened) == (when == "before")]
            longest.append(line(f"bystander of the {who} broker, {when}", inside))
    above = longest[1] - longest[0]
    print(f"longest wait under attack above the longest before: {above:.1f} ms "
          f"(idle broker: {longest[3] - longest[2]:.1f} ms)")
    sys.exit(above > options.allowed_ms)


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=sorted(COUNTS))
    parser.add_argument("--count", type=int)
    parser.add_argument("--retained", type=int, default=0)
    parser.add_argument("--allowed-ms", type=float, default=50)
    parser.add_argument("--bystand", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--flood", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bystand:
        bystand(options.bystand)
        return
    if not options.kind:
        parser.error("which attack?")
    options.count = options.count or COUNTS[options.kind]
    if options.flood:
        flood(options.kind, options.count, *options.flood, options.retained)
    else:
        measure(options)


if __name__ == "__main__":
    main()
