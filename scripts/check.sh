#!/usr/bin/env bash
# The inner loop: what finds most mistakes in a few minutes. scripts/test.sh is everything.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '== %s (after %s s)\n' "$*" "$SECONDS"; }

step format
cargo fmt --all --check
step lints
cargo clippy --workspace --features ringmq/sim --all-targets --quiet -- --deny warnings
step 'unit tests, wire table, tidy rules'
cargo test --features sim --lib --quiet
cargo test --features sim --test all --quiet -- wire tidy conformance
step 'simulator, 200 seeds'
cargo run --quiet --features sim --bin ringmq-sim -- --seeds 200
step done
