#!/usr/bin/env bash
# Counts the instructions of the hot paths under callgrind and compares them with
# benches/instructions.txt. Unlike times they are the same on a busy machine.
#
#   scripts/instructions.sh             fails when a path takes over TOLERANCE percent more (5)
#   scripts/instructions.sh --update    writes what it counts as the new baseline
#
# The baseline names the compiler it was counted with: another one makes other code, so then the counts
# are shown and nothing fails.
set -euo pipefail
cd "$(dirname "$0")/.."
baseline=benches/instructions.txt
tolerance=${TOLERANCE:-5}
compiler=$(rustc --version)
counts=$(mktemp)
trap 'rm --force "$counts"' EXIT

# With the broker's program, as the test command builds both: one by itself would have its dependencies
# compiled anew.
program=$(cargo build --quiet --release --bin ringmq --bench instructions --message-format json |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "instructions": print(message["executable"])')

{
    echo "# Instructions per operation, counted by scripts/instructions.sh with $compiler"
    "$program" | while IFS=$'\t' read -r number operations name; do
        total=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*measured*' \
            "$program" "$number" 2>&1 | awk '/Collected/ { print $NF }')
        awk -v name="$name" -v total="$total" -v operations="$operations" \
            'BEGIN { printf "%.1f\t%s\n", total / operations, name }'
    done
} >"$counts"

if [[ ${1:-} == --update ]]; then
    cp "$counts" "$baseline"
    cat "$baseline"
    exit
fi
awk -F '\t' -v tolerance="$tolerance" -v same="$(grep --count --fixed-strings "$compiler" "$baseline" || true)" '
    /^#/ { next }
    NR == FNR { before[$2] = $1; next }
    {
        change = before[$2] ? ($1 / before[$2] - 1) * 100 : 0
        verdict = "ok"
        if (!before[$2]) verdict = "not in the baseline"
        else if (change > tolerance) verdict = "MORE than the baseline allows"
        else if (change < -tolerance) verdict = "less: scripts/instructions.sh --update keeps it so"
        if (change > tolerance || !before[$2]) worse++
        printf "%9.1f  %+6.1f %%  %s: %s\n", $1, change, $2, verdict
    }
    END {
        if (!same) print "the baseline was counted with another compiler: nothing is judged"
        exit same && worse
    }' "$baseline" "$counts"
