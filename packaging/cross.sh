#!/bin/sh
# Builds, or only type-checks, the executable for every platform it ships for, from one Linux machine. No other machine and no
# target from rustup is needed (docs/decisions/0015-cross-builds.md).
#
#   packaging/cross.sh check [PLATFORM…]     does it compile there? (make cross-check)
#   packaging/cross.sh build [PLATFORM…]     dist/cross/PLATFORM/stigmer[.exe], bare
#   packaging/cross.sh pack  [PLATFORM…]     dist/cross/PLATFORM/carrier/stigmer[.exe]
#
# The agent-runner can be frozen only on its own system. If CROSS_TREES is set, CROSS_TREES/PLATFORM is the tree that is packed; without it,
# that is a small program for the tests (tests/cross/component.c), and the carrier is not for people.
#
# PLATFORM is linux-amd64, linux-arm64, darwin-arm64, darwin-amd64 or windows-amd64; without any, it is all of them.
# CROSS_PROFILE=dev builds faster what starts slower. CROSS_JOBS is the number of compilers at once.
#
# Debian's compiler builds the standard library of the target from its own source package. C sources and linking are the work of
# zig for Linux and macOS, which brings the C library or the list of its symbols, and of MinGW for Windows.
set -eu

cd "$(dirname "$0")/.."
what=${1:-}
case $what in
    check | build | pack) shift ;;
    *)
        echo 'usage: packaging/cross.sh check|build|pack [PLATFORM…]' >&2
        exit 2
        ;;
esac
[ $# -gt 0 ] || set -- linux-amd64 linux-arm64 darwin-arm64 darwin-amd64 windows-amd64
for platform; do
    case $platform in
        linux-amd64 | linux-arm64 | darwin-arm64 | darwin-amd64 | windows-amd64) ;;
        *)
            echo "packaging/cross.sh: no platform is called \`$platform\`" >&2
            exit 2
            ;;
    esac
done
profile=${CROSS_PROFILE:-release}
work=$PWD/build/cross
case $(uname -m) in x86_64) own=amd64 ;; *) own=arm64 ;; esac

need_packages() { packaging/need.sh 'building for other platforms' "$@"; }

# zig and cargo-zigbuild, pinned by hash; made anew when the list changes.
need_zig() {
    if ! cmp -s packaging/cross.lock "$work/tools/cross.lock"; then
        rm -rf "$work/tools"
        mkdir -p "$work"
        python3 -m venv "$work/tools"
        "$work/tools/bin/python" -m pip install --quiet --require-hashes -r packaging/cross.lock
        cp packaging/cross.lock "$work/tools/cross.lock"
    fi
    CARGO_ZIGBUILD_ZIG_PATH=$("$work/tools/bin/python" -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__))')/zig
    export CARGO_ZIGBUILD_ZIG_PATH
    export CARGO_ZIGBUILD_CACHE_DIR="$work/zigbuild" ZIG_GLOBAL_CACHE_DIR="$work/zig-cache"
}

# The small component of a platform, made into a tree: build/cross/small/PLATFORM.
make_small_tree() {
    tree="$work/small/$1"
    rm -rf "$tree"
    mkdir -p "$tree/bin" "$tree/share"
    case $1 in
        linux-amd64) need_zig && "$CARGO_ZIGBUILD_ZIG_PATH" cc -target x86_64-linux-musl -O1 -s -o "$tree/bin/agent-runner" tests/cross/component.c ;;
        linux-arm64) need_zig && "$CARGO_ZIGBUILD_ZIG_PATH" cc -target aarch64-linux-musl -O1 -s -o "$tree/bin/agent-runner" tests/cross/component.c ;;
        darwin-arm64) need_zig && "$CARGO_ZIGBUILD_ZIG_PATH" cc -target aarch64-macos -O1 -o "$tree/bin/agent-runner" tests/cross/component.c ;;
        darwin-amd64) need_zig && "$CARGO_ZIGBUILD_ZIG_PATH" cc -target x86_64-macos -O1 -o "$tree/bin/agent-runner" tests/cross/component.c ;;
        windows-amd64)
            need_packages gcc-mingw-w64-x86-64
            x86_64-w64-mingw32-gcc -O1 -s -o "$tree/bin/agent-runner.exe" tests/cross/component.c
            ;;
    esac
    # Something that compresses and something that does not, in more than one frame, and the kinds of entries there are.
    seq 1 200000 > "$tree/share/numbers.txt"
    : > "$tree/share/empty"
    openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 00000000000000000000000000000000 \
        -in "$tree/share/numbers.txt" -out "$tree/share/noise.bin"
    mkdir "$tree/share/empty directory"
    case $1 in windows-*) ;; *) ln -s ../share/numbers.txt "$tree/bin/numbers" ;; esac
    printf '{"name": "agent-runner", "version": "0.0.1", "entrypoint": "bin/agent-runner%s", "self_check": ["--self-check"]}\n' "$2" \
        > "$tree/component.json"
}

# Packs with the executable of this machine's own platform, which packs for all of them.
pack() {
    platform=$1
    suffix=''
    case $platform in windows-*) suffix=.exe ;; esac
    base="dist/cross/$platform/stigmer$suffix"
    if [ -n "${CROSS_TREES:-}" ]; then
        tree="$CROSS_TREES/$platform"
    else
        echo "==> $platform: CROSS_TREES is not set, so the carrier holds a small test program and not the agent-runner"
        make_small_tree "$platform" "$suffix"
    fi
    packer=${STIGMER:-dist/cross/linux-$own/stigmer}
    if [ ! -x "$packer" ] || [ ! -f "$base" ]; then
        echo "packaging/cross.sh: \`$packer\` and \`$base\` are needed to pack; first run: packaging/cross.sh build linux-$own $platform" >&2
        exit 1
    fi
    mkdir -p "dist/cross/$platform/carrier"
    "$packer" bundle pack --base "$base" --component "agent-runner=$tree" --out "dist/cross/$platform/carrier/stigmer$suffix"
}

if [ "$what" = pack ]; then
    for platform; do
        pack "$platform"
    done
    exit 0
fi

need_packages rustc-web cargo-web rust-web-src
export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
# Nobody edits and builds in turns here, and what would speed that up takes gigabytes.
export CARGO_TARGET_DIR="$work/target" CARGO_INCREMENTAL=0

for platform; do
    flags=''
    suffix=''
    settings=''
    case $platform in
        linux-amd64) target=x86_64-unknown-linux-musl with=zig flags='-C link-self-contained=no -C target-feature=+crt-static' ;;
        linux-arm64) target=aarch64-unknown-linux-musl with=zig flags='-C link-self-contained=no -C target-feature=+crt-static' ;;
        darwin-arm64) target=aarch64-apple-darwin with=zig ;;
        darwin-amd64) target=x86_64-apple-darwin with=zig ;;
        windows-amd64) target=x86_64-pc-windows-gnu with=mingw suffix=.exe flags='-C link-self-contained=no' ;;
    esac
    [ "$what" = build ] || profile=dev
    # Then neither what runs here, the macros, nor what comes of it need be fast.
    # shellcheck disable=SC2089 # the quotes are those of the key's name
    [ "$profile" != dev ] || settings='--config profile.dev.package."*".opt-level=0'
    if [ "$what" = check ]; then
        command='check'
    elif [ "$with" = zig ]; then
        command='zigbuild'
    else
        command='build'
    fi
    echo "==> $what $platform ($target)"
    # What it was built from must not show where it was built.
    registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
    flags="$flags --remap-path-prefix=$PWD=/stigmer --remap-path-prefix=$registry=/registry"
    # Nor when: the header of a Windows program has the time of its linking, unless it is told not to.
    case $platform in windows-*) flags="$flags -C link-arg=-Wl,--no-insert-timestamp" ;; esac
    out="dist/cross/$platform/stigmer$suffix"
    if [ "$what $profile $platform" = "build release linux-$own" ]; then
        # The one that everybody here builds and measures, made as it always is.
        env -u CARGO -u RUSTC -u RUSTC_BOOTSTRAP -u CARGO_TARGET_DIR packaging/static.sh "$out"
        continue
    fi
    upper=$(echo "$target" | tr 'a-z-' 'A-Z_')
    case $target in
        *-darwin)
            mkdir -p "$work/frameworks"
            python3 packaging/frameworks.py "$work/frameworks"
            flags="$flags -C link-arg=-F$work/frameworks"
            # For macOS the compiler strips with a program that Debian does not have; the linker can do it, too.
            if [ "$profile" = release ]; then
                flags="$flags -C link-arg=-Wl,-x -C link-arg=-Wl,-S"
                settings='--config profile.release.strip=false'
            fi
            ;;
    esac
    export "CARGO_TARGET_${upper}_RUSTFLAGS=$flags"
    export "CFLAGS_$(echo "$target" | tr - _)=-ffile-prefix-map=$PWD=/stigmer -ffile-prefix-map=$registry=/registry"
    if [ "$with" = zig ]; then
        need_zig
        set -- "$work/tools/bin/cargo-zigbuild" "$command"
    else
        need_packages gcc-mingw-w64-x86-64
        set -- "$CARGO" "$command"
    fi
    # shellcheck disable=SC2086,SC2090
    "$@" --locked --profile "$profile" $settings ${CROSS_JOBS:+--jobs "$CROSS_JOBS"} -Z build-std=std,panic_unwind --target "$target" --bin stigmer
    [ "$what" = build ] || continue
    made="$CARGO_TARGET_DIR/$target/$([ "$profile" = dev ] && echo debug || echo "$profile")/stigmer$suffix"
    # Only if it changed, so that what depends on it is not made again.
    cmp -s "$made" "$out" || install -D -m 755 "$made" "$out"
done
