#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# setup -- see that the system packages are there, and install them if we may
#
# usage: setup.sh build|test|fuzz
#
# What is asked is whether a thing works, not which package it came from, so
# any system will do. On Debian, as root or with sudo, what is missing is
# installed; elsewhere it is named. Only `build` needs are fatal: tests that
# miss their tool are skipped, and say so.
set -u

python=${PYTHON:-python3}
missing=()
optional=()

have() { command -v "$1" >/dev/null 2>&1; }
need() { "${@:2}" >/dev/null 2>&1 || missing+=("$1"); }
want() { "${@:2}" >/dev/null 2>&1 || optional+=("$1"); }

python_header() {
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
}
clang_fuzzer() {
    local out
    out=$(mktemp) || return 1
    echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0 * *d * n; }' |
        clang -x c -fsanitize=fuzzer,address,undefined -o "$out" - 2>/dev/null
    local rc=$?
    rm -f "$out"
    return $rc
}

check() {
    missing=() optional=()
    need gcc have cc
    need pkg-config have pkg-config
    need ninja-build have ninja
    need libpcap-dev pkg-config --exists libpcap
    need libvectorscan-dev pkg-config --exists libhs
    need libpcre2-dev pkg-config --exists libpcre2-8
    need zlib1g-dev pkg-config --exists zlib
    need python3 have "$python"
    if have "$python"; then
        need python3-venv "$python" -c 'import venv, ensurepip'
        need python3-dev python_header
    fi
    case $1 in
    test)
        want tshark have tshark
        want tcpdump have tcpdump
        want iproute2 have ip
        ;;
    fuzz)
        need clang have clang
        have clang && need "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" clang_fuzzer
        ;;
    esac
}

install_packages() {
    local as_root=()
    have apt-get || return 1
    if [ "$(id -u)" != 0 ]; then
        have sudo || return 1
        as_root=(sudo)
    fi
    # Hyperscan's interface has two makers; older releases carry the other one.
    local packages=("$@")
    echo "setup: installing ${packages[*]}" >&2
    "${as_root[@]}" apt-get update -qq >&2 || return 1
    if ! apt-cache show libvectorscan-dev >/dev/null 2>&1; then
        packages=("${packages[@]/libvectorscan-dev/libhyperscan-dev}")
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

for_what=${1:-build}
check "$for_what"
if [ ${#missing[@]} -gt 0 ] || [ ${#optional[@]} -gt 0 ]; then
    install_packages "${missing[@]}" "${optional[@]}"
    check "$for_what"
    # clang's run-time library can be named only once clang is there
    if [ "$for_what" = fuzz ] && [ ${#missing[@]} -gt 0 ]; then
        install_packages "${missing[@]}"
        check "$for_what"
    fi
fi
if [ ${#optional[@]} -gt 0 ]; then
    echo "setup: not here, tests that use them are skipped: ${optional[*]}" >&2
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: missing, by the name of the Debian package: ${missing[*]}" >&2
    echo "setup: they could not be installed from here (needs apt-get, and root or sudo)" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: mosbox needs Python 3.11 or later; $python is $("$python" -V 2>&1)." >&2
    echo "setup: name another one: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi
