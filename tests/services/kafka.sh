#!/usr/bin/env bash
# An Apache Kafka broker for tests (one node, KRaft mode), on 127.0.0.1, in a directory of its own.
#
#   kafka.sh start DIR PORT CONTROLLER_PORT [WATCH]   fetches the jars from Maven Central if they are missing, formats DIR if it is new, starts
#                                                     the broker and waits until it answers; ends it when the process WATCH is gone
#   kafka.sh stop DIR [SIGNAL]                        ends it (KILL if no other signal is named); `start` goes on with its data
#
# The jars stay in $SABOT_KAFKA_LIBS, or target/kafka. Exit code 3: it cannot be had here; the last line says why.
set -euo pipefail
cannot() { echo "$1"; exit 3; }

action=$1 dir=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
libs=${SABOT_KAFKA_LIBS:-$here/../../target/kafka}

case $action in
start)
    port=$3 controller=$4 watch=${5:-}
    command -v java > /dev/null || cannot 'there is no `java`, which Kafka needs (17 or later)'
    if [ ! -e "$libs/complete" ]; then
        command -v mvn > /dev/null || cannot 'there is no `mvn` to fetch Kafka with'
        mkdir -p "$libs"
        mvn -q -B -f "$here/kafka-pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$(cd "$libs" && pwd)" \
            > "$libs/fetch.log" 2>&1 || cannot "Kafka cannot be fetched from Maven Central (see $libs/fetch.log)"
        touch "$libs/complete"
    fi
    libs=$(cd "$libs" && pwd)
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    java=(java -Xms128m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC "-Dlog4j2.configurationFile=$here/kafka-log.xml" -cp "$libs/*")
    cat > "$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
END
    if [ ! -e "$dir/data/meta.properties" ]; then
        "${java[@]}" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$dir/server.properties" > "$dir/format.log" 2>&1 \
            || cannot "the directory of Kafka cannot be formatted: $(tail -n 1 "$dir/format.log")"
    fi
    nohup "${java[@]}" kafka.Kafka "$dir/server.properties" >> "$dir/server.log" 2>&1 < /dev/null &
    echo $! > "$dir/pid"
    for _ in $(seq 600); do
        kill -0 "$(cat "$dir/pid")" 2> /dev/null || cannot "Kafka does not start: $(tail -n 1 "$dir/server.log")"
        if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then up=1; break; fi
        sleep 0.1
    done
    [ -n "${up:-}" ] || cannot 'Kafka does not answer within a minute'
    if [ -n "$watch" ]; then
        (
            while kill -0 "$watch" 2> /dev/null; do sleep 1; done
            "$here/kafka.sh" stop "$dir" && rm -rf "$dir"
        ) > /dev/null 2>&1 < /dev/null &
    fi
    ;;
stop)
    pid=$(cat "$dir/pid")
    kill "-${3:-KILL}" "$pid" 2> /dev/null || true
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
    ;;
esac
