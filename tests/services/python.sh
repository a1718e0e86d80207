#!/usr/bin/env bash
# Prints the directory of a Python environment with packages from PyPI, which is made in target/services if it is missing:
#
#   "$(tests/services/python.sh pyarrow==26.0.1)/bin/python" -c 'import pyarrow'
#
# Exit code 3: it cannot be had here; the last line says why.
set -euo pipefail
cannot() { echo "$1"; exit 3; }

target=${CARGO_TARGET_DIR:-$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)/target}
home=$target/services/${1//[^A-Za-z0-9.=_-]/_}
if [ ! -e "$home/ready" ]; then
    command -v python3 > /dev/null || cannot "there is no python3 for $1"
    mkdir -p "$(dirname "$home")"
    { python3 -m venv --clear "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check "$@"; } > "$home.log" 2>&1 \
        || cannot "pip cannot install $* (see $home.log)"
    touch "$home/ready"
fi
echo "$home"
