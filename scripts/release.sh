#!/usr/bin/env bash
# usage: scripts/release.sh crates REPOSITORY FOLDER     the crates, as a registry takes them
#        scripts/release.sh packages FOLDER              .deb and, where cargo-generate-rpm is, .rpm, with their sums
# From a checkout without changes. CONTRIBUTING.md says what comes before and after.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }

[[ -z $(git status --porcelain) ]] || { echo "release.sh: there are changes that are not committed" >&2; exit 1; }

# The sources with the address of their repository, which only a release has.
crates() {
    local repository=$1 out=$2
    mkdir -p "$out/sources"
    git archive HEAD | tar -x -C "$out/sources"
    local manifest
    for manifest in Cargo.toml loadgen/Cargo.toml; do
        sed -i "0,/^description = /s|^description = |repository = \"$repository\"\n&|" "$out/sources/$manifest"
        grep -q "^repository = \"$repository\"$" "$out/sources/$manifest"
    done
    cd "$out/sources"
    local problems
    problems=$(cargo package --quiet --no-verify --allow-dirty --target-dir ../crates -p ringmq -p mqload 2>&1)
    # cargo warns of metadata that are missing, and packages nevertheless.
    if grep -q 'has no ' <<<"$problems"; then echo "$problems" >&2; exit 1; fi
    ls -l ../crates/package/*.crate
    echo "to publish, from $PWD: cargo publish -p ringmq -p mqload"
}

packages() {
    local out=$1 target=target # where the metadata of the packages look
    export CARGO_TARGET_DIR=$PWD/target
    mkdir -p "$out"
    cargo build --release --locked -p ringmq --bin ringmq
    cargo build --release --locked -p mqload
    cargo run --quiet --package ringmq-pages -- "$target/pages"
    deploy/deb.py --binary "$target/release/ringmq" --pages "$target/pages" --out "$out"
    deploy/deb.py --manifest loadgen/Cargo.toml --binary "$target/release/mqload" --pages "$target/pages" --out "$out"
    if cargo generate-rpm --version >/dev/null 2>&1; then
        cargo generate-rpm --target-dir "$target" --output "$out"
    else
        echo "no .rpm: cargo install cargo-generate-rpm" >&2
    fi
    (cd "$out" && find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%f\n' | sort | xargs sha256sum >SHA256SUMS)
    "$target/release/ringmq" --version
}

case "${1-} $#" in
    "crates 3") crates "$2" "$(mkdir -p "$3" && cd "$3" && pwd)" ;;
    "packages 2") packages "$2" ;;
    *) usage ;;
esac
