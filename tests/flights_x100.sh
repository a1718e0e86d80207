#!/usr/bin/env bash
# Flights x 100 (33.7 million rows): aggregate, join and sort in 256 MiB give the same result as without a limit.
# usage: tests/flights_x100.sh [memory] [threads] [times]
# Needs about 8 GB of free memory for the runs without a limit, 10 GB of disk, and some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
memory=${1:-256MiB} threads=${2:-2} times=${3:-100}
cargo build --release --locked -q -p sabot-tests --bin flights_x100
run=${CARGO_TARGET_DIR:-target}/release/flights_x100
failed=0
for what in aggregate sort join; do
    limited=$("$run" $what --threads "$threads" --times "$times" --memory "$memory")
    free=$("$run" $what --threads "$threads" --times "$times")
    printf 'with %s: %s\nwithout:     %s\n' "$memory" "$limited" "$free"
    # a hash join promises no order between its instances
    field=2; [ $what = join ] && field=3
    same() { head -n 1 <<< "$1" | cut -d';' -f1 | cut -d, -f1,$field; }
    if [ "$(same "$limited")" = "$(same "$free")" ]; then echo "$what: same result"; else echo "$what: OTHER RESULT"; failed=1; fi
done
exit $failed
