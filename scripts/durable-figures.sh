#!/usr/bin/env bash
# What durability costs on this disk: ringmq with a data directory, the same traffic in memory, Mosquitto with
# `persistence` and `autosave_interval 1`, and an ideal group commit of the same bytes (examples/ideal_log.rs), in turn in
# each round. Wants a quiet machine; figures are compared within one run only.
#
#   scripts/durable-figures.sh [FOLDER]    FOLDER is on the disk to be measured; without it, a temporary one
#   PROFILE (release), ROUNDS (3), DURATION (5s), BROKER_CORES (0), LOAD_CORES (1), RECORD_BYTES (256, of a payload)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

target=${CARGO_TARGET_DIR:-target}/${PROFILE:-release}
rounds=${ROUNDS:-3}
duration=${DURATION:-5s}
payload=${RECORD_BYTES:-256}
cores=${BROKER_CORES:-0} load_cores=${LOAD_CORES:-1}
threads=$(awk -F, '{ print NF }' <<<"$load_cores")
# Read by the brokers' files.
transport=
export DATA
DATA=$(mktemp --directory --tmpdir="${1:-${TMPDIR:-/tmp}}" ringmq-figures.XXXXXX)

for needed in ringmq mqload examples/ideal_log; do
    [[ -x $target/$needed ]] || {
        echo "there is no $target/$needed: cargo build --release --workspace --bins --example ideal_log" >&2
        exit 1
    }
done

# shellcheck source=scripts/broker-process.sh
source "$here/broker-process.sh"
trap 'end_broker; rm --recursive --force "$DATA"' EXIT

figure() { # FILE EXPRESSION
    python3 -c 'import json, sys; run = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

measure() { # NAME BROKER OPTIONS...: leaves rate, p50, cpu_us and the broker's data directory in data
    local name=$1 broker=$2 port program directory=$DATA/load
    shift 2
    port=$(free_port)
    rm --recursive --force "$directory"
    mkdir --parents "$directory"
    data=$DATA/$([[ $broker == mosquitto* ]] && echo mosquitto || echo ringmq)-$port
    program=$(source "$here/brokers/$broker.sh" && broker_program)
    (
        # shellcheck source=/dev/null
        source "$here/brokers/$broker.sh"
        broker_start "$program" "$port" "$directory" "$cores"
    ) >"$directory/log" 2>&1 &
    broker_pid=$!
    if ! await_port "$port"; then
        cat "$directory/log" >&2
        exit 1
    fi
    "$target/mqload" "$@" --target "127.0.0.1:$port" --duration "$duration" --drain 1s --quiet \
        --threads "$threads" --cores "$load_cores" --broker-pid "$broker_pid" \
        --json "$directory/result.json" >"$directory/text" 2>&1 || cat "$directory/text" >&2
    end_broker
    rate=$(figure "$directory/result.json" 'round(run["totals"]["published_per_s"])')
    p50=$(figure "$directory/result.json" 'round(run["latencies"]["publish_ack"]["p50_us"])')
    cpu_us=$(figure "$directory/result.json" \
        'round(run["broker"]["cpu_s"] * 1e6 / max(run["totals"]["published"], 1), 2)')
    printf '%-22s %9s/s   PUBACK p50 %7s us   CPU %6s us per message\n' "$name" "$rate" "$p50" "$cpu_us"
}

# What the log of the run before holds: bytes of a record and records in a commit.
blocks() {
    "$target/ringmq" journal check "$data" |
        sed --quiet --regexp-extended 's/.*, ([0-9]+) frames with ([0-9]+) records.*/\1 \2/p' |
        awk '{ frames += $1; records += $2 } END { print frames, records }'
}

for round in $(seq "$rounds"); do
    echo "round $round"
    for load in max light; do
        case $load in
        max) options=(pairs --clients 50 --max --window 64) ;;
        light) options=(pairs --clients 10 --rate 500) ;;
        esac
        options+=(--qos 1 --payload-size "$payload" --clean-start false)
        measure "$load in-memory" ringmq "${options[@]}"
        if [[ -x /usr/sbin/mosquitto ]]; then measure "$load mosquitto" mosquitto-durable "${options[@]}"; fi
        measure "$load durable" ringmq-durable "${options[@]}"
        durable=$rate
        read -r frames records < <(blocks)
        # A message is a record of itself and one of the session's changes; the ideal log writes it as one. Segments that
        # are not needed any more have gone, so the block is that of the frames that are there.
        each=$(((records + 2 * frames - 1) / (2 * frames)))
        ideal=$(taskset --cpu-list "$cores" "$target/examples/ideal_log" "$DATA" $((payload + 24)) "$each" 4000)
        echo "$load ideal              $ideal"
        awk -v durable="$durable" -v each="$each" -v frames="$frames" -v records="$records" \
            -v ideal="$(awk '{ print $4 }' <<<"$ideal")" -v load="$load" 'BEGIN {
                printf "%s: %d messages in a commit of %.1f records; durable / ideal = %.2f\n", load, each,
                    records / frames, durable / ideal }'
        rm --recursive --force "${DATA:?}"/*
    done
done
