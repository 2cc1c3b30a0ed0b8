"""The libraries of agents are loaded in advance, and nothing waits for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner import rehearsal, warmup
from agent_runner.config import Config
from support.bench import Bench
from support.process import Runner, config_for
from support.server import FakeServer

# At a low priority on a busy machine it takes its time.
LONG = 180.0
LOADED = "loaded the libraries of agents"
CONFIG = Config(
    instance=None, server_url="http://127.0.0.1:1", token="t", work_dir="/", heartbeat_ms=20, environment={},
    settings={"executions": 1, "model": {"provider": "ollama", "name": "m"}},
)  # fmt: skip


def test_libraries_are_loaded_after_ready_while_heartbeats_go_on(
    runner: Runner, server: FakeServer, tmp_path: Path
) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    process.handshake()
    assert LOADED not in process.log()
    before = len(server.requests)
    process.wait_for_log(LOADED, LONG)
    assert len(server.requests) - before > 5


def test_what_was_loaded_in_advance_works(both: Bench) -> None:
    process = both.start()
    process.wait_for_log(LOADED, LONG)
    running = [both.run("echo", "hi", provider) for provider in ("anthropic", "openai", "ollama")]
    for execution in running:
        assert execution.wait().output == {"text": "You said: hi"}


def steps(monkeypatch: pytest.MonkeyPatch, *given: Callable[[], object]) -> None:
    monkeypatch.setattr(warmup, "_steps", lambda _config: iter(given))
    monkeypatch.setattr(warmup, "_lower_priority", lambda: None)


def test_an_execution_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    log: list[str] = []
    steps(monkeypatch, lambda: done.append(1), lambda: done.append(2), lambda: done.append(3))
    warmup.start(CONFIG, lambda: len(done) < 2, log.append).join()
    assert (done, log) == ([1, 2], [])


def test_a_library_that_cannot_be_loaded_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    def fail() -> None:
        raise ImportError("no such library")

    steps(monkeypatch, fail)
    warmup.start(CONFIG, lambda: True, log.append).join()
    assert log == ["cannot load the libraries of agents in advance: ImportError('no such library')"]


def test_the_provider_that_is_configured_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert warmup._in_order(CONFIG) == ["ollama", "openai", "anthropic"]


@pytest.mark.parametrize("provider", ["anthropic", "openai", "ollama"])
def test_a_rehearsal_goes_through_the_library_of_the_provider(provider: str) -> None:
    assert rehearsal.run(provider) == rehearsal.TEXT
    assert rehearsal.run(provider) == rehearsal.TEXT  # nothing is left of the first event loop
