#!/usr/bin/env bash
# Kills the broker under load, again and again on one data directory, and checks after each kill that every promise of
# docs/durability.md was kept: messages of QoS 1 and 2, retained messages, wills, sessions. KILLS with 1, 2 and 4 shards
# together; about a second each.
#
#   scripts/durable.sh KILLS [SEED]
#   RINGMQ_BIN=FILE scripts/durable.sh ...   this broker, instead of a release build
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# -lt 1 || $# -gt 2 || ! $1 =~ ^[1-9][0-9]{0,5}$ || ! ${2:-0} =~ ^[0-9]+$ ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi

if [[ -z ${RINGMQ_BIN:-} ]]; then
    cargo build --quiet --release --bin ringmq
    export RINGMQ_BIN=$PWD/target/release/ringmq
    [[ -z ${CARGO_TARGET_DIR:-} ]] || RINGMQ_BIN=$CARGO_TARGET_DIR/release/ringmq
fi
exec python3 tests/clients/python/kills.py --kills "$1" ${2:+--seed "$2"}
