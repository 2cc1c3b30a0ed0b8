#!/bin/sh
# Installs what the figures are compared with into build/peers, from the public registries. `cp`, `tar`, `zstd` and `gzip` are
# the system's. Versions are pinned, so that a ratio moves because of us and not because of them.
set -eu
cd "$(dirname "$0")/.."
B3SUM=1.8.7
DOTSLASH=0.5.8
mkdir -p build/peers

if [ ! -x build/peers/bin/b3sum ]; then
    cargo install b3sum --version "$B3SUM" --locked --root build/peers
fi
if [ ! -x build/peers/dotslash/bin/dotslash ]; then
    python3 -m pip install --quiet --no-deps --target build/peers/dotslash "dotslash==$DOTSLASH"
fi
build/peers/bin/b3sum --version
build/peers/dotslash/bin/dotslash --version
