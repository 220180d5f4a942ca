#!/usr/bin/env bash
# How much one core of the generator can do, measured without a broker: against `mqload sink` on another core, with
# everything verified and with contents not compared. On a machine with other work look at the figures per second
# of CPU time: of a core that the generator has for itself the others are the same.
#
#   scripts/calibrate.sh [SECONDS]     of each measurement, 5 without an argument
#
# The environment may set MQLOAD_BIN, ROUNDS (3; the median counts), SIZES ("16 64 1024", bytes of a payload) and
# CORES ("0 1": of sink and generator).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-5}
rounds=${ROUNDS:-3}
read -r -a sizes <<<"${SIZES:-16 64 1024}"
read -r sink_core own_core <<<"${CORES:-0 1}"
mqload=${MQLOAD_BIN:-${CARGO_TARGET_DIR:-target}/release/mqload}
[[ -x $mqload ]] || cargo build --quiet --release --package mqload

# shellcheck source=scripts/broker-process.sh
source scripts/broker-process.sh
scratch=$(mktemp --directory)
trap 'end_broker; rm --recursive --force "$scratch"' EXIT

start_sink() { # OPTIONS...
    end_broker
    port=$(free_port)
    taskset --cpu-list "$sink_core" "$mqload" sink --listen "127.0.0.1:$port" --core "$sink_core" "$@" >/dev/null &
    broker_pid=$!
    await_port "$port" || { echo "calibrate.sh: the sink does not listen" >&2; exit 1; }
}

measure() { # NAME SIZE CHECK OPTIONS...
    local name=$1 size=$2 check=$3 round
    shift 3
    for ((round = 0; round < rounds; round++)); do
        taskset --cpu-list "$own_core" "$mqload" "$@" --target "127.0.0.1:$port" --duration "${seconds}s" \
            --threads 1 --cores "$own_core" --check-content "$check" --quiet --broker-name sink \
            --json "$scratch/$name-$size-$check-$round.json" >"$scratch/text" || { cat "$scratch/text" >&2; exit 1; }
    done
}

for size in "${sizes[@]}"; do
    start_sink
    measure published "$size" 1 publish --clients 4 --payload-size "$size" --topic t --max --batch 256
    start_sink --fan-back --payload-size "$size"
    for check in 1 0; do
        measure received "$size" "$check" listen --clients 4
    done
done

python3 - "$scratch" "${sizes[@]}" <<'END'
import glob, json, sys

folder, sizes = sys.argv[1], sys.argv[2:]
print("| one core, QoS 0 | payload | per second | worker had a core | per second of CPU time | ns each |")
print("| --- | --- | --- | --- | --- | --- |")
for size in sizes:
    for name, check, what in (
        ("published", 1, "published"),
        ("received", 1, "received, all of it verified"),
        ("received", 0, "received, `--check-content 0`"),
    ):
        rows = []
        for path in glob.glob(f"{folder}/{name}-{size}-{check}-*.json"):
            result = json.load(open(path))
            share = result["generator"]["worker_cpu"][0]
            per_s = result["totals"][f"{name}_per_s"]
            rows.append((per_s / share, per_s, share))
        # The round whose figure is the middle one.
        per_cpu_s, per_s, share = sorted(rows)[len(rows) // 2]
        print(f"| {what} | {size} B | {per_s / 1e6:.1f} M | {share:.0%} | {per_cpu_s / 1e6:.1f} M | {1e9 / per_cpu_s:.0f} |")
END
