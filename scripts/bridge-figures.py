#!/usr/bin/env python3
"""What bridges cost.

    scripts/bridge-figures.py [cpu|storm|away]...     all three without an argument

cpu:   50,000 messages per second of QoS 1 from publishers of one broker to subscribers of another, over a bridge; CPU time of
       both brokers per message, beside that of one broker which has both ends.
storm: the remote of 100 bridges is killed and started three times; p99 of 20 other pairs, beside that while a process is
       killed and started that no bridge is connected to.
away:  3,600,000 messages (an hour of 1,000 per second) for a remote that is away: memory without a journal, whose queue is
       bounded; memory and disk with one, and all of them arrive when the remote is there.

The environment may set RATE, COUNT, DURATION_S, ROUNDS, RINGMQ_BIN and MQLOAD_BIN. The exit status is 1 when a bound does not hold: 2.5 times the CPU
time, 1.5 times the p99 (median of the rounds), the bounds of the queue.
"""

import json
import os
import statistics
import subprocess
import time

from figures import MQLOAD, Process, bound, cpu_s, free_port, memory_kb, run, wait_for

RATE = int(os.environ.get("RATE", 50_000))
COUNT = int(os.environ.get("COUNT", 3_600_000))
SECONDS = int(os.environ.get("DURATION_S", 10))
ROUNDS = int(os.environ.get("ROUNDS", 3))
BRIDGES = 100
PAIRS = 20


def load(folder, scenario, *arguments):
    """The result of mqload."""
    result = os.path.join(folder, "result.json")
    command = [MQLOAD, scenario, "--quiet", "--unpinned", "--json", result, *arguments]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if not os.path.exists(result):
        raise SystemExit(f"{' '.join(command)}: exit code {ended.returncode}: {ended.stdout}")
    with open(result, encoding="utf-8") as file:
        read = json.load(file)
    os.remove(result)
    return read


def p99_ms(result):
    return result["latencies"]["end_to_end"]["p99_us"] / 1000


def broker(folder, name, core, extra=""):
    """One shard on a core of its own; `extra` are options, and tables behind them."""
    port = free_port()
    options, _, tables = extra.partition("[[")
    tables = "[[" + tables if tables else ""
    text = f'shards = 1\npin-shards = "off"\nlisten = ["127.0.0.1:{port}"]\nsys-interval = "0s"\n{options}\n{tables}'
    return Process(folder, name, text, port, core)


def bridge(name, port, topics, extra=""):
    return (f'[[bridge]]\nname = "{name}"\naddresses = ["127.0.0.1:{port}"]\nversion = "5.0"\nbackoff-base = "0s"\n'
            f'backoff-cap = "1s"\nwindow = 1000\n{extra}topics = ["{topics}"]\n')


def cpu_per_message(folder, brokers, targets):
    before = sum(cpu_s(each.pid) for each in brokers)
    targets = [word for each in targets for word in ("--target", f"127.0.0.1:{each.port}")]
    result = load(folder, "pairs", "--clients", "10", "--rate", str(RATE), "--qos", "1", "--payload-size", "64",
                  "--duration", f"{SECONDS}s", "--protocol", "5", *targets)
    used = sum(cpu_s(each.pid) for each in brokers) - before
    totals = result["totals"]
    received = totals["received"]
    lost = sum(result["truth"]["lost"])
    bound(f"{received} messages, {lost} lost, p99 {p99_ms(result):.1f} ms", lost == 0 and received > RATE * SECONDS * 0.95)
    return used * 1e6 / max(received, 1)


def cpu(folder):
    print(f"{RATE} messages per second of 64 bytes at QoS 1, {SECONDS} s")
    there = broker(folder, "there", 1)
    here = broker(folder, "here", 0, bridge("there", there.port, "# both 1"))
    alone = broker(folder, "alone", 0)
    try:
        one = cpu_per_message(folder, [alone], [alone])
        both = cpu_per_message(folder, [here, there], [here, there])
        print(f"  one broker {one:.2f} us of CPU time for each message, two with a bridge {both:.2f} us together")
        bound(f"{both / one:.2f} times", both <= 2.5 * one)
    finally:
        for each in (here, there, alone):
            each.kill()


def others_ms(folder, here, remote):
    """p99 of pairs at one broker, while another is killed three times."""
    result = os.path.join(folder, "pairs.json")
    pairs = subprocess.Popen(
        [MQLOAD, "pairs", "--clients", str(PAIRS), "--rate", "2000", "--qos", "1", "--duration", "15s", "--target",
         f"127.0.0.1:{here.port}", "--topic", "load/{i}", "--quiet", "--unpinned", "--json", result],
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    for _ in range(3):
        time.sleep(3)
        remote.kill()
        time.sleep(0.5)
        remote.start()
    pairs.wait()
    with open(result, encoding="utf-8") as file:
        return p99_ms(json.load(file))


def storm(folder):
    print(f"a remote that is killed three times, {ROUNDS} rounds")
    ratios = []
    for number in range(ROUNDS):
        remote = broker(folder, f"remote-{number}", 1)
        tables = "".join(bridge(f"b{n}", remote.port, f"b{n}/# out 1") for n in range(BRIDGES))
        bridged, quiet = broker(folder, f"bridged-{number}", 0, tables), broker(folder, f"quiet-{number}", 0)
        try:
            without = others_ms(folder, quiet, remote)
            with_bridges = others_ms(folder, bridged, remote)
            ratios.append(with_bridges / without)
            print(f"  p99 of others {with_bridges:.2f} ms with {BRIDGES} bridges, {without:.2f} without: {ratios[-1]:.2f} times")
        finally:
            for each in (bridged, quiet, remote):
                each.kill()
    bound(f"{statistics.median(ratios):.2f} times in the median", statistics.median(ratios) <= 1.5)


def folder_bytes(path):
    return sum(os.stat(os.path.join(at, name)).st_blocks * 512 for at, _, names in os.walk(path) for name in names)


def publish_all(folder, here):
    result = load(folder, "publish", "--clients", "10", "--qos", "1", "--max", "--window", "500", "--messages", str(COUNT // 10),
                  "--payload-size", "32", "--topic", "away/{i}", "--target", f"127.0.0.1:{here.port}")
    return result["totals"]["published"]


def away(folder):
    port = free_port()
    print(f"{COUNT} messages for a remote that is away")
    limits = f'queue-messages-max = {COUNT * 2}\nqueue-bytes-max = "16MiB"\n'
    here = broker(folder, "memory", 0, bridge("away", port, "away/# out 1", limits))
    try:
        before = memory_kb(here.pid)
        sent = publish_all(folder, here)
        grown = (memory_kb(here.pid) - before) / 1024
        bound(f"in memory: {sent} messages, a queue of 16 MiB, {grown:.0f} MiB more", sent >= COUNT and grown <= 32)
    finally:
        here.kill()
    data = os.path.join(folder, "data")
    limits = f'queue-messages-max = {COUNT * 2}\nqueue-bytes-max = "4GiB"\n'
    options = f'data-dir = "{data}"\nqueue-memory = "16MiB"\n'
    here = broker(folder, "disk", 0, options + bridge("away", port, "away/# out 1", limits))
    try:
        before = memory_kb(here.pid)
        sent = publish_all(folder, here)
        grown, disk = (memory_kb(here.pid) - before) / 1024, folder_bytes(data) / 2**20
        bound(f"with a journal: {sent} messages, {grown:.0f} MiB more in memory with queue-memory 16 MiB (and 40 bytes for each "
              f"message), {disk:.0f} MiB on the disk", grown <= 32 + COUNT * 48 / 2**20)
        there = Process(folder, "there", f'shards = 1\nlisten = ["127.0.0.1:{port}"]\nadmin-listen = ["unix:{folder}/there.sock"]\n', port)
        try:
            begun = time.monotonic()
            wait_for(lambda: taken(folder) >= COUNT, 900)
            bound(f"all of them arrived, {COUNT / (time.monotonic() - begun):.0f} per second", True)
        finally:
            there.kill()
    finally:
        here.kill()


def taken(folder):
    """Publications that the remote has taken, of its own metrics."""
    told = subprocess.run(["curl", "--silent", "--unix-socket", f"{folder}/there.sock", "http://localhost/metrics"],
                          capture_output=True, text=True, check=False)
    return sum(float(line.split()[1]) for line in told.stdout.splitlines() if line.startswith("ringmq_messages_received_total{"))


if __name__ == "__main__":
    run({"cpu": cpu, "storm": storm, "away": away})
