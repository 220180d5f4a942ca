#!/usr/bin/env bash
# A cluster to try: three NATS servers and three nodes on loopback.
#
#   scripts/cluster.sh            nodes a, b and c on ports 1883, 1884 and 1885, until Ctrl-C
#   scripts/cluster.sh start      the same in the background; returns when all are nodes
#   scripts/cluster.sh stop       ends what start has begun
#   PORT=2883 scripts/cluster.sh  on other ports; NATS_PORT=4222, CLUSTER_FOLDER=target/cluster
#
# The folder has each node's log and process number: a.log, a.pid. nats-server is taken from the path, or installed by name into target/nats.
set -euo pipefail
cd "$(dirname "$0")/.."

port=${PORT:-1883}
nats_port=${NATS_PORT:-4222}
ringmq=${RINGMQ:-target/release/ringmq}
folder=${CLUSTER_FOLDER:-target/cluster}

case ${1:-} in
start)
    mkdir --parents "$folder"
    rm --force "$folder/ready"
    nohup "$0" >"$folder/log" 2>&1 </dev/null &
    began=$!
    until [[ -e $folder/ready ]]; do
        kill -0 "$began" 2>/dev/null || { cat "$folder/log"; exit 1; }
        sleep 0.1
    done
    printf '%s\n' "$began" >"$folder/pid"
    cat "$folder/log"
    exit 0
    ;;
stop)
    began=$(cat "$folder/pid")
    kill "$began"
    while kill -0 "$began" 2>/dev/null; do sleep 0.1; done
    rm "$folder/pid"
    exit 0
    ;;
'') ;;
*)
    printf 'scripts/cluster.sh [start | stop]\n' >&2
    exit 2
    ;;
esac

mkdir --parents "$folder"
rm --recursive --force "$folder"/nats-? # keys of nodes that have ended
pids=()
end() {
    kill "${pids[@]}" 2>/dev/null || true
    wait
    rm --recursive --force "$folder"/nats-? "$folder"/*.pid "$folder/ready"
}
trap end EXIT
trap 'exit 0' INT TERM

nats=$(command -v nats-server || true)
if [[ -z $nats ]]; then
    nats=target/nats/bin/nats-server
    if [[ ! -x $nats ]]; then
        python3 -m venv target/nats
        target/nats/bin/pip install --quiet --disable-pip-version-check \
            --requirement tests/clients/python/requirements-nats.txt
    fi
fi
[[ -x $ringmq ]] || cargo build --release

routes=
for n in 0 1 2; do routes+="${routes:+, }\"nats://127.0.0.1:$((nats_port + 1000 + n))\""; done
for n in 0 1 2; do
    cat >"$folder/nats-$n.conf" <<END
server_name: n$n
listen: "127.0.0.1:$((nats_port + n))"
jetstream { store_dir: "$folder/nats-$n", sync_interval: always }
cluster { name: try, listen: "127.0.0.1:$((nats_port + 1000 + n))", routes: [ $routes ] }
END
    "$nats" --config "$folder/nats-$n.conf" --log "$folder/nats-$n.log" &
    pids+=($!)
done

names=(a b c)
for n in 0 1 2; do
    "$ringmq" --cluster "nats://127.0.0.1:$nats_port" --cluster "nats://127.0.0.1:$((nats_port + 1))" \
        --node "${names[n]}" --listen "127.0.0.1:$((port + n))" --shards 1 --pin-shards off \
        2>"$folder/${names[n]}.log" &
    pid=$!
    pids+=("$pid")
    until grep --quiet 'is one of' "$folder/${names[n]}.log" 2>/dev/null; do
        kill -0 "$pid" || { cat "$folder/${names[n]}.log"; exit 1; }
        sleep 0.1
    done
    printf 'node %s: port %s, process %s\n' "${names[n]}" "$((port + n))" "$pid"
    printf '%s\n' "$pid" >"$folder/${names[n]}.pid"
done
printf 'logs are in %s\n' "$folder"
touch "$folder/ready"
while sleep 1; do :; done
