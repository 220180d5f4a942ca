# How scripts/compare.sh starts Mosquitto: anonymous on loopback, queues as deep as ringmq's, no
# persistence, Nagle's delay off (its default costs it 40 ms at QoS 1 and 2).
broker_program() { command -v mosquitto || ls /usr/sbin/mosquitto 2>/dev/null; }

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    cat >"$3/mosquitto.conf" <<CONF
listener $2 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 1000
set_tcp_nodelay true
CONF
    exec taskset --cpu-list "$4" "$1" -c "$3/mosquitto.conf"
}
