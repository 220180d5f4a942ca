# How scripts/compare.sh starts rumqttd (cargo install rumqttd; with --locked, 0.20 does not build with Rust
# 1.95; RUMQTTD_BIN names another program): one listener, for MQTT 5 in scenarios of it, else for 3.1.1;
# limits that let the scenarios through.
broker_program() {
    local program=${RUMQTTD_BIN:-$(command -v rumqttd)}
    [[ -x $program ]] && echo "$program"
}

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    local version=v4
    if [[ ${name:-} == v5-* ]]; then version=v5; fi
    cat >"$3/rumqttd.toml" <<CONF
id = 0
[router]
id = 0
max_connections = 30010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[$version.1]
name = "one"
listen = "127.0.0.1:$2"
next_connection_delay_ms = 0
    [$version.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 2097152
    max_inflight_count = 500
    dynamic_filters = true
CONF
    exec taskset --cpu-list "$4" "$1" --config "$3/rumqttd.toml" --quiet
}
