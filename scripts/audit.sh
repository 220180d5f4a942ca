#!/bin/sh
# Looks up the dependencies in a database of advisories that is on this machine; nothing is fetched.
#
#   scripts/audit.sh            the database in $ADVISORY_DB, or one of cargo-audit or cargo-deny
#
# Ends with 0 when nothing was found, with 1 when something was, with 2 when it could not look.
set -eu
cd "$(dirname "$0")/.."

say() { echo "audit: $*" >&2; }

cargo_home=${CARGO_HOME:-$HOME/.cargo}
database=
for folder in "${ADVISORY_DB:-}" "$cargo_home/advisory-db" "$cargo_home"/advisory-dbs/*; do
    if [ -n "$folder" ] && [ -d "$folder/crates" ]; then
        database=$folder
        break
    fi
done

if [ -z "$database" ]; then
    say "there is no database of advisories on this machine, so nothing was looked up: clone"
    say "https://github.com/rustsec/advisory-db and give its folder as ADVISORY_DB"
    exit 2
fi
if command -v cargo-audit >/dev/null; then
    look_up() { cargo audit --db "$database" --no-fetch --stale --file Cargo.lock --deny warnings; }
elif python3 -c 'import tomllib' 2>/dev/null; then
    look_up() { scripts/audit.py "$database"; }
else
    say "neither cargo-audit nor Python 3.11 is installed, so nothing was looked up: cargo install cargo-audit --locked"
    exit 2
fi

# An advisory that is known and cannot be mended here is named in .cargo/audit.toml, with the reason.
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
status=0
look_up 2>"$errors" || status=$?
cat "$errors" >&2
if [ "$status" -eq 0 ]; then
    say "nothing was found in Cargo.lock by $database"
elif grep -q 'error loading advisory database' "$errors"; then
    say "the database in $database cannot be read, so nothing was looked up"
    exit 2
else
    say "see above: update the dependency, or name the advisory in .cargo/audit.toml with the reason why it does no harm here"
    exit 1
fi
