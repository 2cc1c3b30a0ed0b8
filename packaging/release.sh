#!/bin/sh
# A release, step by step: .github/workflows/release.yml runs these steps on its machines, `make release-dry` all of them here.
#
#   packaging/release.sh version    checks TAG (v1.2.3), and has later steps of the workflow know VERSION
#   packaging/release.sh freeze     the agent-runner of this machine's platform, frozen and checked: dist/agent-runner-PLATFORM.tar
#   packaging/release.sh unpack DIR the trees of freeze, each in the place that CROSS_TREES=DIR expects
#   packaging/release.sh carriers   dist/cross/TARGET/carrier/stigmer[.exe] for every target
#   packaging/release.sh sign       for Windows (and macOS), if there is an identity; see docs/releasing.md
#   packaging/release.sh try FILE   does that carrier run on this machine, and its component?
#   packaging/release.sh continue   fetches the listing at BASE into OUT, so that it is continued, and what patches are made from;
#                                   FIRST_RELEASE=yes if there is none yet
#   packaging/release.sh publish    everything that is uploaded, signed, in OUT
#   packaging/release.sh check      as a stranger would: signatures, checksums, install.sh, the formula, self-update, from 127.0.0.1
#   packaging/release.sh formula    formula/stigmer.rb from what is published at BASE
#   packaging/release.sh github     a draft of the release at GitHub, filled and then published (needs gh)
#   packaging/release.sh host       OUT to the static host UPLOAD_TO (packaging/upload.sh)
#   packaging/release.sh tap        the formula to the repository of the tap, TAP (needs git)
#   packaging/release.sh dry        carriers, publish and check, with a key made for it and thrown away
#
#   VERSION        1.2.3; without a `v`
#   TARGETS        those of packaging/cross.sh; all five if not set
#   CROSS_TREES    where freeze's trees are unpacked, as TARGET/; without it the carriers hold a small test program (dry runs only)
#   CARRIERS       dist/cross if not set: TARGET/carrier/stigmer[.exe] below it
#   KEY            the secret key; STIGMER_KEY_PASSWORD_FILE names a file with its password. In the workflow, which has no such files,
#                  RELEASE_KEY and RELEASE_KEY_PASSWORD hold both
#   PUBLIC_KEYS    whom the release trusts: packaging/release-keys.pub if not set
#   LISTING_KEYS   who may have signed the listing that is continued: PUBLIC_KEYS if not set. Another one after a key was stolen
#   CHANGELOG      CHANGELOG.md if not set: what stands there below the version becomes the text of the release
#   ISSUED         the time of issue, like 2026-03-01T12:00:00Z: that of the commit if not set
#   OUT            dist/release if not set. Its releases.json is continued, if there is one
#   BASE           https://releases.stigmer.ai if not set
#   GITHUB         stigmer/stigmer if not set
#   CHANNEL        stable if not set; what is a pre-release by its version goes to beta
#   STIGMER        a stigmer that runs here; that of dist/cross if not set
set -eu

cd "$(dirname "$0")/.."
step=${1:-}
all='linux-amd64 linux-arm64 darwin-arm64 darwin-amd64 windows-amd64'
targets=${TARGETS:-$all}
carriers=${CARRIERS:-dist/cross}
out=${OUT:-dist/release}
base=${BASE:-https://releases.stigmer.ai}
github=${GITHUB:-stigmer/stigmer}
public_keys=${PUBLIC_KEYS:-packaging/release-keys.pub}
listing_keys=${LISTING_KEYS:-$public_keys}
changelog=${CHANGELOG:-CHANGELOG.md}
case $(uname -m) in x86_64 | amd64) machine=amd64 ;; *) machine=arm64 ;; esac
case $(uname -s) in Linux) own=linux-$machine ;; Darwin) own=darwin-$machine ;; *) own=windows-$machine ;; esac
stigmer=${STIGMER:-dist/cross/$own/stigmer}

fail() {
    echo "packaging/release.sh $step: $*" >&2
    exit 1
}
need_version() {
    case ${VERSION:-} in
        [0-9]*.[0-9]*.[0-9]*) ;;
        *) fail "VERSION is \`${VERSION:-}\`, not a version like 1.2.3" ;;
    esac
    case $VERSION in *-*) channel=${CHANNEL:-beta} ;; *) channel=${CHANNEL:-stable} ;; esac
}
# keys FILE: the keys in it, one in a line, without remarks.
keys() { grep -v -e '^#' -e '^untrusted comment' -e '^$' "$1" || fail "there is no key in \`$1\`"; }
# suffix TARGET
suffix() { case $1 in windows-*) echo .exe ;; esac; }
# In a container without git the workflow has the sources, but no clone.
commit() {
    git rev-parse HEAD 2>/dev/null && return 0
    [ -n "${GITHUB_SHA:-}" ] || fail 'this is no clone, so nothing says which commit it is'
    echo "$GITHUB_SHA"
}
# When the commit was made: the time of issue, so that two makers of one release agree.
issued() { [ -z "${ISSUED:-}" ] || { echo "$ISSUED"; return; }; TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ; }

# What is a secret in the workflow is handed to programs as a file that nobody else can read; here its directory.
secrets_dir() {
    [ -z "${secrets:-}" ] || return 0
    secrets=$(umask 077 && mktemp -d)
    trap 'rm -rf "$secrets"' EXIT
}

version() {
    VERSION=${TAG#v}
    [ "$TAG" != "$VERSION" ] || fail "the tag is \`$TAG\`, not like v1.2.3"
    need_version
    echo "version $VERSION, on the channel $channel"
    notes >/dev/null
    [ -z "${GITHUB_ENV:-}" ] || echo "VERSION=$VERSION" >>"$GITHUB_ENV"
}

# What stands in the changelog below the heading of this version.
notes() {
    text=$(awk -v heading="## $VERSION" 'index($0, "## ") == 1 { on = ($0 == heading || index($0, heading " ") == 1); next } on' "$changelog")
    [ -n "$text" ] || fail "$changelog has nothing below \`## $VERSION\`"
    printf '%s\n' "$text"
}

unpack() {
    dir=${1:?the directory}
    for target in $targets; do
        mkdir -p "$dir/$target"
        tar -C "$dir/$target" --strip-components 1 -xf "$dir/tree-$target/agent-runner-$target.tar"
        echo "$target: $(find "$dir/$target" -type f | wc -l) files"
    done
}

freeze() {
    "${PYTHON:-python3}" payloads/agent-runner/build.py --out dist
    # As a tar file, because what carries files between machines drops their permissions.
    tar -C dist -cf "dist/agent-runner-$own.tar" agent-runner
    ls -l "dist/agent-runner-$own.tar"
}

carriers() {
    need_version
    [ -n "${CROSS_TREES:-}" ] || [ -n "${DRY:-}" ] || fail 'CROSS_TREES is not set, and without it the carriers are not for people'
    STIGMER_COMMIT=$(commit | cut -c 1-12)
    export STIGMER_VERSION="$VERSION" STIGMER_COMMIT
    # shellcheck disable=SC2086
    packaging/cross.sh build $targets
    # shellcheck disable=SC2086
    packaging/cross.sh pack $targets
}

# Identities are the owner's to give. Without one, macOS carriers keep the ad hoc signature that the packer made, and Windows ones have none.
sign() {
    secrets_dir
    for identity in WINDOWS APPLE; do
        eval "encoded=\${${identity}_PKCS12_BASE64:-} password=\${${identity}_PASSWORD:-}"
        # shellcheck disable=SC2154 # set by eval
        if [ -n "$encoded" ]; then
            printf '%s' "$encoded" | openssl base64 -d -A >"$secrets/$identity.p12"
            printf '%s' "$password" >"$secrets/$identity.password"
            export "${identity}_PKCS12=$secrets/$identity.p12" "${identity}_PASSWORD_FILE=$secrets/$identity.password"
        fi
    done
    for target in $targets; do
        file=$carriers/$target/carrier/stigmer$(suffix "$target")
        case $target in
            windows-*)
                if [ -n "${WINDOWS_PKCS12:-}" ]; then
                    osslsigncode sign -h sha256 -pkcs12 "$WINDOWS_PKCS12" -readpass "${WINDOWS_PASSWORD_FILE:?names the file with its password}" \
                        -n stigmer -i "https://github.com/$github" ${WINDOWS_TIMESTAMP:+-ts "$WINDOWS_TIMESTAMP"} -in "$file" -out "$file.signed"
                    mv "$file.signed" "$file"
                else
                    echo "$target: not signed, as WINDOWS_PKCS12 is not set"
                fi
                ;;
            darwin-*)
                if [ -n "${APPLE_PKCS12:-}" ]; then
                    sh tests/rcodesign.sh
                    build/tools/bin/rcodesign sign --binary-identifier stigmer --code-signature-flags runtime --p12-file "$APPLE_PKCS12" \
                        --p12-password-file "${APPLE_PASSWORD_FILE:?names the file with its password}" "$file" "$file.signed"
                    mv "$file.signed" "$file"
                else
                    echo "$target: signed ad hoc only, as APPLE_PKCS12 is not set"
                fi
                ;;
        esac
        "$stigmer" bundle verify "$file"
    done
}

try() {
    file=${1:-}
    [ -f "$file" ] || fail "which carrier? \`$file\` is no file"
    home=$(mktemp -d)
    STIGMER_HOME=$home/.stigmer
    export STIGMER_HOME
    chmod 755 "$file"
    "$file" --version
    "$file" bundle verify
    "$file" cache warm
    "$file" cache verify
    "$file" exec agent-runner -- --version
    "$file" server start --port 0
    "$file" server status
    "$file" server stop
    "$file" cache clean
    rm -rf "$home"
}

# Begins with an empty listing only if that is meant: a listing that was left behind would take every older release away.
continue_listing() {
    need_version
    mkdir -p "$out"
    for file in releases.json releases.json.minisig; do
        # Only a host that says that it has none has none; one that is ill may have many.
        found=$(curl --silent --show-error --location --retry 3 --output "$out/$file" --write-out '%{http_code}' "$base/$file") || found="$found, and then nothing"
        if [ "$found" != 200 ]; then
            rm -f "$out/releases.json" "$out/releases.json.minisig"
            [ "$found" = 404 ] || fail "$base/$file cannot be fetched: the host says $found"
            [ "${FIRST_RELEASE:-}" = yes ] || fail "$base/$file is not there; if there is no release yet, set FIRST_RELEASE=yes"
            echo 'this is the first release'
            return 0
        fi
    done
    signed "$out/releases.json" 'stigmer listing' "$listing_keys"
    echo "the listing has $(grep -c '"channel"' "$out/releases.json") releases"
    # Without one of these there is a patch less, which costs those bytes who update from there.
    older=$("${PYTHON:-python3}" packaging/older.py --listing "$out/releases.json" --base "$base" --version "$VERSION" --channel "$channel")
    printf '%s' "$older${older:+
}" | while read -r digest address path; do
        if ! curl --fail --silent --show-error --location --create-dirs --output "$out/$path" "$address"; then
            rm -f "$out/$path"
            echo "no patch: $address cannot be fetched"
        elif ! echo "$digest  $out/$path" | sha256sum --status --check; then
            rm -f "$out/$path"
            echo "no patch: $address is not what is listed"
        else
            echo "for a patch: $path"
        fi
    done
}

publish() {
    need_version
    if [ -n "${RELEASE_KEY:-}" ]; then
        secrets_dir
        (umask 077 && printf '%s\n' "$RELEASE_KEY" >"$secrets/release.key" && printf '%s' "${RELEASE_KEY_PASSWORD:-}" >"$secrets/password")
        KEY=$secrets/release.key
        [ -z "${RELEASE_KEY_PASSWORD:-}" ] || export STIGMER_KEY_PASSWORD_FILE="$secrets/password"
        unset RELEASE_KEY RELEASE_KEY_PASSWORD
    fi
    : "${KEY:?names the secret key}"
    set --
    for target in $targets; do
        file=$carriers/$target/carrier/stigmer$(suffix "$target")
        [ -f "$file" ] || fail "there is no \`$file\`: first packaging/release.sh carriers"
        set -- "$@" --carrier "$file"
    done
    "$stigmer" bundle publish --version "$VERSION" --channel "$channel" --key "$KEY" --trusted "$listing_keys" --out "$out" --github "$github" \
        --issued "$(issued)" --notes-url "https://github.com/$github/releases/tag/v$VERSION" ${LEVEL:+--level "$LEVEL"} "$@"
    # What belongs to the version and is for every target.
    sbom=stigmer-$VERSION.cdx.json
    "${PYTHON:-python3}" packaging/sbom.py --version "$VERSION" --commit "$(commit)" --issued "$(issued)" --out "$out/$VERSION/$sbom.new"
    replace "$out/$VERSION/$sbom"
    filled "$(keys "$public_keys")" >"$out/install.sh.new"
    replace "$out/install.sh"
    chmod 755 "$out/install.sh"
    case " $targets " in
        *' darwin-arm64 '*) make_formula "$out/releases.json" "$out/$VERSION/stigmer.rb.new" && replace "$out/$VERSION/stigmer.rb" ;;
        *) echo 'no formula: it needs the four Unix targets' ;;
    esac
    for file in "$out/$VERSION/$sbom" "$out/install.sh" "$out/$VERSION/stigmer.rb"; do
        [ -f "$file" ] || continue
        "$stigmer" bundle verify "$file" --public-key "$public_keys" >/dev/null 2>&1 || "$stigmer" bundle sign "$file" --key "$KEY"
        cp -p "$file" "$file.minisig" "$out/github/v$VERSION/"
    done
    echo "made:"
    (cd "$out" && find . -type f | LC_ALL=C sort)
}

# Puts FILE.new in the place of FILE, unless they are the same: then its signature stays, too.
replace() { if cmp -s "$1.new" "$1"; then rm "$1.new"; else rm -f "$1.minisig" && mv "$1.new" "$1"; fi; }

# install.sh with the keys that it trusts and the place that it asks.
filled() {
    KEYS=$1 BASE=$base awk '
        /^release_keys=/ { print "release_keys='\''" ENVIRON["KEYS"] "'\''"; next }
        /^default_url=/ { print "default_url='\''" ENVIRON["BASE"] "'\''"; next }
        { print }' install.sh
}

# make_formula LISTING OUT
make_formula() { "${PYTHON:-python3}" packaging/formula.py --version "$VERSION" --listing "$1" --base "$base" --out "$2"; }

# From what is published, after its signature was checked.
formula() {
    need_version
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for file in releases.json releases.json.minisig; do
        curl --fail --silent --show-error --location --output "$work/$file" "$base/$file"
    done
    checked_listing "$work/releases.json"
    make_formula "$work/releases.json" formula/stigmer.rb
    echo "formula/stigmer.rb is that of $VERSION"
}

# signed FILE COMMENT [KEYS]: minisign, with any of the keys.
signed() {
    for key in $(keys "${3:-$public_keys}"); do
        said=$(minisign -VQ -P "$key" -m "$1" 2>/dev/null) || continue
        [ "$said" = "$2" ] || fail "the signature of \`$1\` was made for \`$said\`, not for \`$2\`"
        return 0
    done
    fail "\`$1\` is not signed by a key in \`${3:-$public_keys}\`"
}
checked_listing() { signed "$1" 'stigmer listing'; }

check() {
    need_version
    command -v minisign >/dev/null || fail 'minisign is not here (Debian: minisign)'
    flat=$out/github/v$VERSION
    for listing in "$out/releases.json" "$flat/releases.json"; do
        checked_listing "$listing"
    done
    for sums in "$out/$VERSION/SHA256SUMS" "$flat/SHA256SUMS"; do
        signed "$sums" "stigmer $VERSION checksums"
    done
    (cd "$flat" && sha256sum --quiet --check SHA256SUMS)
    for target in $targets; do
        signed "$flat/stigmer-$VERSION-$target.index.json" "stigmer $VERSION $target index"
        "$stigmer" bundle verify "$flat/stigmer-$VERSION-$target.index.json" --public-key "$public_keys" >/dev/null
        "$stigmer" bundle verify "$flat/stigmer-$VERSION-$target$(suffix "$target")" >/dev/null
    done
    for file in "$out/install.sh" "$out/$VERSION/stigmer-$VERSION.cdx.json" "$out/$VERSION/stigmer.rb"; do
        [ ! -f "$file" ] || signed "$file" "file:$(basename "$file")"
    done
    echo 'ok: every signature, every checksum'
    tools=$(sh packaging/tools.sh)
    schema=$("$tools/python" -c 'import cyclonedx.schema, os; print(os.path.dirname(cyclonedx.schema.__file__))')/_res/bom-1.6.SNAPSHOT.schema.json
    "$tools/check-jsonschema" --schemafile "$schema" "$out/$VERSION/stigmer-$VERSION.cdx.json"
    echo 'ok: the bill of materials'

    case " $targets " in *" $own "*) ;; *) return 0 ;; esac
    work=$(mktemp -d)
    # A static host without ranges, as plain as can be.
    "${PYTHON:-python3}" -u -c '
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_address[1])
server.serve_forever()' "$out" >"$work/port" 2>/dev/null &
    web=$!
    trap 'kill $web 2>/dev/null; chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
    until [ -s "$work/port" ]; do kill -0 $web || fail 'no host on this machine'; sleep 0.1; done
    here=http://127.0.0.1:$(cat "$work/port")
    keys "$public_keys" >"$work/keys"
    mkdir "$work/home"
    curl --fail --silent --show-error "$here/install.sh" | env -u STIGMER_HOME HOME="$work/home" STIGMER_RELEASES_URL="$here" \
        sh -s -- --version "$VERSION" --require-signature
    installed=$work/home/.local/bin/stigmer
    case $("$installed" --version) in "stigmer $VERSION "*) ;; *) fail 'what was installed is another version' ;; esac
    echo 'ok: install.sh'

    if ! command -v ruby >/dev/null; then
        echo 'not checked: the formula, as ruby is not here (Debian: ruby)'
    elif [ -f "$out/$VERSION/stigmer.rb" ]; then
        ruby -c "$out/$VERSION/stigmer.rb" >/dev/null
        sed "s|$base/|$here/|" "$out/$VERSION/stigmer.rb" >"$work/stigmer.rb"
        env -u STIGMER_HOME HOME="$work/home" PLAY_AS="$own" ruby tests/brew/play.rb "$work/stigmer.rb" "$work/brew" >"$work/said" 2>&1 ||
            { cat "$work/said" >&2; fail 'the formula does not install'; }
        echo 'ok: the formula, played'
    fi

    # An older version of the same program: the same bytes, with another version of the same length in them.
    older=$(printf '%s' "$VERSION" | tr '1-9' '0')
    bare=$carriers/$own/stigmer
    if [ "$older" = "$VERSION" ] || [ ! -f "$bare" ]; then
        echo 'not checked: self-update, as there is nothing older'
        return 0
    fi
    "${PYTHON:-python3}" -c 'import sys; a, b, old, new = sys.argv[1:]; open(b, "wb").write(open(a, "rb").read().replace(new.encode(), old.encode()))' \
        "$bare" "$work/bare" "$older" "$VERSION"
    "$stigmer" bundle extract --component agent-runner --to "$work/tree" "$flat/stigmer-$VERSION-$own" >/dev/null
    mkdir "$work/older"
    "$stigmer" bundle pack --level 1 --no-self-check --base "$work/bare" --component "agent-runner=$work/tree" --out "$work/older/stigmer"
    mkdir "$work/updated"
    printf '[update]\nurl = "%s"\nchannel = "%s"\ntrusted_keys = [%s]\n' "$here" "$channel" \
        "$(sed 's/.*/"&"/' "$work/keys" | paste -sd, -)" >"$work/updated/config.toml"
    STIGMER_HOME=$work/updated "$work/older/stigmer" self-update
    case $("$work/older/stigmer" --version) in "stigmer $VERSION "*) ;; *) fail 'self-update made another version' ;; esac
    cmp "$work/older/stigmer" "$flat/stigmer-$VERSION-$own"
    STIGMER_HOME=$work/updated "$work/older/stigmer" self-update --rollback
    echo 'ok: self-update, and back'
}

dry() {
    need_version
    notes >/dev/null
    out=build/release-dry/public
    dir=$PWD/build/release-dry
    rm -rf "$dir"
    mkdir -p "$dir"
    command -v minisign >/dev/null || fail 'minisign is not here (Debian: minisign)'
    minisign -G -W -s "$dir/throw-away.key" -p "$dir/throw-away.key.pub" >/dev/null
    public_keys=$dir/throw-away.key.pub
    keys "$public_keys" >"$dir/keys"
    public_keys=$dir/keys listing_keys=$dir/keys KEY=$dir/throw-away.key
    export STIGMER_RELEASE_KEYS="$public_keys" DRY=yes KEY
    carriers
    publish
    check
    rm "$KEY"
    echo "a dry run: $out is what would be uploaded; its key is gone"
}

# A draft is seen by nobody; it is published when it is whole. An immutable release cannot be mended after that.
github() {
    need_version
    flat=$out/github/v$VERSION
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    notes >"$work/notes"
    set -- --repo "$github" --draft --title "stigmer $VERSION" --verify-tag --notes-file "$work/notes"
    [ "$channel" = stable ] || set -- "$@" --prerelease
    gh release view "v$VERSION" --repo "$github" >/dev/null 2>&1 || gh release create "v$VERSION" "$@"
    gh release upload "v$VERSION" --repo "$github" --clobber "$flat"/*
    gh release edit "v$VERSION" --repo "$github" --draft=false
}

host() {
    packaging/upload.sh "$out" "${UPLOAD_TO:?https://… or s3://…}"
}

# The formula into the tap: a clone of it, one commit, a push. TAP is an address that git can push to.
tap() {
    need_version
    [ "$channel" = stable ] || { echo "no formula for a pre-release"; return 0; }
    [ -f "$out/$VERSION/stigmer.rb" ] || fail "there is no \`$out/$VERSION/stigmer.rb\`"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    if [ -n "${TAP_TOKEN:-}" ]; then
        # shellcheck disable=SC2016 # for the script
        printf '#!/bin/sh\ncase $1 in Username*) echo x-access-token ;; *) echo "$TAP_TOKEN" ;; esac\n' >"$work/askpass"
        chmod 700 "$work/askpass"
        export GIT_ASKPASS="$work/askpass" TAP_TOKEN GIT_TERMINAL_PROMPT=0
    fi
    git clone --quiet --depth 1 "${TAP:?the address of the tap}" "$work/tap"
    mkdir -p "$work/tap/Formula"
    cp "$out/$VERSION/stigmer.rb" "$work/tap/Formula/stigmer.rb"
    git -C "$work/tap" add Formula/stigmer.rb
    if git -C "$work/tap" diff --cached --quiet; then
        echo 'the tap has it already'
    else
        git -C "$work/tap" -c user.name="${TAP_USER:-stigmer}" -c user.email="${TAP_MAIL:-releases@stigmer.ai}" commit --quiet -m "stigmer $VERSION"
        git -C "$work/tap" push --quiet origin HEAD
        echo "the tap has $VERSION"
    fi
}

# What carries files between machines drops their permissions.
[ ! -f "$stigmer" ] || [ -x "$stigmer" ] || chmod 755 "$stigmer"
case $step in
    version | freeze | carriers | sign | publish | check | formula | github | host | tap | dry) "$step" ;;
    continue) continue_listing ;;
    try) try "${2:-}" ;;
    unpack) unpack "${2:-}" ;;
    *)
        sed -n '2,/^set -eu/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2
        exit 2
        ;;
esac
