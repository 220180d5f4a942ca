# How scripts/compare.sh starts Mosquitto: anonymous on loopback, queues as deep as ringmq's, no
# persistence, Nagle's delay off (its default costs it 40 ms at QoS 1 and 2). With TLS it reads its keys
# as the user who made them.
broker_program() { command -v mosquitto || ls /usr/sbin/mosquitto 2>/dev/null; }

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    {
        echo "listener $2 127.0.0.1"
        if [[ $transport =~ ^(tls|wss)$ ]]; then printf '%s\n' "certfile $pair.pem" "keyfile $pair.key"; fi
        # With WebSocket alone it finds that it has no listener: another, that nobody uses.
        if [[ $transport =~ ^wss?$ ]]; then printf '%s\n' 'protocol websockets' "listener 0 $3/socket"; fi
        cat <<CONF
allow_anonymous true
persistence false
max_queued_messages 1000
set_tcp_nodelay true
user $(id --user --name)
CONF
    } >"$3/mosquitto.conf"
    exec taskset --cpu-list "$4" "$1" -c "$3/mosquitto.conf"
}
