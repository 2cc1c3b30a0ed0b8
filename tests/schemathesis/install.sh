#!/bin/sh
# Installs schemathesis, which tests the API against its description, into build/schemathesis and prints the path of the program.
#
#   tests/schemathesis/install.sh           install what requirements.lock names, if it is not there
#   tests/schemathesis/install.sh --lock    write requirements.lock anew (needs uv)
set -eu

cd "$(dirname "$0")/../.."
here=tests/schemathesis
if [ "${1:-}" = --lock ]; then
    exec uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --custom-compile-command "$here/install.sh --lock" "$here/requirements.in" -o "$here/requirements.lock"
fi
venv=build/schemathesis
if ! cmp -s "$here/requirements.lock" "$venv/installed"; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: \
        -r "$here/requirements.lock" >&2
    cp "$here/requirements.lock" "$venv/installed"
fi
echo "$PWD/$venv/bin/schemathesis"
