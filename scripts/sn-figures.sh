#!/usr/bin/env bash
# What MQTT-SN costs, for docs/mqtt-sn.md.
#
#   scripts/sn-figures.sh [datagrams|asleep|wakes]...     all of them without an argument
#
# datagrams: CPU time for each datagram at QoS -1 and 0 into one MQTT subscriber, beside that of a bare loop of
#            recvmmsg that is sent the same (examples/datagrams.rs), in turn
# asleep:    memory of the broker with SLEEPERS sensors asleep, before and after each was woken and sent messages
# wakes:     p99 of TCP clients while WAKES sensors wake up in a second with 10 messages each, and while all sleep
#
# The environment may set ROUNDS (3; the median counts), DURATION (5s), RATE (datagrams per second; 0, which is
# as many as come, and then 500000), CLIENTS (8; sources of datagrams), SLEEPERS (100000), WAKES (1000), CORES ("0 1":
# of broker and load), RINGMQ_BIN, MQLOAD_BIN and DATAGRAMS_BIN.
set -euo pipefail
cd "$(dirname "$0")/.."
release=${CARGO_TARGET_DIR:-target}/release
ringmq=${RINGMQ_BIN:-$release/ringmq}
mqload=${MQLOAD_BIN:-$release/mqload}
datagrams=${DATAGRAMS_BIN:-$release/examples/datagrams}
rounds=${ROUNDS:-3}
duration=${DURATION:-5s}
read -r -a rates <<<"${RATE:-0 500000}"
clients=${CLIENTS:-8}
sleepers=${SLEEPERS:-100000}
wakes=${WAKES:-1000}
read -r broker_core load_core <<<"${CORES:-0 1}"
[[ -x $ringmq && -x $mqload ]] || cargo build --quiet --release --workspace
[[ -x $datagrams ]] || cargo build --quiet --release --example datagrams

# shellcheck source=scripts/broker-process.sh
source scripts/broker-process.sh
scratch=$(mktemp --directory)
load_pid=
end_all() {
    if [[ -n $load_pid ]]; then kill "$load_pid" 2>/dev/null || true; fi
    end_broker
    rm --recursive --force "$scratch"
}
trap end_all EXIT
load() { taskset --cpu-list "$load_core" "$mqload" "$@"; }

start_broker() {
    end_broker
    port=$(free_port) sn_port=$(free_port)
    cat >"$scratch/ringmq.toml" <<CONF
[[listener]]
address = "127.0.0.1:$sn_port"
transport = "udp"
protocol = "mqtt-sn"
sn-qos-minus-one = "sensors"
sn-forwarders = true
CONF
    taskset --cpu-list "$broker_core" "$ringmq" --config "$scratch/ringmq.toml" --listen "127.0.0.1:$port" --shards 1 \
        >"$scratch/broker.log" 2>&1 &
    broker_pid=$!
    await_port "$port" || { cat "$scratch/broker.log" >&2; exit 1; }
}

# CPU nanoseconds for each datagram of the bare loop.
bare() { # RATE
    local bare_port
    bare_port=$(free_port)
    taskset --cpu-list "$broker_core" "$datagrams" "$bare_port" >"$scratch/bare.log" &
    local pid=$!
    until grep --quiet counting "$scratch/bare.log"; do sleep 0.05; done
    load sn flood --alone --target "127.0.0.1:$bare_port" --clients "$clients" --rate "$1" --duration "$duration" >"$scratch/load.log"
    wait "$pid"
    sed -n 's/.*: \([0-9]*\) ns of CPU for each/\1/p' "$scratch/bare.log"
}

datagrams() {
    local rate qos round
    for rate in "${rates[@]}"; do
        for qos in -1 0; do
            for ((round = 0; round < rounds; round++)); do
                bare "$rate" >>"$scratch/bare.$rate.$qos"
                start_broker
                load sn flood --qos "$qos" --target "127.0.0.1:$sn_port" --subscriber "127.0.0.1:$port" --clients "$clients" \
                    --rate "$rate" --duration "$duration" --broker-pid "$broker_pid" --json "$scratch/flood.$rate.$qos.$round.json" >"$scratch/load.log"
            done
        done
    done
    end_broker
    python3 - "$scratch" <<'END'
import glob, json, re, statistics, sys

print("| datagrams | offered | delivered per second | lost | broker, CPU each | bare loop, CPU each | ratio |")
print("| --- | --- | --- | --- | --- | --- | --- |")
for path in sorted(glob.glob(f"{sys.argv[1]}/bare.*.*")):
    if path.endswith("log"):
        continue
    rate, qos = path.split("/")[-1].split(".")[1:]
    bare = statistics.median(map(int, open(path)))
    runs = [json.load(open(run)) for run in glob.glob(f"{sys.argv[1]}/flood.{rate}.{qos}.*.json")]
    runs.sort(key=lambda run: run["broker_cpu_ns_each"])
    run = runs[len(runs) // 2]
    offered = "all that come" if rate == "0" else f"{int(rate):,}/s"
    print(f"| QoS {qos} | {offered} | {run['per_second']:,.0f} | {run['lost'] / run['sent']:.1%} | {run['broker_cpu_ns_each']:.0f} ns "
          f"| {bare:.0f} ns | {run['broker_cpu_ns_each'] / bare:.2f} |")
END
}

resident() { awk -v what="$1" '/^VmRSS/ { printf "%s: %.1f MB resident\n", what, $2 * 1024 / 1e6 }' "/proc/$broker_pid/status"; }

asleep() {
    start_broker
    sleep 1
    resident "no client"
    load sn sleepers --target "127.0.0.1:$sn_port" --clients "$sleepers" --nodes 1000 --rounds 1 --messages 10 --wakes "$wakes" \
        --rest 10s --timeout 600s >"$scratch/load.log" &
    load_pid=$!
    until grep --quiet 'sensors sleep' "$scratch/load.log"; do sleep 1; done
    sleep 3
    resident "$sleepers asleep"
    local failed=0
    wait "$load_pid" || failed=1
    load_pid=
    cat "$scratch/load.log"
    return $failed
}

# Runs TCP clients for each round, one message in two milliseconds, and appends their p99 in milliseconds to a file.
tcp_clients() { # FILE
    local round
    for ((round = 0; round < rounds; round++)); do
        load pairs --target "127.0.0.1:$port" --clients 10 --rate 500 --payload-size 64 --duration "$duration" --quiet --threads 1 \
            --cores "$load_core" --json "$scratch/tcp.json" >"$scratch/tcp.log" || { cat "$scratch/tcp.log" >&2; return 1; }
        python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["latencies"]["end_to_end"]["p99_us"] / 1e3)' "$scratch/tcp.json" >>"$1"
    done
}

wakes() {
    local until
    start_broker
    load sn sleepers --target "127.0.0.1:$sn_port" --clients "$sleepers" --nodes 1000 --rounds 1 --messages 10 --wakes "$wakes" \
        --rest "$((rounds * (${duration%s} + 3) + 5))s" --timeout 900s >"$scratch/load.log" &
    load_pid=$!
    until grep --quiet 'sensors sleep' "$scratch/load.log"; do sleep 1; done
    tcp_clients "$scratch/asleep"
    until grep --quiet 'wake up' "$scratch/load.log"; do sleep 0.1; done
    tcp_clients "$scratch/waking"
    if grep --quiet 'received' "$scratch/load.log"; then
        echo "sn-figures.sh: all were awake before the TCP clients had gone: more SLEEPERS, or a shorter DURATION" >&2
        return 1
    fi
    local failed=0
    wait "$load_pid" || failed=1
    load_pid=
    cat "$scratch/load.log"
    python3 - "$scratch" "$wakes" <<'END'
import statistics, sys

asleep, waking = (sorted(map(float, open(f"{sys.argv[1]}/{name}"))) for name in ("asleep", "waking"))
one, other = statistics.median(asleep), statistics.median(waking)
print(f"TCP clients, p99: {one:.3f} ms while all sleep {asleep}, {other:.3f} ms while {sys.argv[2]} wake up in a second {waking}: {other / one:.2f} times")
END
    return $failed
}

if (($# == 0)); then set -- datagrams asleep wakes; fi
for what in "$@"; do "$what"; done
