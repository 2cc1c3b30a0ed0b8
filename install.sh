#!/bin/sh
# Installs stigmer for the person who runs it: one executable, in ~/.local/bin unless told otherwise. Needs no root and asks for none.
#
#   curl -fsSL https://releases.stigmer.ai/install.sh | sh
#   curl -fsSL https://releases.stigmer.ai/install.sh | sh -s -- --version 1.2.3 --dir ~/bin
#
# What is trusted, in this order: the release keys below, checked with minisign or with openssl, whichever is here; else the connection to the
# host alone, and then that is said. docs/install.md has the whole story.
set -eu
# zsh, when a person pipes the script into it, splits no words unless it is told to be sh.
if [ -n "${ZSH_VERSION:-}" ]; then emulate sh; fi

# The public keys of the releases, one in a line. Published copies have them filled in.
release_keys=''
default_url='https://releases.stigmer.ai'
line='
'

usage() {
    cat <<'END'
Installs stigmer, one executable, without root.

Usage: install.sh [--version VERSION] [--dir DIR] [--require-signature]

  --version VERSION      install this version instead of the newest stable one
  --dir DIR              install into DIR instead of ~/.local/bin
  --require-signature    stop if the signature cannot be checked here
  --help                 show this

  STIGMER_RELEASES_URL   fetch from this place instead of https://releases.stigmer.ai
  STIGMER_RELEASE_KEYS   trust the public keys in this file, one in a line, instead of the project's

Exits with 0 if it is installed, 1 if not, 2 if the command line is wrong, 5 if another program looks after the installation, 65 if what was
fetched is not what was published.
END
}

say() { printf '%s\n' "$*" >&2; }
# fail CODE WHAT [HINT]
fail() {
    say "install.sh: $2"
    [ -z "${3:-}" ] || say "  hint: $3"
    exit "$1"
}
have() { command -v "$1" >/dev/null 2>&1; }

platform() {
    system=$(uname -s) machine=$(uname -m)
    case $system in
        Linux) system=linux ;;
        Darwin)
            system=darwin
            # A shell under Rosetta says that it is on an Intel machine.
            if [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || :)" = 1 ]; then machine=arm64; fi
            ;;
        MINGW* | MSYS* | CYGWIN*)
            fail 1 'this script is for Linux and macOS' "fetch stigmer-VERSION-windows-amd64.exe from $url and put it into PATH (docs/install.md)"
            ;;
        *) fail 1 "there are no releases for $system" 'build it from its source: docs/developing.md' ;;
    esac
    case $machine in
        x86_64 | amd64) machine=amd64 ;;
        arm64 | aarch64) machine=arm64 ;;
        *) fail 1 "there are no releases for $system on $machine" 'build it from its source: docs/developing.md' ;;
    esac
    printf '%s-%s' "$system" "$machine"
}

# How often a download is tried, and how many seconds a host may send nothing, or less than 1 kB/s, before that counts as a failure.
attempts=5
stall=30

# fetch ADDRESS FILE [show]: downloads into FILE. A connection that breaks or stalls is taken up again where it broke. With `show`
# and on a terminal, curl draws its progress bar.
fetch() {
    rm -f "$2"
    attempt=1
    while :; do
        code=0
        if have curl; then
            fetch_by_curl "$@" || code=$?
        elif have wget; then
            fetch_by_wget "$@" || code=$?
        else
            fail 1 'neither curl nor wget was found' 'install one of them'
        fi
        [ $code -ne 0 ] || return 0
        if ! worth_repeating $code || [ $attempt -ge $attempts ]; then
            [ ! -s "$work/fetch" ] || tail -n 3 "$work/fetch" >&2
            return 1
        fi
        # A host that is only just starting, or a network that is only just back.
        sleep 1 2>/dev/null || :
        [ -z "${3:-}" ] || say "download interrupted; resuming (attempt $((attempt + 1)) of $attempts)"
        attempt=$((attempt + 1))
    done
}

fetch_by_curl() {
    case $1 in https:*) only='=https' ;; *) only='=http,https' ;; esac
    set -- "$1" "$2" "${3:-}" --fail --show-error --location --proto "$only" --connect-timeout "$stall" --speed-limit 1024 --speed-time "$stall"
    # The rest of a file, if there is a beginning of it.
    [ ! -s "$2" ] || set -- "$@" --continue-at -
    address=$1 file=$2 show=$3
    shift 3
    if [ -n "$show" ] && [ -t 2 ]; then
        : >"$work/fetch"
        curl --progress-bar "$@" --output "$file" "$address" 2>&3
    else
        curl --silent "$@" --output "$file" "$address" 2>"$work/fetch"
    fi
}

# The errors of curl that another attempt may not meet: name, connection, partial file, time, TLS handshake, empty answer, send, receive.
# wget has no such codes; `fetch_by_wget` gives 56 for them.
worth_repeating() {
    case $1 in
        5 | 6 | 7 | 18 | 28 | 35 | 52 | 55 | 56 | 92) return 0 ;;
        # The host gives no parts of files, or the file has become another one: from its beginning, then.
        33 | 36) rm -f "$file" ;;
        *) return 1 ;;
    esac
}

fetch_by_wget() {
    file=$2
    # Not every wget knows a flag between silence and all it has to say, so its words are sorted out afterwards.
    if wget -t 1 -T "$stall" -c -S -O "$2" "$1" 2>"$work/wget"; then
        wget_code=0
    else
        wget_code=$?
    fi
    case $1 in
        https:*)
            if grep -qi '^ *location: *http:' "$work/wget"; then
                say "$1 redirects to an address without https"
                rm -f "$2"
                return 1
            fi
            ;;
    esac
    # Without its dots and bars and the headers of the answer.
    tr '\r' '\n' <"$work/wget" | grep -v -e '^ *$' -e '\.\.\.\.\.\.\.\.' -e '%' -e '^  [A-Za-z-]*:' >"$work/fetch" || :
    case $wget_code in
        0) return 0 ;;
        # 4 is the network; a host that answers with an error is 8.
        4) return 56 ;;
        *) return 1 ;;
    esac
}

sha256() {
    if have sha256sum; then
        sum=$(sha256sum <"$1")
    elif have shasum; then
        sum=$(shasum -a 256 <"$1")
    elif have openssl; then
        sum=$(openssl dgst -sha256 -r <"$1")
    else
        fail 1 'nothing here computes SHA-256' 'install sha256sum, shasum or openssl'
    fi
    printf '%s' "${sum%% *}"
}

# Says of the files in the listing that were made for this platform `version url sha256`, newest first; with a version, only of that one.
# The listing is JSON whose objects have a known order: a version, its channel, and then its files with name, url and digest.
carriers() {
    # shellcheck disable=SC2020 # five characters, each to a new line
    tr -d '\n' <"$1" | tr ',{}[]' '\n\n\n\n\n' | awk -v target="$2" -v wanted="$3" '
        function value(line) { sub(/^[^:]*:[ ]*"/, "", line); sub(/"[ ]*$/, "", line); return line }
        /^ *"version" *:/ { version = value($0) }
        /^ *"channel" *:/ { channel = value($0) }
        /^ *"name" *:/ { name = value($0) }
        /^ *"url" *:/ { url = value($0) }
        /^ *"digest" *: *"sha256:/ {
            if (name != "stigmer-" version "-" target) next
            if (wanted == "" ? channel == "stable" : version == wanted) print version, url, substr(value($0), 8)
        }'
}

# checked_by_minisign KEY FILE: prints the trusted comment if the signature is good.
checked_by_minisign() { minisign -VQ -P "$1" -m "$2" -x "$2.minisig" 2>/dev/null; }

# signed_by PUBLIC SIGNATURE MESSAGE: Ed25519, all three as files; the first in DER.
signed_by() { openssl pkeyutl -verify -pubin -inkey "$1" -keyform DER -rawin -in "$3" -sigfile "$2" >/dev/null 2>&1; }

# der FILE: the public key in FILE, 32 bytes, as openssl wants it.
der() { printf '\060\052\060\005\006\003\053\145\160\003\041\000' && cat "$1"; }

# bytes FILE FIRST COUNT
bytes() { tail -c "+$2" "$1" | head -c "$3"; }

# Whether this openssl can do it at all: the second test of RFC 8032, section 7.1.
openssl_can() {
    have openssl || return 1
    printf '%s' 'PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=' | openssl base64 -d -A >"$work/test.raw" 2>/dev/null || return 1
    printf '%s' 'kqAJqfDUyrhyDoILX2QlQKKye1QWUD+Ps3YiI+vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA==' |
        openssl base64 -d -A >"$work/test.sig" 2>/dev/null || return 1
    der "$work/test.raw" >"$work/test.der"
    printf 'r' >"$work/test.msg"
    signed_by "$work/test.der" "$work/test.sig" "$work/test.msg" && openssl dgst -blake2b512 -binary "$work/test.msg" >/dev/null 2>&1
}

# checked_by_openssl KEY FILE: the same as checked_by_minisign. A signature of minisign is one of the BLAKE2b digest of the file, and a second one of
# the first and the trusted comment.
checked_by_openssl() {
    printf '%s' "$1" | openssl base64 -d -A >"$work/key" && [ "$(wc -c <"$work/key")" -eq 42 ] || return 1
    bytes "$work/key" 11 32 >"$work/key.raw"
    der "$work/key.raw" >"$work/key.der"
    sed -n 2p "$2.minisig" | tr -d '\r\n' | openssl base64 -d -A >"$work/sig" && [ "$(wc -c <"$work/sig")" -eq 74 ] || return 1
    # The form that signs the digest, by this very key.
    [ "$(head -c 2 "$work/sig")" = ED ] || return 1
    bytes "$work/key" 3 8 >"$work/key.id"
    bytes "$work/sig" 3 8 | cmp -s - "$work/key.id" || return 1
    bytes "$work/sig" 11 64 >"$work/sig.raw"
    openssl dgst -blake2b512 -binary "$2" >"$work/digest"
    signed_by "$work/key.der" "$work/sig.raw" "$work/digest" || return 1
    comment=$(sed -n 3p "$2.minisig" | tr -d '\r\n')
    comment=${comment#trusted comment: }
    sed -n 4p "$2.minisig" | tr -d '\r\n' | openssl base64 -d -A >"$work/global.raw"
    { cat "$work/sig.raw" && printf '%s' "$comment"; } >"$work/global"
    signed_by "$work/key.der" "$work/global.raw" "$work/global" || return 1
    printf '%s\n' "$comment"
}

# Checks the signature of the listing by whatever is here, and says in `checked` what was done. It is the listing that says which bytes are ours.
check_signature() {
    listing=$1
    checked=''
    if [ -z "$release_keys" ]; then
        why='this script has no release key'
    elif have minisign; then
        with=minisign
    elif openssl_can; then
        with=openssl
    else
        why='neither minisign nor OpenSSL 3 was found'
    fi
    if [ -z "${with:-}" ]; then
        unchecked "$why"
        return
    fi
    for key in $release_keys; do
        if comment=$("checked_by_$with" "$key" "$listing"); then
            [ "$comment" = 'stigmer listing' ] || fail 65 "the signature of $url/releases.json was made for another document, \`$comment\`" 'nothing was installed; tell us'
            checked="ok (release key, by $with)"
            return
        fi
    done
    fail 65 "the signature of $url/releases.json is not one of stigmer's release keys" 'nothing was installed; if that is your own mirror, name its key with STIGMER_RELEASE_KEYS'
}

unchecked() {
    [ "$require" = no ] || fail 1 "the signature cannot be checked: $1" 'install minisign, or leave out --require-signature'
    say "note: the signature was not checked: $1"
    case $url in
        https:*) say "      The download is only as trustworthy as the connection to $url." ;;
        *) say "      The download is not protected: $url does not use https." ;;
    esac
    checked='NOT CHECKED'
}

# Where a link leads, and a file itself.
real() {
    at=$1
    hops=0
    while [ -L "$at" ]; do
        hops=$((hops + 1))
        [ $hops -le 40 ] || fail 1 "\`$1\` is a link that leads in a circle"
        to=$(readlink "$at")
        case $to in /*) at=$to ;; *) at=$(dirname "$at")/$to ;; esac
    done
    printf '%s' "$(cd "$(dirname "$at")" && pwd -P)/$(basename "$at")"
}

# Whether what is at $1 is somebody else's to update. Then `by` says whose, and `how` what to do instead.
managed() {
    by='' how=''
    here=$(dirname "$1")
    for marker in "$here/stigmer.managed" "$here/../share/stigmer/stigmer.managed"; do
        if [ -f "$marker" ]; then
            by="is looked after by a packager, who says: $(tr -d '\000-\011\013-\037\177' <"$marker")"
            how='do what the packager says'
            return
        fi
    done
    case $1 in
        */Cellar/*) by='was installed by Homebrew' how='brew update && brew upgrade stigmer' ;;
        /nix/store/* | /gnu/store/* | /snap/* | */mise/installs/* | */asdf/installs/* | */.asdf/installs/*)
            by='was installed by a package manager' how='update it there'
            ;;
        *)
            [ "$(basename "$here")" = bin ] && grep -q '"stigmer"' "$here/../.crates.toml" 2>/dev/null || return 1
            by='was installed by cargo' how='cargo install stigmer'
            ;;
    esac
}

# What `$1 --version` says in its first line, and in another one its exit code. A shell says itself what a signal ended, so not even that one is heard.
version_of() {
    (
        exec 2>/dev/null
        {
            code=0
            "$1" --version </dev/null || code=$?
            printf '\n%s\n' "$code"
        } | sed -n '1p;$p'
    )
}

# Whether the file $1, of which `--version` ended with $2, is what is left of a program: nothing at all, or one that does not run. What runs, or is no
# program to begin with, is somebody's.
damaged() {
    [ -f "$1" ] || return 1
    [ -s "$1" ] || return 0
    # ELF, Mach-O for one processor and for several, PE.
    case $(head -c 4 "$1" | LC_ALL=C tr -d '\000') in
        "$(printf '\177ELF')" | "$(printf '\317\372\355\376')" | "$(printf '\312\376\272\276')" | MZ?) ;;
        *) return 1 ;;
    esac
    # Not to be executed, not to be loaded, or ended by a signal.
    [ "$2" -eq 126 ] || [ "$2" -eq 127 ] || { [ "$2" -gt 128 ] && [ "$2" -le 192 ]; }
}

# Makes the directory $1, and notes in `made` the topmost one that was not there.
make_directory() {
    up=$1
    while [ ! -e "$up" ] && [ ! -L "$up" ]; do
        made=$up
        up=$(dirname "$up")
    done
    mkdir -p "$1"
}

# Removes what an installer left behind that was killed: its directories carry the id of their process.
remove_leftovers() {
    for left in "$dir"/.stigmer-install-*-*; do
        id=${left##*/.stigmer-install-}
        id=${id%%-*}
        case $id in '' | *[!0-9]*) continue ;; esac
        [ -d "$left" ] && [ ! -L "$left" ] || continue
        kill -0 "$id" 2>/dev/null || rm -rf "$left" 2>/dev/null || :
    done
}

# Nothing stays but what was installed: not even a directory that was made for it, if it is empty.
clean_up() {
    [ -z "$work" ] || rm -rf "$work"
    [ -n "$made" ] || return 0
    up=$dir
    while rmdir "$up" 2>/dev/null && [ "$up" != "$made" ]; do up=$(dirname "$up"); done
}

main() {
    version='' dir='' require=no
    while [ $# -gt 0 ]; do
        case $1 in
            --version | --dir)
                [ $# -ge 2 ] && [ -n "$2" ] || fail 2 "$1 needs a value" 'install.sh --help'
                if [ "$1" = --dir ]; then dir=$2; else version=${2#v}; fi
                shift
                ;;
            --version=*) version=${1#--version=} version=${version#v} ;;
            --dir=*) dir=${1#--dir=} ;;
            --require-signature) require=yes ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) fail 2 "\`$1\` is not understood" 'install.sh --help' ;;
        esac
        shift
    done
    url=${STIGMER_RELEASES_URL:-$default_url}
    url=${url%/}
    if [ -n "${STIGMER_RELEASE_KEYS:-}" ]; then
        release_keys=$(grep -v -e '^#' -e '^untrusted comment' "$STIGMER_RELEASE_KEYS") || fail 2 "there is no key in \`$STIGMER_RELEASE_KEYS\`" 'one public key of minisign in a line'
    fi
    case $url in
        https://github.com/*/*) listing_url=$url/releases/latest/download/releases.json ;;
        https://* | http://*) listing_url=$url/releases.json ;;
        *) fail 2 "\`$url\` is no place to fetch releases from" 'STIGMER_RELEASES_URL begins with https://' ;;
    esac
    asked=$dir
    # A shell leaves the ~ of --dir=~/bin as it is.
    # shellcheck disable=SC2088 # that is what is looked for
    case $dir in
        '' | '~' | '~/'*)
            [ -n "${HOME:-}" ] || fail 1 'HOME is not set' 'say where to install with --dir, beginning with /'
            if [ -z "$dir" ]; then dir=$HOME/.local/bin; else dir=$HOME${dir#'~'}; fi
            ;;
        '~'*) fail 2 "whose home \`$dir\` means is not known here" 'write it out, beginning with /' ;;
    esac
    case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
    [ -z "$asked" ] || asked=$dir
    target=$(platform)

    # What is there already, before anything is fetched.
    place=$dir/stigmer
    old='' broken=''
    if [ -L "$place" ] || [ -e "$place" ]; then
        [ -e "$place" ] || fail 1 "\`$place\` is a link that leads nowhere" 'remove it'
        place=$(real "$place")
        if managed "$place"; then fail 5 "\`$place\` $by" "$how; or install elsewhere with --dir"; fi
        old=$(version_of "$place")
        case $old in
            'stigmer '*) old=${old%%"$line"*} ;;
            *)
                damaged "$place" "${old##*"$line"}" || fail 1 "\`$place\` is there already, and is no stigmer" 'move it away, or install elsewhere with --dir'
                old='' broken='does not run'
                ;;
        esac
    fi
    # One that is elsewhere in PATH. With --dir it is known that there will be two.
    other=$(command -v stigmer 2>/dev/null) || other=''
    if [ -n "$other" ]; then
        other=$(real "$other")
        if [ "$other" = "$place" ]; then
            other=''
        elif [ -z "$asked" ] && managed "$other"; then
            say "note: there is another stigmer already: \`$other\` $by"
            say "      To update that one: $how. This one comes beside it, into $dir."
        fi
    fi
    dir=$(dirname "$place")
    work='' made=''
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    make_directory "$dir" || fail 1 "\`$dir\` cannot be made" 'choose a directory of your own with --dir; this script never asks for root'
    [ -w "$dir" ] || fail 1 "you may not write into \`$dir\`" 'choose a directory of your own with --dir; this script never asks for root'
    # A directory may be a link.
    place=$(real "$place")

    # Beside the place: a rename is atomic within one file system, and /tmp may forbid what is in it to run.
    remove_leftovers
    work=$(mktemp -d "$dir/.stigmer-install-$$-XXXXXX")
    # For the progress bar: standard error itself, whatever a function does with its own.
    exec 3>&2

    fetch "$listing_url" "$work/releases.json" || fail 1 "$listing_url could not be fetched" 'look at the message above; a proxy is taken from https_proxy'
    fetch "$listing_url.minisig" "$work/releases.json.minisig" || fail 1 "$listing_url.minisig could not be fetched" 'look at the message above'
    check_signature "$work/releases.json"
    found=$(carriers "$work/releases.json" "$target" "$version" | head -n 1)
    [ -n "$found" ] || fail 1 "$url has no ${version:-stable release} for $target" "leave out --version for the newest; all there is stands in $listing_url"
    # shellcheck disable=SC2086 # three words
    set -- $found
    version=$1 address=$2 wanted=$3
    case $address in http://* | https://*) ;; *) address=${listing_url%/*}/$address ;; esac
    say "fetching stigmer $version for $target from ${address%/*}"
    fetch "$address" "$work/stigmer" show || fail 1 "$address could not be fetched" 'look at the message above; is the disk full?'
    got=$(sha256 "$work/stigmer")
    [ "$got" = "$wanted" ] || fail 65 "what $address gave is not what was published: its SHA-256 is $got, the listing says $wanted" 'nothing was installed; try again, and if it stays so tell us'
    chmod 755 "$work/stigmer"

    # It must work on this machine before it takes anybody's place.
    said=$("$work/stigmer" --version 2>&1 | head -n 1) || :
    case $said in
        "stigmer $version" | "stigmer $version "*) ;;
        *) fail 1 "the new stigmer does not run here: $said" "is \`$dir\` on a file system that forbids to run programs (noexec)?" ;;
    esac
    "$work/stigmer" bundle verify >/dev/null 2>"$work/said" || fail 65 "the new stigmer finds its own bundle damaged: $(cat "$work/said")" 'nothing was installed'

    kept=''
    if [ -n "$old" ]; then
        if cmp -s "$work/stigmer" "$place"; then
            kept='the same bytes'
        elif (exec 2>/dev/null && "$place" bundle verify </dev/null >/dev/null || exit 1); then
            # As an update does: the version before stays, and `stigmer self-update --rollback` goes back to it.
            rm -f "$place.previous"
            ln "$place" "$place.previous" 2>/dev/null || cp -p "$place" "$place.previous"
            kept="$old, kept as $place.previous"
        else
            broken='does not pass its own check, stigmer bundle verify'
        fi
    fi
    mv -f "$work/stigmer" "$place"

    say "installed $said"
    say "  path       $place"
    say "  signature  $checked"
    say "  SHA-256    ok ($wanted)"
    say "  bundle     ok (every file verified)"
    [ -z "$kept" ] || say "  previous   $kept"
    if [ -n "$broken" ]; then
        say "note: what was there was damaged (it $broken) and was replaced; it is not kept"
    fi
    first=$(command -v stigmer 2>/dev/null) || first=''
    if [ -n "$first" ] && [ "$(real "$first")" = "$place" ]; then
        [ -z "$other" ] || say "note: if this shell goes on with the other one, $other: hash -r"
        say 'next: stigmer server'
        return
    fi
    case :$PATH: in
        *:"$dir":* | *:"${asked:-$dir}":*)
            say "note: \`stigmer\` in your PATH is another one, $first; remove it, or put $dir before it, and then: hash -r"
            ;;
        *)
            say "note: $dir is not in your PATH. For this shell, and for every later one in ~/.profile or your shell's own file:"
            # shellcheck disable=SC2016 # for the person's shell
            say "        export PATH=\"$dir:\$PATH\""
            ;;
    esac
    say "next: $place server"
}

# All of it, or nothing: of a script that was cut off on its way, the shell does not understand the last line.
{ main "$@"; }
