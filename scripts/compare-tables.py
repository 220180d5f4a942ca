#!/usr/bin/env python3
"""Tables (Markdown) and a plot (SVG) of what scripts/compare.sh has measured.

    compare-tables.py DIRECTORY BROKER...

reads DIRECTORY/SCENARIO.BROKER.ROUND.json (mqload's results) and .peak (peak memory in KB), prints the
tables and writes DIRECTORY/cpu.svg. Each figure is the median of the rounds. A figure in brackets is of
runs that were cut short; one with * is of a run in which mqload was the limit, not the broker.
"""

import json
import statistics
import sys
from pathlib import Path


class Run:
    """One result of mqload."""

    def __init__(self, path):
        self.result = json.loads(path.read_text())
        peak = path.with_suffix(".peak")
        text = peak.read_text().strip() if peak.exists() else ""
        self.peak_kb = float(text) if text else None

    @property
    def received(self):
        return self.result["totals"]["received"]

    def cpu_ns(self):
        """Of the broker, per delivered message."""
        broker = self.result["broker"]
        return broker["cpu_s"] * 1e9 / self.received if broker and self.received else None

    def rate(self):
        return self.result["totals"]["received_per_s"] or None

    def latency(self, name):
        latencies = self.result["latencies"]
        return latencies["end_to_end"][name] if "end_to_end" in latencies else None

    def peak_mb(self):
        return self.peak_kb and self.peak_kb / 1024

    def connects(self):
        return self.result["totals"]["connected_per_s"] or None

    def connect_us(self):
        totals, broker = self.result["totals"], self.result["broker"]
        # Where sessions are resumed, the broker's time begins after the handshakes in full.
        connected = totals["handshakes_resumed"] or totals["connected"]
        return broker["cpu_s"] * 1e6 / connected if broker and connected else None

    def idle_kb(self):
        idle = self.result["idle"]
        return idle["broker_kb_each"] if idle else None


def number(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def median(runs, figure):
    values = [value for value in map(figure, runs) if value is not None]
    return statistics.median(values) if values else None


def cell(runs, figure):
    text = number(median(runs, figure))
    if any(run.result["interrupted"] for run in runs):
        text = f"({text})"
    if any(run.result["generator"]["is_bottleneck"] for run in runs):
        text += "*"
    return text if runs else "-"


def ratio(pair):
    """How many times more the first broker's runs cost."""
    if not pair:
        return "-"
    first, own = (median(runs, Run.cpu_ns) for runs in pair)
    return number(first / own) if first and own else "-"


def table(title, rows, brokers, text):
    if not rows:
        return
    print(f"\n{title}\n\n| | {' | '.join(brokers)} |")
    print(f"| --- |{' ---: |' * len(brokers)}")
    for scenario, by_broker in rows:
        cells = [text(by_broker.get(broker, [])) for broker in brokers]
        print(f"| {scenario} | {' | '.join(cells)} |")


def svg(rows, brokers):
    """Horizontal bars, CPU time per message, logarithmic: rows are far apart."""
    import math

    colours = ["#8c8c8c", "#c58b3b", "#b25d79", "#6c7fb5", "#1f9d78", "#7cc4ad", "#b6ded1"]
    bar, gap, left, width = 9, 14, 150, 470
    values = [median(runs, Run.cpu_ns) for _, by in rows for runs in by.values()]
    values = [value for value in values if value]
    if not values:
        return None
    low = 10 ** math.floor(math.log10(min(values)))
    span = math.log10(max(values) / low)
    height = 50 + sum(len(by) * bar + gap for _, by in rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 80} {height}" '
        'font-family="sans-serif" font-size="10" fill="#222">',
        f'<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{left}" y="14" font-size="12">Broker CPU time per delivered message, ns '
        "(logarithmic; shorter is better)</text>",
    ]
    for n, broker in enumerate(brokers):
        x = left + n * 78
        out.append(f'<rect x="{x}" y="22" width="8" height="8" fill="{colours[n % 7]}"/>')
        out.append(f'<text x="{x + 11}" y="30">{broker}</text>')
    y = 42
    for scenario, by in rows:
        own = [(n, broker, median(by[broker], Run.cpu_ns)) for n, broker in enumerate(brokers) if broker in by]
        out.append(f'<text x="{left - 6}" y="{y + bar * len(own) / 2 + 3}" text-anchor="end">{scenario}</text>')
        for n, broker, value in own:
            if value:
                length = max(1.0, math.log10(value / low) / span * width)
                out.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 1}" fill="{colours[n % 7]}"/>')
                out.append(f'<text x="{left + length + 4:.1f}" y="{y + bar - 1.5}" font-size="8">{number(value)}</text>')
            y += bar
        y += gap
    out.append("</svg>\n")
    return "\n".join(out)


def main():
    directory, brokers = Path(sys.argv[1]), sys.argv[2:]
    rows = {}
    for path in sorted(directory.glob("*.*.*.json")):
        scenario, broker, _round = path.stem.rsplit(".", 2)
        if broker in brokers:
            rows.setdefault(scenario, {}).setdefault(broker, []).append(Run(path))
    first = next(iter(next(iter(rows.values())).values()))[0].result
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    print(f"Kernel {first['kernel']}, {first['cpu_model']}, {first['cores']} cores, TCP congestion control {control}.")

    def named(suffix):
        return [(name, by) for name, by in rows.items() if name.endswith(suffix)]

    saturated, paced = named("-max"), named("-paced")
    table("Broker CPU time per delivered message, ns, saturated", saturated, brokers, lambda runs: cell(runs, Run.cpu_ns))
    compared = [(name, {broker: (by[brokers[0]], runs) for broker, runs in by.items()}) for name, by in saturated if brokers[0] in by]
    table(f"{brokers[0]}'s CPU time per delivered message divided by that of", compared, brokers[1:], ratio)
    table("Delivered messages per second, saturated", saturated, brokers, lambda runs: cell(runs, Run.rate))
    table("Broker CPU time per delivered message, ns, at a moderate rate", paced, brokers, lambda runs: cell(runs, Run.cpu_ns))
    percentiles = ["p50_us", "p99_us", "p999_us"]
    table(
        "Latency at a moderate rate, p50 / p99 / p99.9, us",
        paced,
        brokers,
        lambda runs: " / ".join(cell(runs, lambda run: run.latency(name)) for name in percentiles) if runs else "-",
    )
    table("Peak memory of the broker, MB", saturated + paced, brokers, lambda runs: cell(runs, Run.peak_mb))
    table(
        "Connects per second / CPU us per connect",
        named("connects"),
        brokers,
        lambda runs: f"{cell(runs, Run.connects)} / {cell(runs, Run.connect_us)}",
    )
    table("Memory per idle connection, KB", named("idle"), brokers, lambda runs: cell(runs, Run.idle_kb))
    plot = svg(saturated, brokers)
    if plot:
        (directory / "cpu.svg").write_text(plot)


if __name__ == "__main__":
    main()
