#!/usr/bin/env python3
"""What an upgrade costs: its time, how long clients wait, memory, and whether many in a row lose anything.

    scripts/upgrade-figures.py [many|row]...     both without an argument

many: CONNECTIONS (100000) clients with a session and a subscription each are upgraded once, under verified flows. Told are
      the time until the operator has its answer, the pause as the broker counts it for each client and as mqload's flows see
      it, and the peak of the memory of old and new process together beside that of the one before (anonymous and shared
      memory, without the program's text).
row:  UPGRADES (50) in a row under verified flows at QoS 0, 1 and 2, over TCP and WebSocket in turn.

A process may open as many files as `ulimit -Hn` says. When that is too few for all connections, several brokers share them,
and all of them are upgraded at the same moment: on as many cores that is as much work as one broker with all of them has.

The environment may set SHARDS (2, of each broker), RATE (2000 messages per second of a flow), RINGMQ_BIN and MQLOAD_BIN. The
exit status is 1 when a bound does not hold: 3 s in all, 500 ms of pause for 99 in 100 clients,
1.3 times the memory, nothing lost, doubled or reordered.
"""

import json
import os
import resource
import signal
import subprocess
import threading
import time

from figures import MQLOAD, RINGMQ, bound, free_port, is_open, memory_kb, run, wait_for

CONNECTIONS = int(os.environ.get("CONNECTIONS", 100_000))
UPGRADES = int(os.environ.get("UPGRADES", 50))
SHARDS = os.environ.get("SHARDS", "2")
RATE = os.environ.get("RATE", "2000")
SPARE = 400  # files that a broker and mqload need besides
FLOW = 20


class Broker:
    """A process, and then the one that has replaced it."""

    def __init__(self, folder, name):
        self.port, self.ws_port = free_port(), free_port()
        self.admin = f"unix:{folder}/{name}.sock"
        config = os.path.join(folder, f"{name}.toml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(f'shards = {SHARDS}\nadmin-listen = "{self.admin}"\n'
                      f'[[listener]]\naddress = "127.0.0.1:{self.port}"\n'
                      f'[[listener]]\naddress = "127.0.0.1:{self.ws_port}"\ntransport = "ws"\n')
        self.log = open(os.path.join(folder, f"{name}.log"), "wb")
        self.started = subprocess.Popen([RINGMQ, "--config", config], stdout=self.log, stderr=subprocess.STDOUT)
        self.pid = self.started.pid
        wait_for(lambda: is_open(self.port))

    def upgrade(self):
        """Its answer, and the seconds until it came."""
        begun = time.monotonic()
        told = subprocess.run([RINGMQ, "ctl", "--admin", self.admin, "--json", "upgrade"], capture_output=True, text=True)
        took = time.monotonic() - begun
        if told.returncode:
            raise SystemExit(f"the upgrade has failed: {told.stderr or told.stdout}")
        answer = json.loads(told.stdout)
        self.pid = answer["process"]
        return answer["pauses"], took

    def end(self):
        for pid in {self.pid, self.started.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.started.wait()
        self.log.close()


def is_itself(pid, parent):
    """Not yet a copy of its parent that is about to start the program: that has the parent's memory, which would count twice."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            return f"RINGMQ_UPGRADE_FROM={parent}".encode() in environment.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def family(pid):
    """It and those that its threads have started."""
    found = [pid]
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as children:
                found += [each for child in children.read().split()
                          if is_itself(child, pid) for each in family(int(child))]
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile
    return found


class Watch:
    """The most that the processes have together."""

    def __init__(self, pids):
        self.pids, self.peak_kb, self.ends = pids, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ends.is_set():
            self.peak_kb = max(self.peak_kb, sum(memory_kb(each) for pid in self.pids for each in family(pid)))
            self.ends.wait(0.01)

    def end(self):
        self.ends.set()
        self.thread.join()
        return self.peak_kb


def flow(folder, qos, *targets, seconds):
    result = os.path.join(folder, f"flow-{qos}.json")
    targets = [word for target in targets for word in ("--target", target)]
    process = subprocess.Popen(
        [MQLOAD, "pairs", "--clients", str(FLOW), "--rate", RATE, "--qos", str(qos), "--duration", f"{seconds}s", *targets,
         "--protocol", "3.1.1,5", "--unpinned", "--quiet", "--json", result],
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    return process, result


def judge(flows):
    """What became of verified flows; the longest that a message took, in ms."""
    longest = 0
    for process, result in flows:
        process.wait()
        with open(result, encoding="utf-8") as file:
            run = json.load(file)
        truth, totals = run["truth"], run["totals"]
        wrong = {name: sum(truth[name]) for name in ("lost", "duplicates", "reordered") if any(truth[name])}
        if totals["disconnected"]:
            wrong["disconnected"] = totals["disconnected"]
        latency = run["latencies"]["end_to_end"]
        longest = max(longest, latency["max_us"] / 1000)
        bound(f"{totals['received']} messages, p99 {latency['p99_us'] / 1000:.1f} ms, at most {latency['max_us'] / 1000:.1f} ms: "
              f"{wrong or 'nothing lost, doubled, reordered or disconnected'}", not wrong and totals["received"] > 0)
    return longest


def many(folder):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    each = min(CONNECTIONS, limit - SPARE)
    count = -(-CONNECTIONS // each)
    print(f"{CONNECTIONS} connections, as many sessions: {count} broker(s) of {SHARDS} shards (open files: {limit})")
    brokers, loads = [Broker(folder, f"many-{number}") for number in range(count)], []
    try:
        shares = [CONNECTIONS // count + (number < CONNECTIONS % count) for number in range(count)]
        for number, (broker, share) in enumerate(zip(brokers, shares)):
            loads.append(subprocess.Popen(
                [MQLOAD, "listen", "--clients", str(share), "--filter", "up/{i}/+", "--duration", "1000s", "--target",
                 f"127.0.0.1:{broker.port}", "--source", "127.0.0.0/8", "--connect-rate", str(6000 // count), "--timeout",
                 "60s", "--protocol", "5", "--clean-start", "false", "--session-expiry-s", "600", "--keep-alive-s", "600",
                 "--client-id", f"c{number}-{{i}}", "--quiet", "--unpinned"],
                stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT))
        wait_for(lambda: sum(connections(broker) for broker in brokers) >= CONNECTIONS)
        flows = [flow(folder, 1, f"127.0.0.1:{brokers[0].port}", seconds=20)]
        wait_for(lambda: connections(brokers[0]) >= shares[0] + 2 * FLOW)
        time.sleep(3)  # memory that is only needed while clients come is given back
        before_kb = sum(memory_kb(broker.pid) for broker in brokers)
        watch, answers = Watch([broker.pid for broker in brokers]), []
        threads = [threading.Thread(target=lambda one=one: answers.append(one.upgrade())) for one in brokers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peak_kb = watch.end()
        if len(answers) < count:
            raise SystemExit("an upgrade has failed")
        moved = sum(pauses["clients"] for pauses, _ in answers)
        p99, longest = (max(pauses[name] for pauses, _ in answers) / 1000 for name in ("p99_us", "longest_us"))
        took = max(took for _, took in answers)
        bound(f"{moved} clients moved of {CONNECTIONS + 2 * FLOW}", moved == CONNECTIONS + 2 * FLOW)
        bound(f"{took:.2f} s in all", took < 3)
        bound(f"pause of 99 in 100 clients at most {p99:.0f} ms, of all {longest:.0f} ms", p99 <= 500)
        ratio = peak_kb / before_kb
        bound(f"memory {before_kb / 1024:.0f} MB before, {peak_kb / 1024:.0f} MB at most in both processes: {ratio:.2f} times",
              ratio <= 1.3)
        print(f"  the longest that a message of a flow took: {judge(flows):.0f} ms")
        # Who was cut would be gone: mqload's clients of `listen` do not come back.
        held = sum(connections(broker) for broker in brokers)
        bound(f"{held} clients are still connected", held == CONNECTIONS)
    finally:
        for load in loads:
            load.kill()
            load.wait()
        for broker in brokers:
            broker.end()


def connections(broker):
    told = subprocess.run([RINGMQ, "ctl", "--admin", broker.admin, "--json", "status"], capture_output=True, text=True)
    return 0 if told.returncode else sum(each["connections"] for each in json.loads(told.stdout)["listeners"])


def row(folder):
    print(f"{UPGRADES} upgrades in a row")
    broker = Broker(folder, "row")
    try:
        targets = [f"mqtt://127.0.0.1:{broker.port}", f"ws://127.0.0.1:{broker.ws_port}"]
        seconds = UPGRADES * 2 + 10
        flows = [flow(folder, qos, *targets, seconds=seconds) for qos in (0, 1, 2)]
        wait_for(lambda: connections(broker) >= len(flows) * 2 * FLOW)
        pauses = [broker.upgrade()[0] for _ in range(UPGRADES)]
        bound("the flows were running until the last of them", all(process.poll() is None for process, _ in flows))
        longest = sorted(each["longest_us"] / 1000 for each in pauses)
        print(f"  longest pause of each: median {longest[len(longest) // 2]:.1f} ms, at most {longest[-1]:.1f} ms")
        judge(flows)
    finally:
        broker.end()


if __name__ == "__main__":
    run({"many": many, "row": row})
