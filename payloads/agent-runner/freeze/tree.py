"""Trees of files: their digest, their differences, their normal form, their size."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path


def describe(root: Path) -> dict[str, str]:
    """Relative path → kind, mode and content hash, for every file and link below `root`."""
    entries: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            entries[name] = f"link {os.readlink(path)}"
        elif path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            entries[name] = f"file {stat.S_IMODE(path.stat().st_mode):o} {content}"
    return entries


def digest(root: Path) -> str:
    """One hash over everything `describe` tells."""
    lines = "".join(f"{name}\0{entry}\n" for name, entry in describe(root).items())
    return hashlib.sha256(lines.encode()).hexdigest()


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two trees, one line per path."""
    left, right = describe(one), describe(other)
    return [
        f"{name}: {left.get(name, 'absent')} / {right.get(name, 'absent')}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]


def normalize(root: Path, executables: set[str]) -> None:
    """Gives every file the mode it needs, whatever the umask of the builder or the wheel said."""
    for path in [root, *root.rglob("*")]:
        if path.is_symlink():
            continue
        runnable = path.is_dir() or path.relative_to(root).as_posix() in executables
        path.chmod(0o755 if runnable else 0o644)


def size(root: Path) -> tuple[int, int]:
    """Number of files and their bytes."""
    sizes = [path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return len(sizes), sum(sizes)


def place(fresh: Path, target: Path) -> None:
    """Puts `fresh` where `target` is; both are on one file system. Nobody ever sees a half-written `target`."""
    retired = target.with_name(f".{target.name}.old")
    shutil.rmtree(retired, ignore_errors=True)
    if target.exists():
        target.rename(retired)
    fresh.rename(target)
    shutil.rmtree(retired, ignore_errors=True)
