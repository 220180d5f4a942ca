# How scripts/compare.sh starts the bare relay (cargo build --release --example relay), which carries the
# bytes of a publisher to its subscribers and knows no more of MQTT than that.
broker_program() {
    local program=${RELAY_BIN:-${CARGO_TARGET_DIR:-target}/release/examples/relay}
    [[ -x $program ]] && echo "$program"
}

broker_runs() { # SCENARIO: a topic has one publisher, and nothing is expected of connections but bytes
    [[ $1 != v5-* ]] || return 1 # it answers as 3.1.1 has it
    [[ $1 =~ (^|-)(pairs|pairs-1k|pairs-qos1|pairs-qos2|fan-out|wide-fan-out|light|sparse|large-1000k)-(max|paced)$ ]] ||
        [[ $1 =~ connects$ ]]
}

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    local layers=()
    if [[ ${transport:-} == tls || ${transport:-} == wss ]]; then layers+=(--tls "$pair.pem" "$pair.key"); fi
    if [[ ${transport:-} == ws || ${transport:-} == wss ]]; then layers+=(--ws); fi
    exec taskset --cpu-list "$4" "$1" "$2" "${layers[@]}"
}
