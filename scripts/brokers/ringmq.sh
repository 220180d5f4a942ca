# How scripts/compare.sh starts ringmq: its defaults, one shard per core it is given. RINGMQ_BIN names
# another program than the release build.
shards=auto

broker_program() {
    local program=${RINGMQ_BIN:-${CARGO_TARGET_DIR:-target}/release/ringmq}
    [[ -x $program ]] && echo "$program"
}

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    local where=(--port "$2")
    if [[ -n $transport ]]; then
        cat >"$3/ringmq.toml" <<CONF
[[listener]]
address = "127.0.0.1:$2"
transport = "$transport"
CONF
        if [[ $transport != ws ]]; then
            printf 'tls-certificate = "%s"\ntls-key = "%s"\n' "$pair.pem" "$pair.key" >>"$3/ringmq.toml"
        fi
        where=(--config "$3/ringmq.toml")
    fi
    exec taskset --cpu-list "$4" "$1" "${where[@]}" --shards "$shards"
}
