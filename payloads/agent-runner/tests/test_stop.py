"""The process stops at once, and without a crash, whatever its threads are doing in the libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent_runner import process
from support.process import Process, Runner, config_for
from support.server import FakeServer

# Stands in for a library that is loaded first: the import never ends, and all the while native code is on its stack,
# between two lines of Python, as with an extension that runs Python to initialize itself. `Slow` keeps a finalization
# of the interpreter going until the importing thread has met it.
ENDLESS_LIBRARY = """
import sys, time
from pydantic_core import SchemaValidator, core_schema

class Slow:
    def __del__(self):
        time.sleep(30)

slow = Slow()

def load(_value):
    print("the import has begun", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.001)

SchemaValidator(core_schema.no_info_plain_validator_function(load)).validate_python(None)
"""


def start_with_endless_import(runner: Runner, server: FakeServer, place: Path) -> Process:
    libraries = place / "libraries"
    libraries.mkdir()
    (libraries / "pydantic.py").write_text(ENDLESS_LIBRARY, encoding="utf-8")
    path = os.pathsep.join([str(libraries), runner.environment["PYTHONPATH"]])
    started = runner.supervised(config_for(server.url, place / "work"), PYTHONPATH=path)
    assert started.handshake()["event"] == "ready"
    started.wait_for_log("the import has begun")
    return started


def test_a_library_that_is_being_loaded_neither_delays_nor_crashes_a_stop(
    source_runner: Runner, server: FakeServer, tmp_path: Path
) -> None:
    started = start_with_endless_import(source_runner, server, tmp_path)
    started.cut_lifeline()
    assert started.wait() == 0
    assert server.workers == set()


def test_an_execution_that_waits_for_a_library_is_interrupted_and_does_not_delay_a_stop(
    source_runner: Runner, server: FakeServer, tmp_path: Path
) -> None:
    started = start_with_endless_import(source_runner, server, tmp_path)
    execution = server.executions.add({"model": {"provider": "openai", "name": "m"}}, "hi")
    execution.wait_for_heartbeats(1)
    started.cut_lifeline()
    assert started.wait() == 0
    assert execution.wait().error is not None
    assert execution.error is not None
    assert execution.error["type"] == "interrupted"


def test_an_internal_error_is_in_the_log_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError) as raised:
        os.environ["NO_SUCH_VARIABLE"]
    assert process._conclude([raised.value], None) == 1
    log = capsys.readouterr().err
    assert "internal error: Traceback" in log
    assert "test_an_internal_error_is_in_the_log_with_its_place" in log
    assert "KeyError: 'NO_SUCH_VARIABLE'" in log
