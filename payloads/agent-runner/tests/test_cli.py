"""The command line, and what the start path may not import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_runner import frozen
from conftest import PROJECT
from support.process import Runner, config_for
from support.server import PATIENCE, FakeServer

HEAVY = {
    "langchain_core",
    "langgraph",
    "temporalio",
    "httpx",
    "pydantic",
    "asyncio",
    "ssl",
    "email",
    "http",
    "argparse",
}


def test_version(runner: Runner) -> None:
    done = runner.run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "agent-runner 0.1.0\n", "")


def test_help_names_every_command(runner: Runner) -> None:
    done = runner.run("--help")
    assert done.returncode == 0
    for word in ("--supervised", "--server", "--token-file", "--work-dir", "--heartbeat-ms", "ask", "--self-check"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "missing: --server, --token-file, --work-dir"),
        (["--bogus"], "unexpected argument '--bogus'"),
        (["serve"], "unexpected argument 'serve'"),
        (["--supervised", "--server", "x"], "unexpected argument '--supervised'"),
        (["--version", "x"], "unexpected argument '--version'"),
        (["--server"], "--server needs a value"),
        (["--server=a", "--server=b"], "--server is given twice"),
        (["--server=a", "--token-file=b", "--work-dir=c", "--heartbeat-ms=x"], "--heartbeat-ms takes a whole number"),
        (["--server=a", "--token-file=/nonexistent/t", "--work-dir=c"], "cannot read the token file /nonexistent/t"),
        (["ask", "--provider", "ollama"], "required"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(runner: Runner, arguments: list[str], says: str) -> None:
    done = runner.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_server_is_a_config_error(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("token", encoding="utf-8")
    done = runner.run("--server=http://10.0.0.1:1", f"--token-file={tmp_path / 't'}", f"--work-dir={tmp_path}")
    assert done.returncode == 78
    assert "not on this machine" in done.stderr


def imported(log: str) -> set[str]:
    """The top-level names in what `-X importtime` printed."""
    return {name.split(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", log, re.MULTILINE)}


def test_the_way_to_ready_imports_nothing_heavy(server: FakeServer, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-S", "-m", "agent_runner", "--supervised"]
    line = json.dumps(config_for(server.url, tmp_path)).encode() + b"\n"
    done = subprocess.run(
        command, input=line, env={"PYTHONPATH": str(PROJECT / "src")}, capture_output=True, timeout=PATIENCE, check=True
    )
    names = imported(done.stderr.decode())
    # The lifeline is cut at once, so either answer is right; what counts is that the whole path was walked.
    assert {"agent_runner", "json", "socket"} <= names
    assert names & HEAVY == set()


def test_version_imports_almost_nothing() -> None:
    command = [sys.executable, "-X", "importtime", "-S", "-m", "agent_runner", "--version"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(PROJECT / "src")}, capture_output=True, timeout=PATIENCE, check=True
    )
    assert imported(done.stderr.decode()) & (HEAVY | {"json", "socket", "threading", "typing", "dataclasses"}) == set()


def test_what_the_loader_put_into_the_environment_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_MEIPASS", "/tree", raising=False)
    for name, value in {"LD_LIBRARY_PATH": "/tree", "LD_LIBRARY_PATH_ORIG": "/own", "_PYI_ARCHIVE_FILE": "x"}.items():
        monkeypatch.setenv(name, value)
    frozen.clean_environment()
    assert os.environ["LD_LIBRARY_PATH"] == "/own"
    assert not {"LD_LIBRARY_PATH_ORIG", "_PYI_ARCHIVE_FILE"} & os.environ.keys()


def test_from_source_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    frozen.clean_environment()
    assert os.environ["LD_LIBRARY_PATH"] == "/own"
