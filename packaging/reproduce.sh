#!/bin/sh
# Builds one platform twice, from two clones in directories of different names and lengths, and compares the two byte by byte.
#
#   packaging/reproduce.sh [PLATFORM]        make reproduce PLATFORM=linux-amd64
#
# PLATFORM is this machine's own if left out; the others are those of packaging/cross.sh. What is built is the last commit: what was
# changed since is not in it. STIGMER_VERSION says the version, as in a release. Needs the time of two whole builds.
#
# With REPRODUCE_CARRIER=FILE it builds once, packs that with the agent-runner in FILE, and compares the result with FILE: this is how a
# stranger checks a release (docs/releasing.md). STIGMER names a stigmer of this machine, if PLATFORM is another one.
set -eu

cd "$(dirname "$0")/.."
case $(uname -m) in x86_64) own=linux-amd64 ;; *) own=linux-arm64 ;; esac
platform=${1:-$own}
suffix=''
case $platform in windows-*) suffix=.exe ;; esac
work=$PWD/build/reproduce
commit=$(git rev-parse --short=12 HEAD)
git diff --quiet HEAD || echo "what was changed since $commit is not built" >&2

# once DIRECTORY: prints where the executable is.
once() {
    rm -rf "${work:?}/$1"
    mkdir -p "$work"
    git clone --quiet --no-hardlinks . "$work/$1"
    (cd "$work/$1" && STIGMER_COMMIT=$commit packaging/cross.sh build "$platform") >&2
    echo "$work/$1/dist/cross/$platform/stigmer$suffix"
}

if [ -n "${REPRODUCE_CARRIER:-}" ]; then
    second=$(realpath "$REPRODUCE_CARRIER")
    bare=$(once one)
    stigmer=${STIGMER:-$bare}
    first=$work/carrier$suffix
    rm -rf "$work/tree"
    "$stigmer" bundle extract --component agent-runner --to "$work/tree" "$second"
    "$stigmer" bundle pack --no-self-check --base "$bare" --component "agent-runner=$work/tree" --out "$first"
else
    first=$(once one)
    second=$(once 'another-directory-with-a-longer-name')
fi
sha256sum "$first" "$second"
if ! cmp "$first" "$second"; then
    echo "packaging/reproduce.sh: two builds of $commit for $platform are not the same" >&2
    exit 1
fi
echo "$platform: two builds of $commit are the same, byte by byte"
