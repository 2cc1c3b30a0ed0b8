"""The self-check finds what is missing, what is elsewhere, and what reaches for the network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT

PROBE = """
import json, sys
from pathlib import Path
from agent_runner import checks, selfcheck
checks.ALL = ()
sys.path.insert(0, sys.argv[2])
print(json.dumps(selfcheck.run(Path(sys.argv[1]), Path(sys.argv[2]))))
"""


def run(folder: Path, names: list[str]) -> dict[str, Any]:
    """Runs the self-check on modules in `folder`, in a process of its own, because it changes the one it runs in."""
    listing = folder / "modules.json"
    listing.write_text(json.dumps({"modules": [{"name": n, "dist": f"{n}-dist"} for n in names]}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(listing), str(folder)],
        env={"PYTHONPATH": str(PROJECT / "src"), "SOME_VARIABLE": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def entry(folder: Path, source: str) -> dict[str, Any]:
    (folder / "probe.py").write_text(source, encoding="utf-8")
    report = run(folder, ["probe"])
    (found,) = report["modules"]
    assert report["ok"] is found["ok"]
    return dict(found)


def test_a_good_module_passes(tmp_path: Path) -> None:
    found = entry(tmp_path, "x = 1")
    assert (found["name"], found["dist"], found["ok"]) == ("probe", "probe-dist", True)
    assert found["ms"] >= 0


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(0)", "SystemExit"),
        ("open('/nonexistent/data')", "FileNotFoundError"),
        ("import socket; socket.create_connection(('example.org', 80))", "tried to use the network"),
        ("import socket; socket.socket().connect(('192.0.2.1', 80))", "tried to connect to 192.0.2.1"),
        ("import os; assert os.environ == {}, 'nothing'; os.environ['SOME_VARIABLE']", "KeyError: 'SOME_VARIABLE'"),
    ],
)
def test_a_bad_module_is_reported_with_its_error(tmp_path: Path, source: str, error: str) -> None:
    found = entry(tmp_path, source)
    assert found["ok"] is False
    assert error in found["error"]


def test_a_module_from_elsewhere_is_reported(tmp_path: Path) -> None:
    (found,) = run(tmp_path, ["json"])["modules"]
    assert found["ok"] is False
    assert "outside the tree" in found["error"]


def test_one_bad_module_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.py").touch()
    report = run(tmp_path, ["missing", "good"])
    assert [found["ok"] for found in report["modules"]] == [False, True]
    assert report["ok"] is False


def test_an_empty_list_is_not_good(tmp_path: Path) -> None:
    assert run(tmp_path, [])["ok"] is False
