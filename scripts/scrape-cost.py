#!/usr/bin/env python3
"""What a scrape of /metrics costs each shard of a broker that has nothing else to do.

usage: scripts/scrape-cost.py http://127.0.0.1:9183 [SCRAPES]

Connect clients before, as many as are of interest: `mqload connect-ramp --clients N --hold 10m --keep-alive-s 0`.
"""

import re
import sys
import time
import urllib.request

SAMPLE = re.compile(r'^(\w+)\{([^}]*)\} (\S+)$', re.MULTILINE)


def scrape(base):
    """Samples by name and labels."""
    with urllib.request.urlopen(base + "/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {(name, labels): float(value) for name, labels, value in SAMPLE.findall(text)}


def total(samples, name):
    return sum(value for (own, _), value in samples.items() if own == name)


def main():
    base, count = sys.argv[1].rstrip("/"), int(sys.argv[2]) if len(sys.argv) > 2 else 50
    before, took = scrape(base), []
    for _ in range(count):
        start = time.monotonic()
        after = scrape(base)
        took.append(time.monotonic() - start)
    print(f"{total(after, 'ringmq_sockets'):.0f} connections, {total(after, 'ringmq_sessions'):.0f} sessions, {count} scrapes: "
          f"answered in {sorted(took)[count // 2] * 1e3:.1f} ms (median)")
    grown = {key: value - before[key] for key, value in after.items() if key in before}
    for (name, labels), seconds in sorted(grown.items()):
        if name != "ringmq_busy_seconds_total":
            continue
        turns = grown["ringmq_turn_seconds_count", labels]
        short = grown["ringmq_turn_seconds_bucket", labels + ',le="0.0003"']
        print(f"{labels}: {seconds / count * 1e3:.2f} ms of turns a scrape, in {turns / count:.0f} turns of "
              f"{seconds / turns * 1e3:.3f} ms (mean), {short / turns:.1%} of them at most 0.3 ms")


if __name__ == "__main__":
    main()
