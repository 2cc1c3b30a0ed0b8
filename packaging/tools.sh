#!/bin/sh
# Makes the tools of other people that check what we write, pinned by hash, and prints the directory of their programs: build/lint/bin.
# Made anew when the list changes.
set -eu

cd "$(dirname "$0")/.."
if ! cmp -s packaging/lint.lock build/lint/lint.lock; then
    rm -rf build/lint
    mkdir -p build
    "${PYTHON:-python3}" -m venv build/lint
    # Without dependencies of their own choice, and never from a source that runs while it is installed.
    build/lint/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r packaging/lint.lock
    cp packaging/lint.lock build/lint/lint.lock
fi
echo "$PWD/build/lint/bin"
