# How scripts/compare.sh starts FlashMQ: anonymous on loopback, one thread per core it is given.
broker_program() { command -v flashmq; }

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    cat >"$3/flashmq.conf" <<CONF
allow_anonymous true
storage_dir $3
listen {
    protocol mqtt
    port $2
}
CONF
    exec taskset --cpu-list "$4" "$1" --config-file "$3/flashmq.conf"
}
