#!/bin/sh
# Tests what `make cross` has put into dist/cross, as far as one Linux machine can: every carrier is read here; the signatures are
# checked by other people's programs; the Windows program runs under Wine, the arm64 program under qemu.
#
# Exit code: 0 all of it ran and passed; 1 something failed; 77 nothing failed, but something could not be run: what is absent is said.
# As root on Debian the absent packages are installed first. CROSS_TEST_KEEP=1 keeps the scratch directory.
set -u

cd "$(dirname "$0")/.." || exit
top=$PWD
cross=$top/dist/cross
case $(uname -m) in x86_64) own=linux-amd64 ;; *) own=linux-arm64 ;; esac
host=${STIGMER:-$cross/$own/stigmer}
failed=''
skipped=''
part=''

say() { printf '%s\n' "$*"; }
pass() { say "  ok    $part: $*"; }
fail() {
    say "  FAIL  $part: $*"
    failed="$failed
  $part: $*"
}
skip() {
    say "  skip  $1: $2"
    skipped="$skipped
  $1: $2"
}
# check WHAT COMMAND…: it must succeed; what it says is shown if it does not.
check() {
    what=$1
    shift
    if "$@" >"$scratch/said" 2>&1; then
        pass "$what"
    else
        fail "$what (exit code $?)"
        sed 's/^/        /' "$scratch/said" | tail -20
    fi
}
# expect WHAT CODE COMMAND…: it must end with that code.
expect() {
    what=$1 code=$2
    shift 2
    "$@" >"$scratch/said" 2>&1
    got=$?
    if [ $got = "$code" ]; then
        pass "$what"
    else
        fail "$what (exit code $got, not $code)"
        sed 's/^/        /' "$scratch/said" | tail -20
    fi
}
# said WHAT TEXT: the last command's output has it.
said() {
    if tr -d '\r' <"$scratch/said" | grep -qF -- "$2"; then
        pass "$1"
    else
        fail "$1: \`$2\` is not in its output"
        sed 's/^/        /' "$scratch/said" | tail -20
    fi
}
have() { command -v "$1" >/dev/null 2>&1; }

install_tools() {
    missing=''
    have wine64 || [ -x /usr/lib/wine/wine64 ] || missing="$missing wine64 wine"
    have x86_64-w64-mingw32-gcc || missing="$missing gcc-mingw-w64-x86-64"
    have qemu-aarch64 || have qemu-aarch64-static || missing="$missing qemu-user"
    have osslsigncode || missing="$missing osslsigncode"
    have openssl || missing="$missing openssl"
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ] && have apt-get; then
        say "==> installing:$missing"
        # shellcheck disable=SC2086
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    fi
}

# Every carrier, read on this machine.
read_carrier() {
    part="read $1"
    carrier=$2
    tree=$top/build/cross/small/$1
    check 'inspect' "$host" bundle inspect --json "$carrier"
    said 'inspect names the component' '"agent-runner"'
    expect 'verify finds nothing' 0 "$host" bundle verify "$carrier"
    rm -rf "$scratch/out"
    check 'extract' "$host" bundle extract --component agent-runner --to "$scratch/out" "$carrier"
    check 'what was extracted is what was packed' diff -r --no-dereference "$tree" "$scratch/out"
    cp "$carrier" "$scratch/damaged"
    # A byte in the middle of a carrier of frames is in a frame; it is not silently what it was.
    at=$(($(wc -c <"$carrier") - 4096))
    [ "$at" -gt 0 ] && printf 'XXXX' | dd of="$scratch/damaged" bs=1 seek="$at" conv=notrunc 2>/dev/null
    "$host" bundle verify "$scratch/damaged" >"$scratch/said" 2>&1 && case $1 in
        darwin-*) : ;; # the last bytes are the signature's
        *) fail 'four damaged bytes are not noticed' ;;
    esac
}

# The signature of a Mach-O carrier, by a program that knows nothing of ours; and ours replaced by one with an identity.
macho() {
    part="sign $1"
    carrier=$cross/$1/carrier/stigmer
    if ! CROSS_JOBS="${CROSS_JOBS:-}" sh tests/rcodesign.sh; then
        skip "$part" 'rcodesign could not be built'
        return
    fi
    rcodesign=$top/build/tools/bin/rcodesign
    # It reports that an ad hoc signature has no certificates, which is what ad hoc means. Nothing else may be wrong.
    "$rcodesign" verify "$carrier" >"$scratch/said" 2>&1
    if grep -v 'known to be buggy' "$scratch/said" | grep -vi 'cms error\|cryptographic signature\|problems reported\|verification problems' | grep -q .; then
        fail 'rcodesign finds more than the missing certificates'
        sed 's/^/        /' "$scratch/said"
    else
        pass 'rcodesign agrees with every page'
    fi
    check 'rcodesign reads it' "$rcodesign" print-signature-info "$carrier"
    said 'it is ad hoc' 'ADHOC'
    said 'under its name' 'identifier: stigmer'
    after=$(sed -n 's/.*linkedit_bytes_after_signature: \([0-9]*\) .*/\1/p' "$scratch/said")
    ends=$(sed -n 's/.*macho_\(linkedit_\)*end_offset: \([0-9]*\) .*/\2/p' "$scratch/said" | uniq | wc -l)
    if [ "${after:-99}" -lt 16 ] && [ "$ends" = 1 ]; then pass 'nothing but padding follows it'; else fail "$after bytes follow it"; fi
    # A byte changed anywhere is noticed: else the check above would prove nothing.
    cp "$carrier" "$scratch/changed"
    printf 'X' | dd of="$scratch/changed" bs=1 seek=$(($(wc -c <"$carrier") / 2)) conv=notrunc 2>/dev/null
    "$rcodesign" verify "$scratch/changed" >"$scratch/said" 2>&1
    said 'rcodesign notices one changed byte' 'digest mismatch'
    # Its own ad hoc signature gets the same verdict from it as ours.
    check 'packed with --no-sign' "$host" bundle pack --no-sign --base "$cross/$1/stigmer" --no-self-check \
        --component "agent-runner=$top/build/cross/small/$1" --out "$scratch/unsigned"
    rm -f "$scratch/its-own"
    check 'rcodesign signs ad hoc what we left unsigned' "$rcodesign" sign --binary-identifier stigmer "$scratch/unsigned" "$scratch/its-own"
    "$rcodesign" verify "$carrier" >"$scratch/ours.said" 2>&1
    "$rcodesign" verify "$scratch/its-own" >"$scratch/its.said" 2>&1
    check 'and says of its own signature what it says of ours' cmp "$scratch/ours.said" "$scratch/its.said"
    # With an identity: over ours, and over none.
    if [ ! -f "$scratch/identity.pem" ]; then
        check 'an identity' "$rcodesign" generate-self-signed-certificate --person-name test --pem-filename "$scratch/identity"
        cat "$scratch"/identity*.crt "$scratch"/identity*.key >"$scratch/identity.pem" 2>/dev/null
    fi
    for before in "$carrier" "$scratch/unsigned"; do
        rm -f "$scratch/signed"
        check "signed with an identity: $(basename "$before")" "$rcodesign" sign --timestamp-url none --pem-file "$scratch/identity.pem" "$before" "$scratch/signed"
        expect 'its signature verifies' 0 "$rcodesign" verify "$scratch/signed"
        expect 'its bundle is whole' 0 "$host" bundle verify "$scratch/signed"
        rm -rf "$scratch/out"
        check 'it can be extracted' "$host" bundle extract --component agent-runner --to "$scratch/out" "$scratch/signed"
        check 'to the same tree' diff -r --no-dereference "$top/build/cross/small/$1" "$scratch/out"
    done
}

# Authenticode after packing, with a certificate made for this.
authenticode() {
    part='sign windows-amd64'
    carrier=$cross/windows-amd64/carrier/stigmer.exe
    if ! have osslsigncode || ! have openssl; then
        skip "$part" 'osslsigncode or openssl is absent (Debian: osslsigncode, openssl)'
        return
    fi
    check 'a certificate' openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=stigmer test' -addext 'extendedKeyUsage=codeSigning' \
        -keyout "$scratch/key.pem" -out "$scratch/cert.pem"
    check 'osslsigncode signs the carrier' osslsigncode sign -h sha256 -certs "$scratch/cert.pem" -key "$scratch/key.pem" \
        -n stigmer -in "$carrier" -out "$scratch/signed.exe"
    check 'the signature verifies' osslsigncode verify -CAfile "$scratch/cert.pem" -in "$scratch/signed.exe"
    read_carrier windows-amd64 "$scratch/signed.exe"
    part='sign windows-amd64'
    # The signature covers the bundle: a byte changed in it is noticed.
    cp "$scratch/signed.exe" "$scratch/changed.exe"
    printf 'X' | dd of="$scratch/changed.exe" bs=1 seek=$(($(wc -c <"$carrier") - 2000)) conv=notrunc 2>/dev/null
    if osslsigncode verify -CAfile "$scratch/cert.pem" -in "$scratch/changed.exe" >"$scratch/said" 2>&1; then
        fail 'a byte changed in the bundle is not noticed'
    else
        pass 'a byte changed in the bundle is noticed'
    fi
    expect 'packing onto a signed file is refused' 1 "$host" bundle pack --base "$scratch/signed.exe" --component "agent-runner=$top/build/cross/small/windows-amd64" --out "$scratch/never.exe"
}

# The program under test: `$exe`, as it is called there, by `$wine` if that is what starts it.
start() {
    if [ -n "$wine" ]; then "$wine" "$exe" "$@"; else "$exe" "$@"; fi
}

# What a person does with the program, on another system. `$home` is where the home lies for this machine.
everyday() {
    check '--version' start --version
    said 'it says its name' 'stigmer 0'
    check 'bundle inspect' start bundle inspect
    expect 'bundle verify' 0 start bundle verify
    check 'cache warm' start cache warm
    check 'a second time' start cache warm
    expect 'cache verify' 0 start cache verify
    said 'all is sound' 'sound'
    expect 'exec' 0 start exec agent-runner -- 'with a space' 'and "quotes"' ''
    said 'it ran' 'hello'
    said 'an argument with a space' 'argument: with a space'
    said 'an argument with quotes' 'argument: and "quotes"'
    expect 'its exit code is handed on' 7 start exec agent-runner -- --exit=7
    # Damage: found, and repaired from the executable.
    entry=$(find "$home/store/v1" -name numbers.txt | head -1)
    chmod u+w "$entry" && printf 'other' >"$entry"
    expect 'cache verify finds a damaged file' 1 start cache verify
    check 'cache verify --repair' start cache verify --repair
    expect 'and then all is sound' 0 start cache verify
    # Eight first starts at once, in an empty home: one materializes, all succeed.
    rm -rf "$home"
    pids=''
    for i in 1 2 3 4 5 6 7 8; do
        start exec agent-runner -- --exit="$i" >"$scratch/at-once-$i" 2>&1 &
        pids="$pids $!"
    done
    i=0
    wrong=''
    for pid in $pids; do
        i=$((i + 1))
        wait "$pid"
        [ $? = $i ] || wrong="$wrong $i"
    done
    if [ -z "$wrong" ]; then pass 'eight first starts at once'; else
        fail "of eight first starts at once these failed:$wrong"
        for i in $wrong; do sed "s/^/        $i: /" "$scratch/at-once-$i"; done
    fi
    expect 'they left one sound entry' 0 start cache verify
    # What runs is not removed; what does not run any more, is.
    mkfifo "$scratch/held"
    start exec agent-runner -- --wait <"$scratch/held" >"$scratch/holder" 2>&1 &
    holder=$!
    exec 9>"$scratch/held"
    until grep -q waiting "$scratch/holder" || ! kill -0 $holder 2>/dev/null; do sleep 0.1; done
    start cache clean >"$scratch/said" 2>&1
    if [ -n "$(find "$home/store/v1" -name numbers.txt 2>/dev/null)" ]; then pass 'cache clean keeps what runs'; else
        fail 'cache clean removed what runs'
    fi
    exec 9>&-
    wait $holder
    rm -f "$scratch/held"
    check 'cache gc' start cache gc
    check 'cache clean' start cache clean
    if [ -z "$(find "$home/store/v1" -name numbers.txt 2>/dev/null)" ]; then pass 'cache clean removes the rest'; else
        fail 'cache clean left something'
        sed 's/^/        /' "$scratch/said"
    fi
}

platform_server() {
    expect 'server status: not running' 3 start server status
    expect 'server start' 0 start server start --port 0
    if [ "$got" = 0 ]; then
        expect 'server status: running' 0 start server status
        said 'the component is ready' 'ready'
        expect 'a second start says what runs' 0 start server start
        expect 'server logs' 0 start server logs --all -n 50
        said 'the component has logged' 'the component says hello'
        expect 'server stop' 0 start server stop
        expect 'server status: not running any more' 3 start server status
    fi
}

# A release of the program under test and a newer one, on a host of this machine; updated, and back again. `$exe` is replaced. The newer release is the same program with another version in it, as long as the old one.
self_update() {
    platform=$1 suffix=$2
    work="$scratch/release-$platform"
    mkdir -p "$work/old" "$work/new" "$work/tree"
    version=$(start --version | tr -d '\r' | sed -n 's/^stigmer \([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p' | head -1)
    newer=$(printf '%s' "$version" | tr '0-9' '9')
    if [ "$version" = "$newer" ] || [ -z "$version" ]; then
        fail "its version is \`$version\`, which none follows"
        return
    fi
    cp "$cross/$platform/carrier/stigmer$suffix" "$work/old/stigmer$suffix"
    cp -R "$top/build/cross/small/$platform/." "$work/tree"
    echo 'one more line' >>"$work/tree/share/numbers.txt"
    python3 -c 'import sys; old, new, a, b = sys.argv[1:]; open(b, "wb").write(open(a, "rb").read().replace(old.encode(), new.encode()))' \
        "$version" "$newer" "$cross/$platform/stigmer$suffix" "$work/bare"
    check 'a newer release' "$host" bundle pack --no-self-check --base "$work/bare" --component "agent-runner=$work/tree" --out "$work/new/stigmer$suffix"
    check 'a key' "$host" bundle keygen --no-password --out "$work/key"
    check 'the old release is published' "$host" bundle publish --version "$version" --key "$work/key" --out "$work/public" --carrier "$work/old/stigmer$suffix" --level 1
    check 'the newer release is published' "$host" bundle publish --version "$newer" --key "$work/key" --out "$work/public" --carrier "$work/new/stigmer$suffix" --level 1
    # A host that gives no ranges: the whole file is fetched.
    python3 -u -c '
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_address[1])
server.serve_forever()' "$work/public" >"$work/port" 2>/dev/null &
    web=$!
    until [ -s "$work/port" ] || ! kill -0 $web 2>/dev/null; do sleep 0.1; done
    mkdir -p "$home"
    printf '[update]\nurl = "http://127.0.0.1:%s"\ntrusted_keys = ["%s"]\n' "$(cat "$work/port")" "$(sed -n 2p "$work/key.pub")" >"$home/config.toml"
    expect 'self-update --check' 0 start self-update --check
    said 'it names the newer one' "$newer"
    expect 'self-update' 0 start self-update
    expect 'the newer one is in its place' 0 start --version
    said 'and says so' "stigmer $newer"
    expect 'its bundle is whole' 0 start bundle verify
    expect 'its component runs' 0 start exec agent-runner
    expect 'self-update --rollback' 0 start self-update --rollback
    start --version >"$scratch/said" 2>&1
    said 'the old one is back' "stigmer $version"
    kill $web
    wait $web 2>/dev/null
    rm -f "$home/config.toml"
}

wine_tests() {
    part='windows-amd64 under Wine'
    wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
    server=$(dirname "$(readlink -f "$wine")")/wineserver64
    [ -x "$server" ] || server=wineserver
    if [ ! -x "$wine" ] || ! have x86_64-w64-mingw32-gcc; then
        skip "$part" 'Wine or MinGW is absent (Debian: wine64 wine gcc-mingw-w64-x86-64)'
        return
    fi
    export WINEPREFIX="$scratch/wine" WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' DISPLAY=
    check 'a Windows of its own' "$wine" wineboot --init
    drive=$WINEPREFIX/drive_c
    if [ ! -f "$drive/windows/system32/bcryptprimitives.dll" ]; then
        check 'a DLL that this Wine lacks' x86_64-w64-mingw32-gcc -shared -O1 -s -o "$drive/windows/system32/bcryptprimitives.dll" \
            tests/cross/bcryptprimitives.c -ladvapi32
    fi
    mkdir -p "$drive/some folder"
    cp "$cross/windows-amd64/carrier/stigmer.exe" "$drive/some folder/stigmer.exe"
    export STIGMER_HOME='C:\people\a person\.stigmer'
    home="$drive/people/a person/.stigmer"
    exe='C:\some folder\stigmer.exe'
    everyday
    # The signed one is the same program.
    if [ -f "$scratch/signed.exe" ]; then
        cp "$scratch/signed.exe" "$drive/some folder/signed.exe"
        expect 'the signed program finds its bundle' 0 "$wine" 'C:\some folder\signed.exe' bundle verify
    fi
    expect 'a relative home is refused' 78 env STIGMER_HOME='relative\home' "$wine" "$exe" cache list
    platform_server
    self_update windows-amd64 .exe
    # Ends what is left of this Windows, and of no other.
    "$server" -k 2>/dev/null
    unset WINEPREFIX WINEDEBUG WINEDLLOVERRIDES
}

qemu_tests() {
    part='linux-arm64 under qemu'
    qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
    exe=$cross/linux-arm64/carrier/stigmer
    export STIGMER_HOME="$scratch/arm64 home/.stigmer"
    home=$STIGMER_HOME
    wine=''
    if "$exe" --version >/dev/null 2>&1; then
        :
    elif [ -z "$qemu" ]; then
        skip "$part" 'qemu-aarch64 is absent (Debian: qemu-user)'
        return
    elif [ -n "${CROSS_TEST_BINFMT:-}" ]; then
        skip "$part" 'the kernel does not hand arm64 programs to qemu (Debian: qemu-user-binfmt; or a kernel from 6.7 on)'
        return
    else
        # A program that starts others needs the kernel to know what to do with them. In a user namespace of our own the
        # kernel is told so for this test alone.
        magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
        mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
        # shellcheck disable=SC2016 # for the shell in there
        if unshare -Urm sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && printf "%s" ":stigmer-arm64:M::$1:$2:$3:F" > /proc/sys/fs/binfmt_misc/register && CROSS_TEST_BINFMT=1 CROSS_TEST_ONLY=qemu CROSS_TEST_SCRATCH="$4" exec sh tests/cross.sh' \
            sh "$magic" "$mask" "$qemu" "$scratch"; then
            :
        elif [ $? = 77 ]; then
            skipped="$skipped
  $part: see above"
        else
            failed="$failed
  $part: see above"
        fi
        return
    fi
    everyday
    if start exec agent-runner -- --adopts-orphans >"$scratch/said" 2>&1; then
        platform_server
    else
        skip "$part: server" 'this qemu has no prctl(PR_SET_CHILD_SUBREAPER), which every Linux since 3.4 has'
    fi
    # Where it is installed, others write too: a copy.
    mkdir -p "$scratch/arm64 bin"
    cp "$exe" "$scratch/arm64 bin/stigmer"
    exe="$scratch/arm64 bin/stigmer"
    self_update linux-arm64 ''
}

only=${CROSS_TEST_ONLY:-all}
if [ "$only" = all ]; then
    install_tools
    for platform in linux-amd64 linux-arm64 darwin-arm64 darwin-amd64 windows-amd64; do
        suffix=''
        [ $platform = windows-amd64 ] && suffix=.exe
        if [ ! -f "$cross/$platform/carrier/stigmer$suffix" ] || [ ! -d "build/cross/small/$platform" ]; then
            say "tests/cross.sh: there is no $platform carrier with the small component: run \`make cross\` first" >&2
            exit 1
        fi
    done
fi
scratch=${CROSS_TEST_SCRATCH:-}
if [ -z "$scratch" ]; then
    scratch=$(mktemp -d)
    [ -n "${CROSS_TEST_KEEP:-}" ] || trap 'rm -rf "$scratch"' EXIT
fi
if ! "$host" --version >/dev/null 2>&1; then
    say "tests/cross.sh: \`$host\` does not run; STIGMER names another stigmer of this machine" >&2
    exit 1
fi

case $only in
    all)
        for platform in linux-amd64 linux-arm64 darwin-arm64 darwin-amd64; do
            read_carrier $platform "$cross/$platform/carrier/stigmer"
        done
        read_carrier windows-amd64 "$cross/windows-amd64/carrier/stigmer.exe"
        authenticode
        macho darwin-arm64
        macho darwin-amd64
        qemu_tests
        wine_tests
        ;;
    macho)
        macho darwin-arm64
        macho darwin-amd64
        ;;
    pe) authenticode ;;
    qemu) qemu_tests ;;
    wine) wine_tests ;;
    *)
        say "tests/cross.sh: CROSS_TEST_ONLY is macho, pe, qemu or wine" >&2
        exit 1
        ;;
esac

if [ -n "$failed" ]; then
    say "failed:$failed"
    exit 1
fi
if [ -n "$skipped" ]; then
    say "not run:$skipped"
    exit 77
fi
[ "$only" != all ] || say 'all of it passed'
