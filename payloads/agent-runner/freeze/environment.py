"""The virtual environment that the tree is frozen from: exactly what the lock files name, hash for hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

LOCKS = ("requirements.lock", "requirements-build.lock")
_STAMP = "locks.sha256"


def prepare(project: Path, folder: Path) -> Path:
    """Makes or reuses the environment in `folder` and returns its interpreter. Anything half made is made anew."""
    python = interpreter(folder)
    wanted = _fingerprint(project)
    stamp = folder / _STAMP
    if python.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        print(f"environment: as locked, reusing {folder}")
        return python
    print(f"environment: installing the locked distributions into {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    # No dependency resolution and no building: what is not locked, with its hash, as a wheel, does not get in.
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    install += ["--require-hashes", "--only-binary=:all:", "--no-compile"]
    for lock in LOCKS:
        install += ["-r", project / lock]
    subprocess.run(list(map(str, install)), check=True)
    stamp.write_text(wanted, encoding="ascii")
    return python


def interpreter(folder: Path) -> Path:
    """Where a virtual environment keeps its Python."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(folder: Path) -> Path:
    """Where a virtual environment keeps its distributions."""
    if os.name == "nt":
        return folder / "Lib" / "site-packages"
    return folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _fingerprint(project: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for lock in LOCKS:
        digest.update((project / lock).read_bytes())
    return digest.hexdigest()
