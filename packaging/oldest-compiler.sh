#!/bin/sh
# Does it compile with the oldest compiler that Cargo.toml promises (rust-version)? Needs rustup, which fetches that compiler.
# Where that one cannot be had, RUSTUP_TOOLCHAIN names another one that is here, and must not be older.
set -eu
cd "$(dirname "$0")/.."
wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
: "${RUSTUP_TOOLCHAIN:=$wanted}"
export RUSTUP_TOOLCHAIN
found=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "packaging/oldest-compiler.sh: rustc $found is older than $wanted" >&2
    exit 1
fi
echo "==> check with rustc $found (Cargo.toml promises $wanted)"
cargo check --locked --workspace --all-targets
