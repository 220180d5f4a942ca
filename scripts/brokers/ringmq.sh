# How scripts/compare.sh starts ringmq: its defaults, one shard per core it is given. RINGMQ_BIN names
# another program than the release build.
shards=auto

broker_program() {
    local program=${RINGMQ_BIN:-${CARGO_TARGET_DIR:-target}/release/ringmq}
    [[ -x $program ]] && echo "$program"
}

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    exec taskset --cpu-list "$4" "$1" --port "$2" --shards "$shards"
}
