#!/usr/bin/env bash
# Installs what is missing: the Debian packages that building, testing and the demo need, and a virtual environment from
# the locked list with hashes. Does nothing that is done already. usage: deploy/setup.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

missing=()
# need PACKAGE COMMAND...: the command shows that what we want of the package is there; a machine may have it without Debian's
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }
has_java_compiler() { java --list-modules | grep '^jdk.compiler@'; }

need python3-venv python3 -c 'import ensurepip'
need softhsm2 has softhsm2-util
need openssl has openssl
need gcc has gcc
need libc6-dev test -f /usr/include/stdio.h
need libp11-kit-dev test -f /usr/include/p11-kit-1/p11-kit/pkcs11.h
# the judges of the tests (tests/judges), and the load of the benchmarks
need gnutls-bin has ocsptool
need libnss3-tools has vfychain
need openjdk-17-jdk-headless has_java_compiler
need wrk has wrk
# the browser of the tests of the pages (tests/repository), and a font with Chinese characters
need chromium has chromium
need fonts-noto-cjk test -e /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc
# the edge, and what the units and the deployment guide are tried with (tests/edge, tests/deploy)
need nginx-light test -x /usr/sbin/nginx # which is not on everybody's PATH
need libnginx-mod-stream test -f /usr/lib/nginx/modules/ngx_stream_module.so
need curl has curl
need systemd has systemd-analyze
# the record of several hosts, their networks, and system calls made to fail (tests/store, tests/hosts, tests/chaos)
need postgresql test -d /usr/lib/postgresql
need iproute2 has ip
need strace has strace

if [ ${#missing[@]} -gt 0 ]; then
    if ! has apt-get >/dev/null; then
        echo "sealmint needs what Debian has in: ${missing[*]}; install it and call again" >&2
        exit 1
    fi
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" apt-get update -qq
    "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "sealmint needs Python 3.11 or newer; python3 is $(python3 --version)" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
echo "installing the locked Python packages"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
