#!/bin/sh
# Installs the packages of Debian that are absent, if this is Debian and we may; else says which they are.
#
#   packaging/need.sh WHAT PACKAGE…      WHAT needs them, as the message begins
set -eu

what=$1
shift
missing=''
for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "$what needs these packages of Debian:$missing" >&2
    exit 1
fi
echo "==> installing:$missing"
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
