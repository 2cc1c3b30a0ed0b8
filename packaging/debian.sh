#!/bin/sh
# What a bare Debian 12 needs before packaging/cross.sh can install the rest: for the workflows, which start from its image. As root.
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    ca-certificates curl gcc git libc6-dev make openssl osslsigncode pkg-config python3 python3-venv xz-utils >/dev/null
# The clone belongs to whoever made it outside of the container, and git would refuse it.
git config --global --add safe.directory "$(cd "$(dirname "$0")/.." && pwd)"
