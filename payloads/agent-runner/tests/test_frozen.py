"""What only the frozen tree can show: it works from anywhere, changes nothing, and carries what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT, frozen_tree
from freeze import freezer, locks, tree
from support.process import Process, config_for
from support.server import PATIENCE, FakeServer

TREE = frozen_tree()
pytestmark = pytest.mark.skipif(TREE is None, reason="AGENT_RUNNER_TREE is not set")
posix = pytest.mark.skipif(os.name != "posix", reason="needs symbolic links and modes")


def the_tree() -> Path:
    assert TREE is not None
    return TREE


def component() -> dict[str, Any]:
    described: dict[str, Any] = json.loads((the_tree() / "component.json").read_text(encoding="utf-8"))
    return described


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *arguments], env={}, capture_output=True, timeout=60, check=False)


def test_the_description_fits_the_tree() -> None:
    described = component()
    assert described == {
        "name": "agent-runner",
        "version": freezer.version(PROJECT),
        "entrypoint": described["entrypoint"],
        "self_check": ["--self-check"],
    }
    assert os.access(the_tree() / described["entrypoint"], os.X_OK)


def test_the_self_check_covers_every_locked_distribution() -> None:
    report = freezer.self_check(the_tree())
    checked = {entry["dist"] for entry in report["modules"]}
    # One is stubs only, and one is for another platform.
    assert set(locks.read_lock(PROJECT / "requirements.lock")) - checked == {"types-protobuf", "httpx2-jsfetch"}
    assert {"tiktoken_ext.openai_public", "langgraph.graph", "langgraph.checkpoint.base", "google.protobuf"} <= {
        entry["name"] for entry in report["modules"]
    }


def test_a_damaged_tree_fails_its_self_check(tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(the_tree(), copy, symlinks=True)
    (native,) = (copy / "_internal" / "temporalio").rglob("temporal_sdk_bridge*")
    native.unlink()
    with pytest.raises(freezer.BuildError, match=r"temporal_bridge \(check\)"):
        freezer.self_check(copy)


def test_the_self_check_prints_one_object_and_nothing_else() -> None:
    done = run(the_tree() / component()["entrypoint"], "--self-check")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True


@posix
def test_it_works_from_a_strange_place_through_a_link_and_writes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "ein Ort – 場所" / "tree"
    shutil.copytree(the_tree(), place, symlinks=True)
    link = tmp_path / "bin dir" / "agent-runner"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(place / "agent-runner", link.parent))
    folders = [place, *(path for path in place.rglob("*") if path.is_dir())]
    for path in place.rglob("*"):
        path.chmod(0o555 if path.is_dir() or path.name == "agent-runner" else 0o444)
    place.chmod(0o555)
    before = tree.digest(place)
    try:
        assert json.loads(run(link, "--self-check").stdout)["ok"] is True
        with FakeServer() as server:
            process = Process([str(link), "--supervised"], {}, tmp_path)
            process.send(config_for(server.url, tmp_path / "work"))
            assert process.handshake()["event"] == "ready"
            process.cut_lifeline()
            assert process.wait() == 0
            process.end()
        assert tree.digest(place) == before  # also when the tests run as root, whom modes do not stop
    finally:
        for path in folders:
            path.chmod(0o755)


@posix
def test_the_path_finds_it_as_well_as_a_path_does(tmp_path: Path) -> None:
    (tmp_path / "agent-runner").symlink_to(the_tree() / "agent-runner")
    done = subprocess.run(
        ["agent-runner", "--version"],
        env={"PATH": str(tmp_path)},
        cwd="/",
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == b"agent-runner 0.1.0\n"


def test_a_hostile_python_environment_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(99)", encoding="utf-8")
    variables = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py")}
    done = subprocess.run(
        [the_tree() / "agent-runner", "--self-check"],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_tree_does_not_know_where_it_was_built() -> None:
    marks = [str(PROJECT).encode(), sys.prefix.encode(), str(PROJECT.parents[1]).encode()]
    for path in the_tree().rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(mark in data for mark in marks), path


def test_no_tool_of_the_build_is_in_the_tree() -> None:
    inside = {path.name.partition(".")[0].partition("-")[0].lower() for path in (the_tree() / "_internal").iterdir()}
    assert inside & {"pytest", "ruff", "mypy", "setuptools", "pyinstaller", "pip"} == set()
    archive = (the_tree() / component()["entrypoint"]).read_bytes()
    assert b"_pytest" + b"/main.py" not in archive
    assert b"mypy" + b"/build.py" not in archive


def test_it_stays_within_its_size() -> None:
    files, size = tree.size(the_tree())
    assert files < 200
    assert size < 120_000_000


def test_our_own_code_stands_beside_the_archive() -> None:
    own = {path.stem for path in (the_tree() / "_internal" / "agent_runner").glob("*.pyc")}
    assert own == {path.stem for path in (PROJECT / "src" / "agent_runner").glob("*.py")} - {"__main__"}
    assert b"DRAIN_LIMIT" not in (the_tree() / component()["entrypoint"]).read_bytes()
