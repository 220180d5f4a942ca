#!/usr/bin/env bash
# Holds many idle connections and tells what they cost: memory of the broker and of the kernel per
# connection, the broker's CPU time, and whether every keep-alive was answered (a client that gets no
# PINGRESP, or is cut off, counts as lost).
#
#   scripts/idle.sh [CONNECTIONS]      200,000 without an argument
#
# One process may open as many sockets as `ulimit -Hn` says. When that is less, several brokers share the
# connections, each with an mqload of its own, which connects from many loopback addresses. The environment
# may set HOLD (40s), KEEP_ALIVE (15 seconds), RINGMQ_BIN and MQLOAD_BIN.
set -euo pipefail
cd "$(dirname "$0")/.."
connections=${1:-200000}
hold=${HOLD:-40s}
keep_alive=${KEEP_ALIVE:-15}
release=${CARGO_TARGET_DIR:-target}/release
ringmq=${RINGMQ_BIN:-$release/ringmq}
mqload=${MQLOAD_BIN:-$release/mqload}

spare=200 # descriptors that broker and mqload need besides
limit=$(ulimit -Hn)
each=$connections
if [[ $limit != unlimited ]] && ((each > limit - spare)); then each=$((limit - spare)); fi
count=$(((connections + each - 1) / each))
echo "$connections connections: $count broker(s) with $each at most (open files: $limit)"

scratch=$(mktemp --directory)
brokers=()
loads=()
end_all() {
    for pid in "${loads[@]}" "${brokers[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
    rm --recursive --force "$scratch"
}
trap end_all EXIT

free_ports() { python3 -c 'import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))' "$1"; }
memory_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
cpu_ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
kernel_kb() { awk '/^Slab:|^KernelStack:|^PageTables:/ { sum += $2 } END { print sum }' /proc/meminfo; }
sum() { # COMMAND PID...
    local total=0 command=$1
    shift
    for pid in "$@"; do total=$((total + $("$command" "$pid"))); done
    echo "$total"
}

read -ra ports <<<"$(free_ports "$count")"
for port in "${ports[@]}"; do
    "$ringmq" --port "$port" --shards 1 >"$scratch/broker.$port" 2>&1 &
    brokers+=($!)
done
sleep 1
before=$(sum memory_kb "${brokers[@]}")
kernel_before=$(kernel_kb)
left=$connections
for port in "${ports[@]}"; do
    now=$((left < each ? left : each))
    left=$((left - now))
    "$mqload" connect-ramp --target "127.0.0.1:$port" --clients "$now" --hold "$hold" \
        --keep-alive-s "$keep_alive" --source 127.0.0.0/8 --connect-rate 4000 --timeout 60s --quiet --unpinned \
        --json "$scratch/load.$port.json" >"$scratch/load.$port" 2>&1 &
    loads+=($!)
done

held() { awk '/^TCP:/ { print $3 }' /proc/net/sockstat; } # both ends are here
for _ in $(seq 300); do
    if (($(held) >= 2 * connections)); then break; fi
    sleep 1
done
sleep 2
rss=$(($(sum memory_kb "${brokers[@]}") - before))
kernel=$(($(kernel_kb) - kernel_before))
ticks=$(sum cpu_ticks "${brokers[@]}")
sleep 10
ticks=$(($(sum cpu_ticks "${brokers[@]}") - ticks))
awk -v n="$connections" -v rss="$rss" -v kernel="$kernel" -v ticks="$ticks" -v alive="$keep_alive" 'BEGIN {
    printf "broker: %.2f KB each, %.0f MB in all\n", rss / n, rss / 1024
    printf "kernel, both ends: %.2f KB each\n", kernel / n
    printf "broker CPU while idle: %.1f %% of a core, %.1f us per keep-alive\n", ticks / 10, ticks * 1e4 / (10 * n / alive)
}'
failed=0
for pid in "${loads[@]}"; do wait "$pid" || failed=$((failed + 1)); done
loads=()
python3 - "$scratch"/load.*.json <<'PYTHON'
import json, sys
results = [json.load(open(path)) for path in sys.argv[1:]]
total = lambda name: sum(result["totals"][name] for result in results)
print(f"connected {total('connected')}, lost {total('disconnected')}, failed {total('connect_failed')}")
for result in results:
    for sentence, count in result["errors"].items():
        print(f"{count} x {sentence}")
PYTHON
if ((failed)); then
    echo "$failed of mqload's processes report trouble" >&2
    exit 1
fi
