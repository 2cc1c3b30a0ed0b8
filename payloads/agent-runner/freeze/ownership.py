"""Who owns which import name.

Two distributions that both install `multipart` work by accident in a plain directory and break once frozen, and the
error then names neither of them. So the build asks the question itself, from what each distribution says it
installed, before anything is frozen. The answer is also the list that the frozen runner later imports to check itself.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from freeze.locks import normalize

_EXTENSIONS = (".so", ".pyd")
_SOURCES = (".py", ".pyc")


class OwnershipError(Exception):
    """The set of distributions cannot be frozen as it is; the message says which and why."""


@dataclass(frozen=True)
class Distribution:
    """What we need to know of an installed distribution: its files, relative to the place it is installed in."""

    name: str
    version: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, order=True)
class Unit:
    """The highest importable thing with one owner: `httpx`, or `langgraph.graph` below a namespace."""

    name: str
    dist: str
    version: str


@dataclass
class _Claims:
    """What all distributions put below one dotted name."""

    modules: dict[Distribution, str] = field(default_factory=dict)
    packages: dict[Distribution, str] = field(default_factory=dict)
    children: dict[str, _Claims] = field(default_factory=lambda: defaultdict(_Claims))
    members: dict[Distribution, str] = field(default_factory=dict)

    def owners(self) -> dict[Distribution, str]:
        """Distribution → one file that shows the claim, the most telling file first."""
        return {**self.members, **self.packages, **self.modules}


def installed(site_packages: Path, pins: Mapping[str, str]) -> list[Distribution]:
    """The pinned distributions found in `site_packages`; a wrong version is an error, another platform's is skipped."""
    found: list[Distribution] = []
    for dist in importlib.metadata.distributions(path=[str(site_packages)]):
        name = normalize(dist.metadata["Name"])
        if name not in pins:
            continue
        if dist.version != pins[name]:
            raise OwnershipError(f"{name} is installed as {dist.version} but locked as {pins[name]}")
        if dist.files is None:
            raise OwnershipError(f"{name} {dist.version} does not record which files it installed")
        found.append(Distribution(name, dist.version, tuple(sorted(str(PurePosixPath(f)) for f in dist.files))))
    return sorted(found, key=lambda d: d.name)


def _module_name(filename: str) -> str | None:
    """The import name of a file: `jiter.cpython-311-x86_64-linux-gnu.so` → `jiter`. None when it is not a module."""
    stem, dot, _ = filename.partition(".")
    if not dot or not filename.endswith(_EXTENSIONS + _SOURCES):
        return None
    if filename.endswith(_SOURCES) and not stem.isidentifier():
        return None
    return stem


def _claims(dists: Iterable[Distribution]) -> _Claims:
    root = _Claims()
    for dist in dists:
        for path in dist.files:
            parts = PurePosixPath(path).parts
            if ".." in parts or "__pycache__" in parts or not parts:
                continue
            *folders, filename = parts
            name = _module_name(filename)
            if name is None or not all(folder.isidentifier() for folder in folders):
                continue
            node = root
            for folder in folders:
                node = node.children[folder]
                node.members.setdefault(dist, path)
            if name == "__init__":
                node.packages[dist] = path
            else:
                node.children[name].modules[dist] = path
    return root


def _walk(prefix: str, node: _Claims, units: list[Unit], problems: list[str]) -> None:
    for name, child in sorted(node.children.items()):
        dotted = f"{prefix}{name}"
        owners = child.owners()
        namespace = not child.packages and not child.modules
        if namespace:
            _walk(f"{dotted}.", child, units, problems)
        elif len(owners) > 1:
            claims = " and ".join(f"{dist} ({path})" for dist, path in sorted(owners.items(), key=lambda o: o[0].name))
            problems.append(
                f"import name {dotted!r} is owned by {len(owners)} distributions: {claims}. "
                "Frozen, one of them would hide the other. Drop one from the dependencies."
            )
        else:
            (owner,) = owners
            if not prefix and name in sys.stdlib_module_names:
                problems.append(f"import name {name!r} of {owner} hides the standard library's module of that name")
            units.append(Unit(dotted, owner.name, owner.version))


def units(dists: Iterable[Distribution]) -> list[Unit]:
    """Every unit of these distributions, sorted by name. Raises, naming each conflict, when a name has two owners."""
    found: list[Unit] = []
    problems: list[str] = []
    _walk("", _claims(dists), found, problems)
    if problems:
        raise OwnershipError("\n".join(problems))
    return sorted(found)
