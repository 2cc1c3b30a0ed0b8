#!/bin/sh
# Builds three real releases of this very program, signs them with keys made for it, and publishes them below OUT. The tests of updates
# run them. Does nothing if the sources have not changed since.
#
#   tests/releases.sh [OUT]         OUT is build/test-releases if left out
#
# A debug build that carries a small component is enough for the tests. With STIGMER_REAL set it is a release build that carries
# dist/agent-runner, for figures.
#
#   keys/old.key, keys/old.key.pub  the key that signs the first two releases; no password
#   keys/new.key, keys/new.key.pub  the key that takes its place
#   0.9.1                           a carrier that trusts the old key
#   0.9.2                           one that trusts both; of its component's files one has another line
#   0.9.3                           one that trusts the new key alone; its component is that of 0.9.2
#   one/                            what a host had on the first day: 0.9.1, signed with the old key
#   site/                           on the second: 0.9.1 and 0.9.2, signed with the old key
#   rotated/                        on the third: all of them, the listing and 0.9.3 signed with the new key
# Each of the last three is what a static host serves, and has in github/ what is uploaded there.
set -eu

cd "$(dirname "$0")/.."
out=${1:-build/test-releases}
work=$out/work
mkdir -p "$work"
# Test programs that run at the same time all come here; one builds. The lock goes with the process.
exec 9>"$work/lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi

real=${STIGMER_REAL:+release}
profile=${real:-debug}
state=$( { find src crates build.rs Cargo.toml Cargo.lock tests/releases.sh -type f -print0 | sort -z | xargs -0 cat; echo "$profile"; } | cksum)
if [ -e "$out/state" ] && [ "$(cat "$out/state")" = "$state" ]; then
    exit 0
fi
rm -rf "$out/state" "$out/one" "$out/site" "$out/rotated" "$work/tree" "$work/tree2"

# The component: large enough that it has several frames, small enough to be packed in a second.
tree() {
    if [ "$profile" = release ]; then
        cp -R dist/agent-runner "$1"
    else
        mkdir -p "$1/bin" "$1/lib"
        printf '{"name":"agent-runner","version":"1.0","entrypoint":"bin/run"}' >"$1/component.json"
        printf '#!/bin/sh\necho "agent-runner: $*"\n' >"$1/bin/run"
        chmod +x "$1/bin/run"
        # Text that compresses badly, the same on every machine.
        awk 'BEGIN { x = 7; for (i = 0; i < 400000; i++) { x = (x * 16807) % 2147483647; printf "%d", x; if (i % 9 == 8) printf "\n" } }' \
            >"$1/lib/numbers"
    fi
}
tree "$work/tree"
tree "$work/tree2"
if [ "$profile" = release ]; then
    echo '# one more line' >>"$work/tree2/NOTES"
else
    echo 'one more line' >>"$work/tree2/lib/numbers"
fi

# A target directory of its own, because others use the executable in the usual one meanwhile. It begins with the libraries that
# are built there already: they are the same, and to build them again takes minutes.
seed=${CARGO_TARGET_DIR:-target}/debug
export CARGO_TARGET_DIR="$PWD/build/releases-target"
if [ ! -d "$CARGO_TARGET_DIR" ] && [ "$profile" = debug ] && [ -d "$seed/.fingerprint" ]; then
    mkdir -p "$CARGO_TARGET_DIR/debug/deps"
    cp -Rp "$seed/.fingerprint" "$seed/build" "$CARGO_TARGET_DIR/debug/"
    rm -rf "$CARGO_TARGET_DIR/debug/.fingerprint"/stigmer-* "$CARGO_TARGET_DIR/debug/build"/stigmer-*
    # Cargo never writes into these, it puts others in their place.
    find "$seed/deps" -type f ! -name '*stigmer*' \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' -o -name '*.dylib' \) \
        -exec sh -c 'for f; do ln "$f" "$0/" 2>/dev/null || cp -p "$f" "$0/"; done' "$CARGO_TARGET_DIR/debug/deps" {} +
fi
export STIGMER_COMMIT=0123456789ab
bare=$CARGO_TARGET_DIR/$profile/stigmer

# Runs a command, and shows what it said only if it failed.
said() {
    "$@" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
}

# build VERSION KEYS TREE: the carrier of that version, which trusts the keys in that file.
build() {
    STIGMER_VERSION=$1 STIGMER_RELEASE_KEYS=$PWD/$2 cargo build --locked --quiet --bin stigmer ${real:+--release}
    # Half of a debug build is what a debugger wants to know.
    strip -S -o "$work/bare" "$bare" 2>/dev/null || cp "$bare" "$work/bare"
    said "$bare" bundle pack --no-self-check ${level:+--level "$level"} --base "$work/bare" --component "agent-runner=$3" --out "$out/$1"
}
[ "$profile" = release ] && level='' || level=1

# The very first build has nobody to trust yet: it makes the keys.
if [ ! -e "$out/keys/new.key.pub" ]; then
    : >"$work/nobody"
    STIGMER_VERSION=0.9.0 STIGMER_RELEASE_KEYS=$PWD/$work/nobody cargo build --locked --quiet --bin stigmer ${real:+--release}
    rm -rf "$out/keys"
    mkdir "$out/keys"
    "$bare" bundle keygen --no-password --out "$out/keys/old.key" >/dev/null 2>&1
    "$bare" bundle keygen --no-password --out "$out/keys/new.key" >/dev/null 2>&1
fi
cat "$out/keys/old.key.pub" "$out/keys/new.key.pub" | grep -v '^untrusted' >"$work/both"
grep -v '^untrusted' "$out/keys/old.key.pub" >"$work/old"
grep -v '^untrusted' "$out/keys/new.key.pub" >"$work/new"

build 0.9.1 "$work/old" "$work/tree"
build 0.9.2 "$work/both" "$work/tree2"
build 0.9.3 "$work/new" "$work/tree2"

# publish DIR VERSION KEY DAY
publish() {
    said "$bare" bundle publish --carrier "$out/$2" --version "$2" --key "$out/keys/$3.key" --trusted "$work/both" --out "$out/$1" \
        --github stigmer/stigmer --issued "2026-01-0$4T00:00:00Z" ${level:+--level 3}
}
# What is published is never written into, so a second name for it will do.
copy() {
    cp -Rl "$1" "$2" 2>/dev/null || { rm -rf "$2"; cp -R "$1" "$2"; }
}
publish one 0.9.1 old 1
copy "$out/one" "$out/site"
publish site 0.9.2 old 2
copy "$out/site" "$out/rotated"
publish rotated 0.9.3 new 3
echo "$state" >"$out/state"
