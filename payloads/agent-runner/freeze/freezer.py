"""From an environment to a finished tree: check ownership, freeze, complete, check from inside, place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from freeze import environment, licenses, locks, ownership, plan, tree
from freeze.ownership import Distribution

NAME = "agent-runner"
# A fixed time for everything that wants one; the tree must not know when it was built.
_EPOCH = "1700000000"
_SELF_CHECK_LIMIT = 120


class BuildError(Exception):
    """The tree cannot be built, or must not be used."""


def version(project: Path) -> str:
    """The version, from the project file; the package must say the same."""
    said = str(tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    if f'__version__ = "{said}"' not in (project / "src/agent_runner/__init__.py").read_text(encoding="utf-8"):
        raise BuildError(f"pyproject.toml says version {said}, src/agent_runner/__init__.py says another")
    return said


def inputs_digest(project: Path) -> str:
    """A hash of everything the tree is made from. Tests and documents are not among it."""
    digest = hashlib.sha256(
        f"{sys.version}\0{sys.platform}\0{os.uname().machine if os.name == 'posix' else ''}".encode()
    )
    files = [project / name for name in ("pyproject.toml", "agent-runner.spec", "build.py", *environment.LOCKS)]
    files += [path for folder in ("src", "freeze") for path in (project / folder).rglob("*.py")]
    for path in sorted(files):
        digest.update(f"{path.relative_to(project).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build(project: Path, work: Path, python: Path, out: Path) -> Path:
    """Builds the tree and places it at `out/agent-runner`. Nothing is placed unless every check has passed."""
    site = environment.site_packages(work / "venv")
    bundled, units, build_only = _examine(project, site)
    scratch = work / "freeze"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)

    modules_file = scratch / "bundled-modules.json"
    entries = [{"name": unit.name, "dist": unit.dist, "version": unit.version} for unit in units]
    modules_file.write_text(json.dumps({"schema": 1, "modules": entries}, indent=1) + "\n", encoding="utf-8")
    # The source is frozen from a copy: the freezer leaves nothing behind in the project.
    source = scratch / "src"
    shutil.copytree(project / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info"))
    plan.make(bundled, units, build_only, modules_file, source).save(scratch / "plan.json")

    fresh = _freeze(project, scratch, python)
    component = {"name": NAME, "version": version(project), "entrypoint": _entrypoint(), "self_check": ["--self-check"]}
    (fresh / "component.json").write_text(json.dumps(component) + "\n", encoding="utf-8")
    (fresh / licenses.FILE).write_text(licenses.text(site, {dist.name for dist in bundled}), encoding="utf-8")
    tree.normalize(fresh, {_entrypoint()})
    self_check(fresh)

    out.mkdir(parents=True, exist_ok=True)
    staged = out / f".{NAME}.new"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(fresh, staged, symlinks=True)
    tree.place(staged, out / NAME)
    return out / NAME


def self_check(root: Path) -> dict[str, Any]:
    """Has the frozen tree examine itself, with nothing in its environment. Raises unless it finds everything good."""
    begin = time.monotonic()
    kept = {name: value for name, value in os.environ.items() if os.name == "nt" and name.upper() == "SYSTEMROOT"}
    try:
        run = subprocess.run(
            [root / _entrypoint(), "--self-check"],
            env=kept, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SELF_CHECK_LIMIT, check=False,
        )  # fmt: skip
        report: dict[str, Any] = json.loads(run.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the self-check of the frozen tree cannot be run: {error}") from error
    except ValueError:
        log = run.stderr.decode(errors="replace")[-4000:]
        raise BuildError(f"the self-check printed no report, exit code {run.returncode}\n{log}") from None
    bad = [entry for entry in report["modules"] + report["checks"] if not entry["ok"]]
    if bad or run.returncode != 0 or not report["ok"]:
        lines = "\n".join(f"  {e['name']} ({e.get('dist', 'check')}): {e.get('error')}" for e in bad)
        raise BuildError(f"the self-check of the frozen tree failed, exit code {run.returncode}\n{lines}")
    spent = time.monotonic() - begin
    print(f"self-check: {len(report['modules'])} modules, {len(report['checks'])} checks, all good, {spent:.1f} s")
    return report


def _examine(project: Path, site: Path) -> tuple[list[Distribution], list[ownership.Unit], list[ownership.Unit]]:
    product = locks.read_lock(project / "requirements.lock")
    tools = locks.read_lock(project / "requirements-build.lock")
    bundled = ownership.installed(site, product)
    own = sorted(path.relative_to(project / "src").as_posix() for path in (project / "src").rglob("*.py"))
    itself = Distribution("stigmer-agent-runner", version(project), tuple(own))
    units = [unit for unit in ownership.units([*bundled, itself]) if unit.dist != itself.name]
    tool_units = ownership.units(ownership.installed(site, {n: v for n, v in tools.items() if n not in product}))
    print(f"ownership: {len(bundled)} distributions, {len(units)} import names, each with one owner")
    return bundled, units, tool_units


def _freeze(project: Path, scratch: Path, python: Path) -> Path:
    log = scratch / "pyinstaller.log"
    print(f"freeze: running PyInstaller, its log is {log}", flush=True)
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYINSTALLER"))},
        "AGENT_RUNNER_PLAN": str(scratch / "plan.json"),
        "PYTHONPATH": str(scratch / "src"),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": _EPOCH,
        "PYINSTALLER_CONFIG_DIR": str(scratch / "cache"),
        "LC_ALL": "C.UTF-8",
    }
    command = [python, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level", "INFO"]
    command += ["--distpath", scratch / "dist", "--workpath", scratch / "work", project / "agent-runner.spec"]
    with log.open("wb") as output:
        code = subprocess.run(
            list(map(str, command)), env=variables, cwd=scratch, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        raise BuildError(f"PyInstaller failed with exit code {code}:\n{tail}")
    return scratch / "dist" / NAME


def _entrypoint() -> str:
    return f"{NAME}.exe" if os.name == "nt" else NAME
