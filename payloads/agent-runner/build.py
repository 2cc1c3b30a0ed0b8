#!/usr/bin/env python3
"""Builds the agent-runner tree. Needs Python 3.11 and, the first time, a package registry; the rest is locked."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
REPOSITORY = PROJECT.parents[1]
WORK = REPOSITORY / "build" / "agent-runner"
sys.dont_write_bytecode = True
sys.path.insert(0, str(PROJECT))

from freeze import environment, freezer, tree  # noqa: E402  (the path above makes it importable)
from freeze.ownership import OwnershipError  # noqa: E402

PYTHON = (3, 11)


def main() -> int:
    """Does what the flags say; without a mode it builds, or finds that there is nothing to do."""
    options = _parser().parse_args()
    if sys.version_info[:2] != PYTHON:
        wanted = ".".join(map(str, PYTHON))
        print(f"build.py: this is Python {sys.version.split()[0]}; run it with {wanted}", file=sys.stderr)
        return 2
    try:
        if options.lock:
            return _lock()
        if options.check_reproducible:
            return _check_reproducible()
        python = environment.prepare(PROJECT, WORK / "venv")
        if options.lint:
            return _lint(python)
        if options.test:
            return _test(python, options.out, options.pytest_arguments)
        return _build(python, options.out, force=options.force)
    except (OwnershipError, freezer.BuildError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"build.py: {Path(error.cmd[0]).name} failed with exit code {error.returncode}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--test", action="store_true", help="run the tests, from source and on the tree if it is built")
    modes.add_argument("--lint", action="store_true", help="run ruff and mypy")
    modes.add_argument("--lock", action="store_true", help="write the lock files anew (needs uv)")
    modes.add_argument("--check-reproducible", action="store_true", help="build twice, elsewhere, and compare")
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist", metavar="DIST_DIR",
                        help="the tree becomes DIST_DIR/agent-runner (default: dist/ of the repository)")  # fmt: skip
    parser.add_argument("pytest_arguments", nargs="*", metavar="-- PYTEST_ARGUMENT", help="with --test")
    return parser


def _build(python: Path, out: Path, *, force: bool) -> int:
    target = out.resolve() / freezer.NAME
    stamp = WORK / "built.json"
    inputs = freezer.inputs_digest(PROJECT)
    if not force and target.is_dir() and _read(stamp) == {"inputs": inputs, "tree": tree.digest(target)}:
        print(f"nothing to do: {target} is what these sources make")
        return 0
    begin = time.monotonic()
    freezer.build(PROJECT, WORK, python, out.resolve())
    stamp.write_text(json.dumps({"inputs": inputs, "tree": tree.digest(target)}), encoding="utf-8")
    files, size = tree.size(target)
    print(f"built {target}: {files} files, {size / 1e6:.1f} MB, {time.monotonic() - begin:.0f} s")
    return 0


def _read(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _test(python: Path, out: Path, arguments: list[str]) -> int:
    target = out.resolve() / freezer.NAME
    variables = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    if target.is_dir():
        variables["AGENT_RUNNER_TREE"] = str(target)
        print(f"testing the source and {target}", flush=True)
    else:
        print(f"testing the source; there is no {target}", flush=True)
    return subprocess.run([python, "-m", "pytest", *arguments], cwd=PROJECT, env=variables, check=False).returncode


def _lint(python: Path) -> int:
    cache = ["--cache-dir", str(WORK / "lint")]
    commands = (["ruff", "check", *cache, "."], ["ruff", "format", *cache, "--check", "."], ["mypy", *cache])
    return max(subprocess.run([python, "-m", *each], cwd=PROJECT, check=False).returncode for each in commands)


def _lock() -> int:
    """One lock for every platform, with every hash; where the files come from is the installer's setting, not ours."""
    uv = shutil.which("uv")
    if uv is None:
        print("build.py: --lock needs the tool uv on the PATH", file=sys.stderr)
        return 1
    common = [uv, "pip", "compile", "--quiet", "--no-config", "--universal", "--python-version", "3.11",
              "--generate-hashes", "--custom-compile-command",
              "python3 payloads/agent-runner/build.py --lock"]  # fmt: skip
    subprocess.run([*common, "pyproject.toml", "-o", "requirements.lock"], cwd=PROJECT, check=True)
    extra = ["--group", "build", "-c", "requirements.lock", "-o", "requirements-build.lock"]
    subprocess.run([*common, *extra], cwd=PROJECT, check=True)
    return 0


def _check_reproducible() -> int:
    """Copies the project to two places, has each build itself from nothing, and compares every byte and mode."""
    base = WORK / "reproducible"
    shutil.rmtree(base, ignore_errors=True)
    places = [base / "one", base / "the other place"]
    for place in places:  # both copies before the first build, which takes long enough for an edit
        shutil.copytree(
            PROJECT, place / "payloads" / PROJECT.name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache")
        )
    for place in places:
        print(f"--- building in {place}", flush=True)
        subprocess.run([sys.executable, str(place / "payloads" / PROJECT.name / "build.py")], check=True)
    trees = [place / "dist" / freezer.NAME for place in places]
    found = tree.differences(*trees)
    for line in found:
        print(line)
    print(f"not reproducible: {len(found)} differences" if found else f"reproducible: {tree.digest(trees[0])}")
    if not found:
        shutil.rmtree(base)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
