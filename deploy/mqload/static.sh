#!/bin/sh
# Builds mqload as one static file, which needs no C library where it runs.
#
#   deploy/mqload/static.sh FOLDER
set -eu
folder=$(mkdir -p "${1:?usage: static.sh FOLDER}" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
target=$(rustc -vV | sed -n 's/^host: //p')
# With --target, build scripts and macros, which are loaded by the compiler, stay dynamic.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --locked --package mqload --target "$target"
cp "${CARGO_TARGET_DIR:-target}/$target/release/mqload" "$folder/mqload"
echo "$folder/mqload"
