#!/bin/sh
# Builds the executable that ships on Linux: static, with musl. It starts three times as fast as one that has to be linked against
# glibc at every start (docs/decisions/0007-static-on-linux.md), and it runs on any distribution.
#
#   packaging/static.sh OUT
#
# Where rustup has the musl target, that is used. Else Debian's compiler builds the standard library from its own source package
# (rustc-web, cargo-web, rust-web-src), and zig, from PyPI and pinned by hash, links: it brings what the target needs besides.
set -eu

out=${1:?usage: packaging/static.sh OUT}
cd "$(dirname "$0")/.."
target="$(uname -m)-unknown-linux-musl"
upper=$(echo "$target" | tr 'a-z-' 'A-Z_')
lower=$(echo "$target" | tr - _)
work=build/static
mkdir -p "$work"

packages='musl-tools'
rustup_has_target=no
if command -v rustup >/dev/null 2>&1 && rustup target list --installed 2>/dev/null | grep -qx "$target"; then
    rustup_has_target=yes
else
    packages="$packages rustc-web cargo-web rust-web-src"
fi
# shellcheck disable=SC2086 # several
packaging/need.sh 'the static build' $packages

export CARGO_TARGET_DIR="$work/target"
export "CC_$lower=musl-gcc"
# Where it was built must not show in what was built: two people's builds of one commit are the same bytes (packaging/reproduce.sh).
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
remap="--remap-path-prefix=$PWD=/stigmer --remap-path-prefix=$registry=/registry"
export "CFLAGS_$lower=-ffile-prefix-map=$PWD=/stigmer -ffile-prefix-map=$registry=/registry"
if [ "$rustup_has_target" = yes ]; then
    export "CARGO_TARGET_${upper}_RUSTFLAGS=$remap"
    cargo build --release --locked --target "$target"
else
    if [ ! -x "$work/zig/bin/python" ]; then
        python3 -m venv "$work/zig"
        "$work/zig/bin/python" -m pip install --quiet --require-hashes -r packaging/zig.lock
    fi
    printf '#!/bin/sh\nexec "%s/%s/zig/bin/python" -m ziglang cc -target %s-linux-musl "$@"\n' \
        "$PWD" "$work" "$(uname -m)" > "$work/zig-cc"
    chmod +x "$work/zig-cc"
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export "CARGO_TARGET_${upper}_LINKER=$PWD/$work/zig-cc"
    export "CARGO_TARGET_${upper}_RUSTFLAGS=-C link-self-contained=no -C target-feature=+crt-static $remap"
    /usr/bin/cargo build --release --locked -Z build-std=std,panic_unwind --target "$target"
fi
# Only if it changed, so that what depends on it is not made again.
cmp -s "$work/target/$target/release/stigmer" "$out" || install -D -m 755 "$work/target/$target/release/stigmer" "$out"
