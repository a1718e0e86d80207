#!/usr/bin/env bash
# Runs a command beside a server that speaks S3's language (moto, from PyPI), on 127.0.0.1, with the environment of its bucket:
#
#   s3.sh cargo test -p sabot --features aws --lib -- runtime::tests::objects
#
# The server is installed into target/services if it is missing, and ended with the command. Exit code 3: it cannot be had here; the last
# line says why.
set -euo pipefail
cannot() { echo "$1"; exit 3; }

home=$("$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/python.sh" 'moto[s3,server]==5.2.5') || cannot "$home"
server=$home/bin/moto_server
port=$("$home/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$server" -H 127.0.0.1 -p "$port" > "$home.server.log" 2>&1 &
pid=$!
trap 'kill "$pid" 2> /dev/null || true' EXIT
export AWS_ENDPOINT="http://127.0.0.1:$port" AWS_ALLOW_HTTP=true AWS_ACCESS_KEY_ID=tests AWS_SECRET_ACCESS_KEY=tests AWS_REGION=us-east-1
export SABOT_TEST_STORE="s3://checkpoints/$$"
"$home/bin/python" - "$AWS_ENDPOINT/checkpoints" << 'PYTHON' || cannot "moto does not start (see $home.server.log)"
import sys, time, urllib.request
for attempt in range(150):
    try:
        urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="PUT"))
        break
    except OSError:
        time.sleep(0.2)
else:
    sys.exit(1)
PYTHON
"$@"
