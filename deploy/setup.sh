#!/usr/bin/env bash
# Installs what is missing: the Debian packages that building, testing and the demo need, and a virtual environment from
# the locked list with hashes. Does nothing that is done already. usage: deploy/setup.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

packages=(python3-venv softhsm2 openssl gcc libc6-dev libp11-kit-dev)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
have() { command -v "$1" >/dev/null 2>&1; }
if [ ${#missing[@]} -gt 0 ]; then
    # A machine may have the programs without Debian's packages of them.
    if have softhsm2-util && have openssl && have gcc && [ -f /usr/include/p11-kit-1/p11-kit/pkcs11.h ] \
        && python3 -c 'import ensurepip' 2>/dev/null; then
        :
    elif have apt-get; then
        root=()
        [ "$(id -u)" = 0 ] || root=(sudo)
        echo "installing: ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        "${root[@]}" apt-get update -qq
        "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "sealmint needs: SoftHSM 2, the OpenSSL command line, gcc, the p11-kit headers, Python 3.11 with venv; install them and call again" >&2
        exit 1
    fi
fi

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "sealmint needs Python 3.11 or newer; python3 is $(python3 --version)" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
echo "installing the locked Python packages"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
