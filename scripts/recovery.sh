#!/usr/bin/env bash
# How long a start takes, and how much memory, with a data directory in which many sessions have messages that wait; and
# with an empty one. The directory is filled by examples/fill_data_dir.rs and written anew for the shards that are asked
# for, the broker is killed, and the starts after that are measured, as the one before is: seconds until it takes
# connections, CPU time until then, resident memory then and at its highest.
#
#   scripts/recovery.sh [FOLDER]    FOLDER has room; without it, a temporary one
#   PROFILE (release), SESSIONS (1000000), MESSAGES_EACH (10), PAYLOAD (280), SHARDS (2), CORES (0,1), ROUNDS (3),
#   FILL (the program that fills it)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

target=${CARGO_TARGET_DIR:-target}/${PROFILE:-release}
ringmq=${RINGMQ_BIN:-$target/ringmq}
fill=${FILL:-$target/examples/fill_data_dir}
sessions=${SESSIONS:-1000000} each=${MESSAGES_EACH:-10} payload=${PAYLOAD:-280} shards=${SHARDS:-2}
for needed in "$ringmq" "$fill"; do
    [[ -x $needed ]] || {
        echo "there is no $needed: cargo build --release --bin ringmq --example fill_data_dir" >&2
        exit 1
    }
done

# shellcheck source=scripts/broker-process.sh
source "$here/broker-process.sh"
scratch=$(mktemp --directory --tmpdir="${1:-${TMPDIR:-/tmp}}" ringmq-recovery.XXXXXX)
trap 'end_broker; rm --recursive --force "$scratch"' EXIT

# Ends the broker without a word, and what was written is on the disk alone.
kill_broker() {
    kill -KILL "$broker_pid"
    wait "$broker_pid" 2>/dev/null || true
    broker_pid=
}

start() { # DATA: until connections are taken
    local port
    port=$(free_port)
    taskset --cpu-list "${CORES:-0,1}" "$ringmq" --shards "$1" --data-dir "$2" --listen "127.0.0.1:$port" \
        --sessions-max 10000000 --log-level info >"$scratch/log" 2>&1 &
    broker_pid=$!
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$broker_pid" 2>/dev/null || {
            cat "$scratch/log" >&2
            exit 1
        }
        sleep 0.02
    done
}

measure() { # NAME DATA
    local before after
    before=$(date +%s%N)
    start "$shards" "$2"
    after=$(date +%s%N)
    python3 - "$1" "$broker_pid" "$before" "$after" <<'PYTHON'
import os, sys
name, pid, before, after = sys.argv[1:]
with open(f"/proc/{pid}/status") as status:
    kb = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Vm")}
with open(f"/proc/{pid}/stat") as stat:
    fields = stat.read().rsplit(") ", 1)[1].split()
cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
print(f"{name}: takes connections after {(int(after) - int(before)) / 1e9:.2f} s, CPU {cpu:.2f} s, "
      f"resident {int(kb['VmRSS']) / 1024:.0f} MiB, at its highest {int(kb['VmHWM']) / 1024:.0f} MiB; "
      f"load of the machine {os.getloadavg()[0]:.1f}")
PYTHON
    grep --only-matching '[0-9]* records were read.*' "$scratch/log" || true
    kill_broker
}

echo "$sessions sessions, $((sessions * each)) messages of $payload bytes, $shards shards"
"$fill" "$scratch/data" "$sessions" "$each" "$payload"
if ((shards > 1)); then
    measure "written anew, was of 1 shard" "$scratch/data"
fi
du --summarize --human-readable "$scratch/data" | awk '{ print "on the disk: " $1 }'
for round in $(seq "${ROUNDS:-3}"); do measure "round $round" "$scratch/data"; done
for round in $(seq "${ROUNDS:-3}"); do
    rm --recursive --force "$scratch/empty"
    measure "empty $round" "$scratch/empty"
done
