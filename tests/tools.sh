#!/bin/sh
# The tests run what packagers run, so they need the real tools. Installs the missing ones if this is Debian and
# we may; else says what to do.
set -eu

missing=''
need() {
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need strip binutils
need objcopy binutils
need eu-strip elfutils
need patchelf patchelf
need strace strace
need openssl openssl
need osslsigncode osslsigncode
need minisign minisign
need ruby ruby
need rubocop rubocop
need curl curl
need wget wget
need zstd zstd
need zsh zsh

[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    exit 0
fi
echo "the tests need these packages:$missing" >&2
echo "  Debian and Ubuntu: sudo apt-get install$missing" >&2
exit 1
