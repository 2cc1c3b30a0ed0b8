#!/bin/sh
# Whether this machine is of that platform, which is where an agent-runner for it can be built.
#
#   packaging/own-platform.sh [PLATFORM [ARCH]]      linux, darwin or windows; amd64 or arm64
set -eu
case $(uname -s) in Linux) system=linux ;; Darwin) system=darwin ;; *) system=windows ;; esac
case $(uname -m) in x86_64 | amd64) machine=amd64 ;; *) machine=arm64 ;; esac
if [ "${1:-$system}-${2:-$machine}" != "$system-$machine" ]; then
    echo "an agent-runner for ${1:-$system}-${2:-$machine} cannot be built on $system-$machine: PyInstaller freezes for the system that it runs on." >&2
    echo "  hint: the release workflow builds it on a machine of its own (packaging/release.sh freeze); run this there" >&2
    exit 1
fi
