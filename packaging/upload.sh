#!/bin/sh
# Puts a directory on a static host, so that nobody ever sees a listing that leads nowhere: what is listed goes first, releases.json last.
#
#   packaging/upload.sh DIR https://host/path     each file with PUT
#   packaging/upload.sh DIR s3://bucket/path      to an S3-compatible bucket (R2, MinIO, AWS)
#
#   UPLOAD_TOKEN                                  for PUT: sent as `Authorization: Bearer`, if set
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY      for S3; AWS_SESSION_TOKEN if there is one
#   S3_ENDPOINT                                   for S3: https://s3.REGION.amazonaws.com if not set; the bucket stands in the path
#   AWS_REGION                                    us-east-1 if not set; `auto` for R2
#
# No secret is ever an argument of a program. Only what curl brings is used (from 7.88 on, for --aws-sigv4 with headers).
# What lies in DIR/github is for GitHub and is left out.
set -eu

if [ $# != 2 ] || [ ! -d "$1" ]; then
    echo 'usage: packaging/upload.sh DIR https://host/path | s3://bucket/path' >&2
    exit 2
fi
dir=$1 to=${2%/}
case $to in
    https://* | http://127.0.0.1[:/]* | http://localhost[:/]*) base=$to ;;
    s3://*)
        : "${AWS_ACCESS_KEY_ID:?is not set}" "${AWS_SECRET_ACCESS_KEY:?is not set}"
        region=${AWS_REGION:-us-east-1}
        base=${S3_ENDPOINT:-https://s3.$region.amazonaws.com}
        base=${base%/}/${to#s3://}
        ;;
    *)
        echo "packaging/upload.sh: \`$to\` is neither https:// nor s3://; a plain http host would see the key" >&2
        exit 2
        ;;
esac

# quoted TEXT: for a file of curl's options.
quoted() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"; }

# The options that hold secrets, on standard output.
secrets() {
    case $to in
        s3://*)
            printf 'user = %s\n' "$(quoted "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY")"
            [ -z "${AWS_SESSION_TOKEN:-}" ] || printf 'header = %s\n' "$(quoted "x-amz-security-token: $AWS_SESSION_TOKEN")"
            ;;
        *) [ -z "${UPLOAD_TOKEN:-}" ] || printf 'header = %s\n' "$(quoted "Authorization: Bearer $UPLOAD_TOKEN")" ;;
    esac
}

# put NAME
put() {
    case $1 in
        *.json) type=application/json ;;
        *.sh | *.rb | *.minisig | */SHA256SUMS) type='text/plain; charset=utf-8' ;;
        *) type=application/octet-stream ;;
    esac
    # What has a version in its name never changes; the rest does, and must be asked for again.
    case $1 in
        */agent-runner.*) cache='no-cache' ;; # of a runner that is published by itself
        */SHA256SUMS* | */stigmer.rb*) cache='no-cache' ;; # these change when a target is added
        [0-9]*) cache='public, max-age=31536000, immutable' ;;
        *) cache='no-cache' ;;
    esac
    set -- "$1" --fail --silent --show-error --retry 3 --output /dev/null --upload-file "$dir/$1" \
        --header "Content-Type: $type" --header "Cache-Control: $cache"
    case $to in
        s3://*)
            sum=$(sha256sum <"$dir/$1")
            set -- "$@" --aws-sigv4 "aws:amz:$region:s3" --header "x-amz-content-sha256: ${sum%% *}"
            ;;
    esac
    name=$1
    shift
    secrets | curl --config - "$@" "$base/$name"
    echo "  $name"
}

echo "to $to" >&2
# In the directories of the releases first; then what stands beside the listing; then its signature; then the listing.
(cd "$dir" && find . -type f ! -path './github/*' ! -name 'releases.json*' | sed 's|^\./||' | LC_ALL=C sort) | awk '
    { if (index($0, "/")) print; else last[++n] = $0 }
    END { for (i = 1; i <= n; i++) print last[i] }' >"${TMPDIR:-/tmp}/stigmer-upload.$$"
trap 'rm -f "${TMPDIR:-/tmp}/stigmer-upload.$$"' EXIT
while read -r file; do
    put "$file"
done <"${TMPDIR:-/tmp}/stigmer-upload.$$"
for file in releases.json.minisig releases.json; do
    [ ! -f "$dir/$file" ] || put "$file"
done
