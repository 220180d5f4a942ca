# ringmq with a data directory: what is acknowledged is on the disk. DATA names the folder for it, which is to be
# on the disk that is measured; without it, the folder for temporary files.
# shellcheck source=/dev/null
source "$here/brokers/ringmq.sh"

broker_runs() { [[ $1 == durable-* ]]; } # SCENARIO

broker_start() { # PROGRAM PORT DIRECTORY CORES: runs in the foreground
    local data=${DATA:-$3}/ringmq-$2
    exec taskset --cpu-list "$4" "$1" --port "$2" --shards "$shards" --data-dir "$data" \
        --queue-messages-max 1000000 --queue-bytes-max 1GiB
}
