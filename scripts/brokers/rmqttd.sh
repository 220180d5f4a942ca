# How scripts/compare.sh starts RMQTT (cargo install rmqttd; RMQTTD_BIN names another program):
# anonymous on loopback, limits that let the scenarios through.
broker_program() {
    local program=${RMQTTD_BIN:-$(command -v rmqttd)}
    [[ -x $program ]] && echo "$program"
}

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    cat >"$3/rmqtt.toml" <<CONF
node.id = 1
[task]
exec_workers = 1000
exec_queue_max = 300000
[rpc]
server_addr = "127.0.0.1:0"
[log]
to = "off"
level = "error"
dir = "$3"
file = "rmqtt.log"
[plugins]
dir = "$3"
default_startups = []
[listener.tcp.external]
addr = "127.0.0.1:$2"
allow_anonymous = true
max_connections = 100000
max_handshaking_limit = 10000
max_packet_size = "2m"
max_inflight = 512
max_mqueue_len = 1000
mqueue_rate_limit = "1000000/1s"
CONF
    exec taskset --cpu-list "$4" "$1" --config "$3/rmqtt.toml"
}
