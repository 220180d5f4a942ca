# How scripts/compare.sh starts ringmq with 4 shards. With more shards than cores the kernel shares the
# cores out among them: then CPU time per message is a figure, throughput and latency are not.
# shellcheck source=/dev/null
source "${BASH_SOURCE[0]%/*}/ringmq.sh"
shards=4
