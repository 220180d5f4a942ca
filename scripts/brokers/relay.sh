# How scripts/compare.sh starts the bare relay (cargo build --release --example relay), which carries the
# bytes of a publisher to its subscribers and knows no more of MQTT than that.
broker_program() {
    local program=${RELAY_BIN:-${CARGO_TARGET_DIR:-target}/release/examples/relay}
    [[ -x $program ]] && echo "$program"
}

broker_runs() { [[ $1 =~ ^(pairs|pairs-1k|pairs-qos1|pairs-qos2|fan-out|wide-fan-out|light|sparse|large-1000k)-(max|paced)$ ]]; } # SCENARIO

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    exec taskset --cpu-list "$4" "$1" "$2"
}
