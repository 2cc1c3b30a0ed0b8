#!/bin/sh
# Publishes an agent-runner by itself, so that others try it before a release carries it: `stigmer server --version NAME`.
#
#   VERSION=dev-test KEY=my.key UPLOAD_TO=s3://bucket/path packaging/upload-binary.sh       (make upload-binary VERSION=dev-test …)
#
#   VERSION     the name it is published under
#   KEY         the secret key that signs: `stigmer bundle keygen --out my.key`. Who shall run it trusts my.key.pub (config.toml: [update] trusted_keys)
#   UPLOAD_TO   https://… or s3://…: packaging/upload.sh says what it needs for either. Without it, what would be uploaded stays in OUT
#   TREE        the tree: dist/agent-runner if not set
#   STIGMER     a stigmer that runs here: target/release/stigmer if not set
#   OUT         build/runners if not set
set -eu
cd "$(dirname "$0")/.."
: "${VERSION:?says the name to publish it under, such as dev-test}"
: "${KEY:?names the secret key that signs; stigmer bundle keygen --out FILE makes one}"
out=${OUT:-build/runners}
# Of an earlier run, and nothing else: OUT may be a place that others use.
rm -rf "${out:?}/$VERSION"
"${STIGMER:-target/release/stigmer}" bundle publish-runner --name "$VERSION" --tree "${TREE:-dist/agent-runner}" --key "$KEY" --out "$out"
if [ -n "${UPLOAD_TO:-}" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp -R "$out/$VERSION" "$work/"
    packaging/upload.sh "$work" "$UPLOAD_TO"
    echo "others run it with: STIGMER_RELEASES_URL=… stigmer server --version $VERSION"
else
    echo "UPLOAD_TO is not set, so it stays in $out"
fi
