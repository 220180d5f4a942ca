#!/usr/bin/env bash
# Kills the broker under load, again and again on one data directory, and checks after each kill that everything
# that was acknowledged is there, in order and at QoS 2 once: with 1, 2 and 4 shards, KILLS each.
#
#   scripts/durable.sh KILLS
#   RINGMQ_BIN=FILE scripts/durable.sh ...   this broker, instead of a release build
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# != 1 || ! $1 =~ ^[1-9][0-9]{0,4}$ ]]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi

# For each kill: load, the start, and what was queued.
readonly SECONDS_PER_KILL=30

if [[ -z ${RINGMQ_BIN:-} ]]; then
    cargo build --quiet --release --bin ringmq
    export RINGMQ_BIN=$PWD/target/release/ringmq
    [[ -z ${CARGO_TARGET_DIR:-} ]] || RINGMQ_BIN=$CARGO_TARGET_DIR/release/ringmq
fi
# scripts/test.sh makes it.
pytest=${PYTEST:-$PWD/.venv/bin/pytest}
cd tests/clients/python
DURABLE_KILLS=$1 "$pytest" --quiet --timeout=$((60 + $1 * SECONDS_PER_KILL)) \
    test_durable.py -k under_load
