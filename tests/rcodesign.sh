#!/bin/sh
# Makes build/tools/bin/rcodesign, which checks Mach-O signatures without knowing anything of this project. It is a large build
# (some minutes of both cores) and happens once; what it does must be right, not fast, so it is not optimized.
set -eu
cd "$(dirname "$0")/.."
version=0.29.0
tool=build/tools/bin/rcodesign
if [ -x "$tool" ] && [ "$("$tool" --version)" = "apple-codesign $version" ]; then
    exit 0
fi
echo "building rcodesign $version"
CARGO_TARGET_DIR=build/tools/target CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 \
    "${CARGO:-cargo}" install --debug --locked --no-default-features --version "$version" --root build/tools ${CROSS_JOBS:+--jobs "$CROSS_JOBS"} \
    --config 'profile.dev.package.sha2.opt-level=3' apple-codesign
rm -rf build/tools/target
