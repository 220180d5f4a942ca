#!/usr/bin/env bash
# Runs a fixed set of scenarios against every broker found on this machine, in turn so that drift of
# the machine meets all alike, and writes tables and a plot: the median of the rounds, and ratios to the
# first broker.
#
#   scripts/compare.sh [DIRECTORY]     results go to DIRECTORY, or to compare-results
#
# How a broker is started, and which scenarios it runs, is in scripts/brokers/NAME.sh. "relay" is no
# broker but the least that one can cost (examples/relay.rs). scripts/compare-tls.sh does the same over
# TLS. The environment may set:
#   BROKERS       names, the first is what ratios refer to
#                 (mosquitto flashmq rumqttd rmqttd ringmq ringmq-2 ringmq-4 relay; rows "durable-" are also
#                 of mosquitto-durable and ringmq-durable, which run no others)
#   SCENARIOS     extended regular expression: only scenarios whose name it matches     (all)
#   BROKER_CORES  cores of the broker, LOAD_CORES of mqload       (0 and 1)
#   ROUNDS        times each scenario is run against each broker  (3)
#   DURATION      of each run                                     (5s)
#   LIMIT         seconds after which a run is interrupted: a slow broker may take minutes to hand out
#                 what it was given in DURATION; its figures up to then are kept   (30)
#   MQLOAD_BIN    another mqload than the release build
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

results=${1:-compare-results}
read -ra brokers <<<"${BROKERS:-mosquitto flashmq rumqttd rmqttd ringmq ringmq-2 ringmq-4 relay mosquitto-durable ringmq-durable}"
broker_cores=${BROKER_CORES:-0}
load_cores=${LOAD_CORES:-1}
rounds=${ROUNDS:-3}
duration=${DURATION:-5s}
limit_s=${LIMIT:-30}
mqload=${MQLOAD_BIN:-${CARGO_TARGET_DIR:-target}/release/mqload}
threads=$(awk -F, '{ print NF }' <<<"$load_cores")

# Rows "-max" saturate the broker: what counts is CPU time per message and messages per second. Rows
# "-paced" offer a rate that every broker keeps up with: what counts is latency.
all_scenarios=(
    'fan-in-max|fan-in --clients 10 --max --batch 64 --payload-size 16'
    'fan-in-paced|fan-in --clients 10 --rate 10000 --payload-size 16'
    'all-to-all-max|fan-in --clients 10 --subscribers 10 --max --batch 64 --payload-size 16'
    'all-to-all-paced|fan-in --clients 10 --subscribers 10 --rate 1000 --payload-size 16'
    'fan-out-max|fan-out --clients 100 --max --batch 16 --payload-size 16'
    'fan-out-paced|fan-out --clients 100 --rate 100 --payload-size 16'
    'pairs-max|pairs --clients 100 --max --batch 16 --payload-size 16'
    'pairs-paced|pairs --clients 100 --rate 10000 --payload-size 16'
    'pairs-1k-max|pairs --clients 100 --max --batch 16 --payload-size 1k'
    'pairs-1k-paced|pairs --clients 100 --rate 10000 --payload-size 1k'
    'pairs-qos1-max|pairs --clients 50 --max --qos 1 --window 64 --payload-size 16'
    'pairs-qos1-paced|pairs --clients 50 --rate 5000 --qos 1 --payload-size 16'
    'pairs-qos2-max|pairs --clients 50 --max --qos 2 --window 16 --payload-size 16'
    'pairs-qos2-paced|pairs --clients 50 --rate 3000 --qos 2 --payload-size 16'
    'light-paced|pairs --clients 10 --rate 500 --payload-size 64'
    'sparse-paced|pairs --clients 2500 --rate 5000 --poisson --payload-size 16'
    'wide-fan-out-paced|fan-out --clients 5000 --rate 2 --payload-size 16'
    'wide-fan-out-max|fan-out --clients 5000 --rate 100 --payload-size 16'
    'shared-group-max|shared-group --subscribers 10 --clients 10 --max --batch 16 --payload-size 16'
    'large-1000k-paced|pairs --clients 4 --rate 200 --payload-size 1000k'
    'v5-fan-out-max|fan-out --protocol 5 --clients 100 --max --batch 16 --payload-size 16'
    'v5-pairs-max|pairs --protocol 5 --clients 100 --max --batch 16 --payload-size 16'
    'durable-qos1-max|pairs --clients 50 --max --qos 1 --window 64 --payload-size 256 --clean-start false'
    'durable-qos1-paced|pairs --clients 50 --rate 5000 --qos 1 --payload-size 256 --clean-start false'
    'durable-qos2-max|pairs --clients 50 --max --qos 2 --window 16 --payload-size 256 --clean-start false'
    'connects|connect-storm --clients 2000 --rounds 3'
    'idle|connect-ramp --clients 5000 --hold 2s'
)
# Others in place of these, and a folder with certificates for those whose third field is a transport and
# whose key it is: tls:ecdsa, wss:ecdsa, tls:rsa; ws has none.
if [[ -n ${OWN_SCENARIOS:-} ]]; then mapfile -t all_scenarios <<<"$OWN_SCENARIOS"; fi
certificates=${CERTIFICATES:-}
scenarios=()
for scenario in "${all_scenarios[@]}"; do
    if [[ ${scenario%%|*} =~ ${SCENARIOS:-.} ]]; then scenarios+=("$scenario"); fi
done

[[ -x $mqload ]] || {
    echo "there is no $mqload: cargo build --release --workspace" >&2
    exit 1
}
mkdir -p "$results"
scratch=$(mktemp --directory)
# shellcheck source=scripts/broker-process.sh
source "$here/broker-process.sh"
trap 'end_broker; rm --recursive --force "$scratch"' EXIT

# True when a broker can run a scenario: all can unless their file says otherwise.
runs() ( # BROKER SCENARIO
    # shellcheck source=/dev/null
    source "$here/brokers/$1.sh"
    ! declare -F broker_runs >/dev/null || broker_runs "$2"
)

declare -A programs=()
found=()
for broker in "${brokers[@]}"; do
    # shellcheck source=/dev/null
    if program=$(source "$here/brokers/$broker.sh" && broker_program); then
        programs[$broker]=$program
        found+=("$broker")
    else
        echo "not on this machine: $broker"
    fi
done
((${#found[@]})) || {
    echo 'no broker found' >&2
    exit 1
}

failures=0
for round in $(seq "$rounds"); do
    for scenario in "${scenarios[@]}"; do
        IFS='|' read -r name arguments listener <<<"$scenario"
        read -ra arguments <<<"$arguments"
        # Read by broker_start, too.
        transport=${listener%%:*} pair=$certificates/${listener##*:}
        secure=()
        if [[ $transport =~ ^(tls|wss)$ ]]; then secure=(--tls --ca "$pair-ca.pem"); fi
        if [[ $transport =~ ^wss?$ ]]; then secure+=(--ws); fi
        for broker in "${found[@]}"; do
            runs "$broker" "$name" || continue
            port=$(free_port)
            directory=$(mktemp --directory --tmpdir="$scratch")
            (
                # shellcheck source=/dev/null
                source "$here/brokers/$broker.sh"
                broker_start "${programs[$broker]}" "$port" "$directory" "$broker_cores"
            ) >"$directory/log" 2>&1 &
            broker_pid=$!
            if ! await_port "$port"; then
                echo "$broker did not start:" >&2
                cat "$directory/log" >&2
                end_broker
                failures=$((failures + 1))
                continue
            fi
            echo "== round $round, $name, $broker"
            file=$results/$name.$broker.$round.json
            rm --force "$file" "${file%.json}.peak" # of an earlier comparison
            traffic=(--duration "$duration" --drain 1s)
            if [[ ${arguments[0]} =~ ^connect-|-storm$ ]]; then traffic=(); fi
            status=0
            # In the foreground: else timeout sends two signals, and the second ends mqload at once.
            timeout --foreground --signal INT "$limit_s" "$mqload" "${arguments[@]}" --target "127.0.0.1:$port" "${secure[@]}" "${traffic[@]}" --quiet \
                --threads "$threads" --cores "$load_cores" --broker-pid "$broker_pid" \
                --name "$name" --label "$broker" --json "$file" || status=$?
            case $status in
            0) ;;
            124) echo "interrupted after $limit_s s" ;;
            *) failures=$((failures + 1)) ;;
            esac
            if [[ -e $file ]]; then # peak memory in KB, of the broker's whole life
                awk '/^VmHWM/ { print $2 }' "/proc/$broker_pid/status" >"${file%.json}.peak" || true
            fi
            end_broker
        done
    done
done

# One row for each scenario and broker: the median round. Ratios are to the scenario's first row, so to
# the first broker.
files=()
for scenario in "${scenarios[@]}"; do
    for broker in "${found[@]}"; do
        for round in $(seq "$rounds"); do
            file=$results/${scenario%%|*}.$broker.$round.json
            if [[ -e $file ]]; then files+=("$file"); fi
        done
    done
done
((${#files[@]})) || {
    echo 'no run left a result' >&2
    exit 1
}
"$mqload" report --median "${files[@]}" --html "$results/report.html" | tee "$results/table.txt"
python3 "$here/compare-tables.py" "$results" "${found[@]}" >"$results/tables.md"
echo "tables: $results/table.txt and tables.md, plot: $results/cpu.svg, page: $results/report.html"
if ((failures)); then
    echo "$failures runs failed or were cut short: see above" >&2
    exit 1
fi
