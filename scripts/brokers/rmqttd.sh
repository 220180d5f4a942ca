# How scripts/compare.sh starts RMQTT (cargo install --locked rmqttd, which needs protoc; RMQTTD_BIN names
# another program): anonymous on loopback, limits that let the scenarios through. Without the plug-ins that
# start by default: rules and an HTTP interface, which the other brokers run without, too. It refuses clients
# on a machine that is busy (node.busy), which is what a load makes it.
broker_program() {
    local program=${RMQTTD_BIN:-$(command -v rmqttd)}
    [[ -x $program ]] && echo "$program"
}

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    cat >"$3/rmqtt.toml" <<CONF
node.id = 1
node.busy.check_enable = false
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
disabled_default_startups = ["rmqtt-acl", "rmqtt-counter", "rmqtt-http-api"]
[listener.tcp.external]
addr = "127.0.0.1:$2"
allow_anonymous = true
nodelay = true
max_connections = 100000
max_handshaking_limit = 10000
max_packet_size = "2m"
max_inflight = 512
max_mqueue_len = 1000
CONF
    exec taskset --cpu-list "$4" "$1" --config "$3/rmqtt.toml"
}
