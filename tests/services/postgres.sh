#!/usr/bin/env bash
# A Postgres server for tests, on 127.0.0.1, in a directory of its own.
#
#   postgres.sh start DIR PORT [WATCH]   installs Postgres if it is missing (Debian, as root), makes a cluster in DIR if there is none, starts it
#                                        and waits until it answers; ends it when the process WATCH is gone
#   postgres.sh stop DIR                 ends it at once, as a crash would; `start` recovers it
#   postgres.sh kill DIR                 the same by `kill -9` of all its processes
#
# User `sabot`, password `pass-of-tests`, database `postgres`. Exit code 3: it cannot be had here; the last line says why.
set -euo pipefail
cannot() { echo "$1"; exit 3; }

action=$1 dir=$2
binaries() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }
# The server refuses to run as root.
as_owner() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

case $action in
start)
    port=$3 watch=${4:-}
    if [ -z "$(binaries)" ]; then
        command -v apt-get > /dev/null || cannot 'Postgres is not installed, and there is no apt-get to install it'
        [ "$(id -u)" = 0 ] || cannot 'Postgres is not installed; as root: apt-get install postgresql'
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update && apt-get install -y --no-install-recommends postgresql; } > /tmp/sabot-postgres-install.log 2>&1 \
            || cannot 'apt-get cannot install postgresql (see /tmp/sabot-postgres-install.log)'
    fi
    bin=$(binaries)
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if [ "$(id -u)" = 0 ] && ! runuser -u postgres -- test -x "$dir"; then
        cannot "user postgres, who runs the server, may not enter $dir: choose a place that everyone may enter (chmod o+x on the directories above)"
    fi
    if [ ! -e "$dir/data/PG_VERSION" ]; then
        echo pass-of-tests > "$dir/password"
        [ "$(id -u)" != 0 ] || chown -R postgres "$dir"
        # from a directory that its user may enter
        cd /
        as_owner "$bin/initdb" -D "$dir/data" -U sabot -A scram-sha-256 --pwfile="$dir/password" -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1 \
            || cannot "initdb failed: $(tail -n 1 "$dir/initdb.log")"
    fi
    cd /
    as_owner "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 start \
        -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories='' -c fsync=off -c max_connections=50" > "$dir/start.log" 2>&1 \
        || cannot "Postgres does not start: $(tail -n 1 "$dir/server.log" 2>/dev/null)"
    if [ -n "$watch" ]; then
        script=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/postgres.sh
        (
            while kill -0 "$watch" 2> /dev/null; do sleep 1; done
            "$script" stop "$dir" && rm -rf "$dir"
        ) > /dev/null 2>&1 < /dev/null &
    fi
    ;;
kill)
    pid=$(head -n 1 "$dir/data/postmaster.pid")
    children() { grep -ls "^PPid:[[:space:]]*$pid\$" /proc/[0-9]*/status | cut -d / -f 3; }
    first=$(children || true)
    # shellcheck disable=SC2086
    kill -9 "$pid" $first
    # the memory that they share is free when they are gone
    for child in $pid $first; do
        while [ -e "/proc/$child" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$child/status"; do sleep 0.02; done
    done
    # one that nobody has waited for yet would pass for one that runs
    rm -f "$dir/data/postmaster.pid"
    ;;
stop)
    dir=$(cd "$dir" && pwd)
    cd /
    as_owner "$(binaries)/pg_ctl" -D "$dir/data" -m immediate -w stop > /dev/null 2>&1 || true
    ;;
esac
