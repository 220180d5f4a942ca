#!/usr/bin/env bash
# Publishers at full speed against subscribers that cannot keep up. Shows that delivery goes on at the
# saturated rate, that memory stays inside its limits, and that other clients are served meanwhile: each
# row is a load beside which ten pairs exchange 500 messages a second, and their latency.
#
#   scripts/overload.sh
#
# The environment may set DURATION (5s), SHARDS (1), BROKER_CORES and LOAD_CORES (0 and 1), RINGMQ_BIN and
# MQLOAD_BIN.
set -euo pipefail
cd "$(dirname "$0")/.."
duration=${DURATION:-5s}
release=${CARGO_TARGET_DIR:-target}/release
ringmq=${RINGMQ_BIN:-$release/ringmq}
mqload=${MQLOAD_BIN:-$release/mqload}
loads=(
    'none|'
    'saturated: 1 publisher, 10 subscribers|slow-consumer --clients 10 --slow 0 --max --payload-size 16'
    'flood: 20 publishers, 1 subscriber|fan-in --clients 20 --max --payload-size 16'
    '100 of 110 subscribers read 10 KB/s|slow-consumer --clients 10 --slow 100 --slow-bytes-per-s 10000 --max --payload-size 16'
    'the same, 1 KiB payloads|slow-consumer --clients 10 --slow 100 --slow-bytes-per-s 10000 --max --payload-size 1k'
    'the same, QoS 1|slow-consumer --clients 10 --slow 100 --slow-bytes-per-s 10000 --max --qos 1 --payload-size 16'
)

scratch=$(mktemp --directory)
broker=
trap 'if [[ -n $broker ]]; then kill "$broker" 2>/dev/null || true; fi; rm --recursive --force "$scratch"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

echo '| load | delivered/s | peak memory, MB | others: p50 / p99 us | lost |'
echo '| --- | ---: | ---: | ---: | ---: |'
for load in "${loads[@]}"; do
    name=${load%%|*}
    read -ra arguments <<<"${load#*|}"
    taskset --cpu-list "${BROKER_CORES:-0}" "$ringmq" --port "$port" --shards "${SHARDS:-1}" >"$scratch/log" 2>&1 &
    broker=$!
    sleep 1
    shared=(--target "127.0.0.1:$port" --duration "$duration" --quiet --cores "${LOAD_CORES:-1}")
    rm --force "$scratch"/*.json
    pid=
    if ((${#arguments[@]})); then
        # What slow readers have not read when the load ends is no loss of the broker's to wait for.
        timeout --signal INT 60 "$mqload" "${arguments[@]}" "${shared[@]}" --drain 500ms --json "$scratch/load.json" >"$scratch/load" 2>&1 &
        pid=$!
        sleep 1
    fi
    timeout --signal INT 60 "$mqload" pairs --clients 10 --rate 500 --payload-size 64 --qos 1 "${shared[@]}" --json "$scratch/others.json" \
        >"$scratch/others" 2>&1 || true
    if [[ -n $pid ]]; then wait "$pid" || true; fi
    peak=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$broker/status")
    python3 - "$name" "$peak" "$scratch" <<'PYTHON'
import json, sys
from pathlib import Path
name, peak, scratch = sys.argv[1], sys.argv[2], Path(sys.argv[3])
load = scratch / "load.json"
rate = f"{json.loads(load.read_text())['totals']['received_per_s']:,.0f}" if load.exists() else "-"
others = json.loads((scratch / "others.json").read_text())
latency = others["latencies"]["end_to_end"]
print(f"| {name} | {rate} | {peak} | {latency['p50_us']:,.0f} / {latency['p99_us']:,.0f} | {sum(others['truth']['lost'])} |")
PYTHON
    kill "$broker"
    wait "$broker" 2>/dev/null || true
    broker=
done
