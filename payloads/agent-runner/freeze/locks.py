"""Reads lock files: which distributions, at which version, belong to the product and which only build it."""

from __future__ import annotations

import re
from pathlib import Path

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")


def normalize(name: str) -> str:
    """One spelling per distribution (PEP 503), because metadata and lock files differ in case and in `-_.`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> dict[str, str]:
    """Normalized name → pinned version. Hash lines, comments and markers are for pip, not for us."""
    pins: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _PIN.match(line)
        if match:
            pins[normalize(match["name"])] = match["version"]
    if not pins:
        raise ValueError(f"{path.name} pins nothing; write it again with build.py --lock")
    return pins
