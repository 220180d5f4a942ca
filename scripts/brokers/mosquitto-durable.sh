# Mosquitto with its persistence, written every second: what was acknowledged within the last one is lost by a crash.
# shellcheck source=/dev/null
source "$here/brokers/mosquitto.sh"

broker_runs() { [[ $1 == durable-* ]]; } # SCENARIO

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    local data=${DATA:-$3}/mosquitto-$2
    mkdir --parents "$data"
    cat >"$3/mosquitto.conf" <<CONF
listener $2 127.0.0.1
allow_anonymous true
persistence true
persistence_location $data/
autosave_interval 1
max_queued_messages 1000000
set_tcp_nodelay true
user $(id --user --name)
CONF
    exec taskset --cpu-list "$4" "$1" -c "$3/mosquitto.conf"
}
