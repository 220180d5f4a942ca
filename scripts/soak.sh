#!/usr/bin/env bash
# The longer mode of the tests that draw from seeds: rounds of the simulator and the fuzz bodies on one core,
# and on the other chaos against the real process and kills of one with a data directory, with fresh seeds
# each round, until the hours are over. Stops at the first failure and says which command repeats it.
#
#   scripts/soak.sh HOURS             fractions allowed: 0.05 is three minutes
#   SOAK_SEED=N scripts/soak.sh ...   first seed; without it, the seconds since 1970
#   SOAK_LOGS=FOLDER ...              where logs are kept; without it, a new temporary folder
set -euo pipefail
cd "$(dirname "$0")/.."

# Of one round; the last is as short as what is left, but not shorter than the least.
readonly CHAOS_SECONDS=480
readonly CHAOS_SECONDS_MIN=20
# Of one batch; batches follow each other until the round is over.
readonly SIM_SEEDS=1000
readonly FUZZ_ITERATIONS=100000
# Of a round, behind its storms: about a second each.
readonly KILLS=60
# Between the first seeds of two rounds: more than a round uses.
readonly SEEDS_PER_ROUND=1000000

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[[ $# == 1 && $1 =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)$ ]] || usage
seconds=$(awk -v hours="$1" 'BEGIN { printf "%d", hours * 3600 }')
seed=${SOAK_SEED:-$(date +%s)}
[[ $seed =~ ^[0-9]+$ ]] || usage
logs=${SOAK_LOGS:-$(mktemp --directory --tmpdir ringmq-soak.XXXXXX)}
mkdir --parents "$logs"
programs=$(mktemp --directory)
pids=()

# Only what this script started is ended, each with what it started itself: a job is its own process
# group (`set -m`).
finish() {
    local pid
    for pid in "${pids[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
    rm --recursive --force "$programs"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

has_fuzz() {
    local metadata
    metadata=$(cargo metadata --no-deps --format-version 1)
    [[ $metadata == *'"name":"ringmq-fuzz"'* ]]
}

# Copies: later builds must not replace a program that is running.
build() {
    local test_binary target=${CARGO_TARGET_DIR:-target}
    cargo build --quiet --release --bin ringmq
    cargo build --quiet --release --features sim --bin ringmq-sim
    cp "$target/release/ringmq" "$target/release/ringmq-sim" "$programs/"
    if has_fuzz; then
        cargo build --quiet --profile fuzz --package ringmq-fuzz
        cp "$target/fuzz/ringmq-fuzz" "$programs/"
    fi
    # The checks of a debug build (overflow, assertions) are on in chaos.
    cargo build --quiet --bin ringmq
    cp "$target/debug/ringmq" "$programs/ringmq-debug"
    test_binary=$(cargo test --test all --no-run 2>&1 | sed -n 's/.*(\(.*\))$/\1/p' | tail --lines=1)
    cp "$test_binary" "$programs/tests"
}

# Runs one part to its end. A failure leaves a file that says how to repeat it.
part() { # NAME REPEAT COMMAND...
    local name=$1 repeat=$2
    shift 2
    if "$@" >>"$logs/$round-$name.log" 2>&1; then return 0; fi
    printf '%s\n' "$repeat" >"$logs/$round-$name.failed"
    return 1
}

# Batches until the storms of the round are over.
simulate_and_fuzz() {
    local batch
    for ((batch = from; batch == from || SECONDS < storms_end; batch += SIM_SEEDS)); do
        part simulator \
            "cargo run --release --features sim --bin ringmq-sim -- --from $batch --seeds $SIM_SEEDS" \
            "$programs/ringmq-sim" --from "$batch" --seeds "$SIM_SEEDS" || return 1
        [[ -x $programs/ringmq-fuzz ]] || continue
        part fuzz \
            "cargo run --profile fuzz --package ringmq-fuzz -- --iterations $FUZZ_ITERATIONS --seed $batch" \
            "$programs/ringmq-fuzz" --iterations "$FUZZ_ITERATIONS" --seed "$batch" || return 1
    done
}

chaos() {
    local broker=ringmq
    if ((round % 2)); then broker=ringmq-debug; fi
    RINGMQ_BIN=$programs/$broker RINGMQ_CHAOS_SEED=$from RINGMQ_CHAOS_SECONDS=$chaos_seconds \
        part chaos \
        "RINGMQ_CHAOS_SEED=$from RINGMQ_CHAOS_SECONDS=$chaos_seconds cargo test --test all chaos" \
        "$programs/tests" chaos::every_promise --nocapture || return 1
    RINGMQ_BIN=$programs/$broker part kills "scripts/durable.sh $KILLS $from" \
        python3 tests/clients/python/kills.py --kills "$KILLS" --seed "$from"
}

# Starts both and waits until both are done or one has failed.
run_round() {
    set -m
    simulate_and_fuzz &
    pids=($!)
    chaos &
    pids+=($!)
    set +m
    wait -n && wait -n || return 1
    pids=()
}

# What each part did, in one line.
describe() {
    local parts=()
    parts+=("simulator: $(grep --count '^[0-9]* seeds' "$logs/$round-simulator.log") x $SIM_SEEDS seeds")
    if [[ -e $logs/$round-fuzz.log ]]; then
        parts+=("fuzz: $(tail --lines=1 "$logs/$round-fuzz.log")")
    fi
    parts+=("chaos: $(grep '^resident' "$logs/$round-chaos.log")")
    parts+=("kills: $(grep --count 'none lost' "$logs/$round-kills.log") x $((KILLS / 3))")
    local IFS=';'
    printf '%s\n' "${parts[*]}"
}

printf 'logs in %s, first seed %s\n' "$logs" "$seed"
build
start=$SECONDS
round=0
while ((round == 0 || SECONDS - start < seconds)); do
    round=$((round + 1))
    from=$((seed + round * SEEDS_PER_ROUND))
    chaos_seconds=$((seconds - (SECONDS - start)))
    if ((chaos_seconds > CHAOS_SECONDS)); then chaos_seconds=$CHAOS_SECONDS; fi
    if ((chaos_seconds < CHAOS_SECONDS_MIN)); then chaos_seconds=$CHAOS_SECONDS_MIN; fi
    storms_end=$((SECONDS + chaos_seconds))
    if ! run_round; then
        printf 'round %d failed after %d s; logs in %s\n' "$round" "$((SECONDS - start))" "$logs"
        for failed in "$logs/$round"-*.failed; do
            [[ -e $failed ]] || continue
            printf 'repeat with: %s\n' "$(cat "$failed")"
            tail --lines=20 "${failed%.failed}.log"
        done
        exit 1
    fi
    printf 'round %d, %d s: %s\n' "$round" "$((SECONDS - start))" "$(describe)"
done
printf 'soak: %d rounds in %d s, seeds from %s, no failure\n' "$round" "$((SECONDS - start))" "$seed"
