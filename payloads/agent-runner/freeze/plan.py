"""What goes into the tree and what stays out, with the reasons. Used by the specification, inside PyInstaller."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from freeze.ownership import Distribution, Unit

# Import parts of themselves by name at run time, so that no analysis of import statements can find them all.
WHOLE = (
    "langchain-anthropic",
    "langchain-core",
    "langchain-ollama",
    "langchain-openai",
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-prebuilt",
    "tiktoken",
)
# Parts found by name, of distributions that are otherwise well analysed.
EXTRA = ("anyio._backends._asyncio", "wsgiref.headers")

# Read their own version (or, opentelemetry, an entry point) from their metadata, beyond those the freezer knows.
WITH_METADATA = ("langchain-core", "langchain-ollama", "langsmith", "opentelemetry-api")

# Need a distribution that is not in the lock, or serve a test suite.
UNUSABLE = (
    "langchain_anthropic.middleware",
    "anyio.pytest_plugin",
    "pydantic.mypy",
    "pydantic.v1.mypy",
    "temporalio.testing",
)

# Parts of the standard library that no agent uses.
UNUSED = (
    "tkinter", "_tkinter", "idlelib", "lib2to3", "turtledemo", "turtle", "ensurepip", "venv", "test", "unittest.test",
    "pydoc_data", "curses", "_curses", "_curses_panel", "readline", "dbm", "_dbm", "_gdbm", "ossaudiodev", "nis",
    "audioop", "spwd", "xxlimited", "xxlimited_35", "_crypt", "distutils",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What the build found out and the specification needs."""

    hidden_imports: list[str]
    excludes: list[str]
    modules_file: str
    source: str

    def save(self, path: Path) -> None:
        """Writes it for the specification."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Reads what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def make(
    bundled: Iterable[Distribution], units: Iterable[Unit], build_only: Iterable[Unit], modules_file: Path, source: Path
) -> Plan:
    """The plan for these distributions. What only builds the tree is kept out of it by name."""
    hidden = {unit.name for unit in units} | set(EXTRA)
    for dist in bundled:
        if dist.name in WHOLE:
            hidden.update(modules(dist))
    hidden = {name for name in hidden if not any(name == bad or name.startswith(f"{bad}.") for bad in UNUSABLE)}
    excludes = {*UNUSED, *UNUSABLE, *(unit.name for unit in build_only)}
    return Plan(sorted(hidden), sorted(excludes), str(modules_file), str(source))


def modules(dist: Distribution) -> list[str]:
    """Every module of a distribution, from what it installed; nothing is imported to find out."""
    names = set()
    for path in map(PurePosixPath, dist.files):
        parts = path.with_suffix("").parts
        if path.suffix == ".py" and all(part.isidentifier() for part in parts):
            names.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(names - {""})


def defer_runtime_hooks(analysis: Any, expected: Iterable[str]) -> None:
    """Turns the freezer's start-up hooks into modules that the runner imports when it needs them (`frozen.py`)."""
    hooks = [(name, path, "PYMODULE") for name, path, _ in analysis.scripts if name.startswith("pyi_rth")]
    found = {name for name, _, _ in hooks}
    if found != set(expected):
        raise SystemExit(f"the start-up hooks are {sorted(found)}, but agent_runner.frozen names {sorted(expected)}")
    analysis.scripts[:] = [entry for entry in analysis.scripts if entry[0] not in found]
    analysis.pure.extend(hooks)


def keep_essential_metadata(analysis: Any) -> None:
    """Drops the metadata that no program reads; the licenses among it are collected elsewhere."""
    kept = []
    for entry in analysis.datas:
        folder, _, name = entry[0].replace("\\", "/").rpartition("/")
        if not folder.split("/")[0].endswith(".dist-info") or (name in ("METADATA", "entry_points.txt")):
            kept.append(entry)
    analysis.datas[:] = kept


def sort_tables(analysis: Any) -> None:
    """Puts the tables into an order that does not depend on the order of discovery."""
    for table in (analysis.pure, analysis.binaries, analysis.datas):
        table.sort(key=lambda entry: (entry[0], entry[2]))
