"""Executions from lease to answer: the runner as a process, a strict server, providers that stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fake_provider import FakeProvider
from support.leases import Execution
from support.process import Process, Runner, config_for
from support.server import FakeServer

PROVIDERS = ("anthropic", "openai", "ollama")
KEYS = {"ANTHROPIC_API_KEY": "sk-ant-0815-4711", "OPENAI_API_KEY": "sk-openai-0815-4711"}


@pytest.fixture
def models() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


class Bench:
    """A runner that works for a server, on models that are faked."""

    def __init__(self, runner: Runner, server: FakeServer, models: FakeProvider, work: Path) -> None:
        self.runner, self.server, self.models, self.work = runner, server, models, work

    def start(self, **changes: Any) -> Process:
        config = config_for(self.server.url, self.work, **({"environment": KEYS} | changes))
        process = self.runner.supervised(config)
        assert process.handshake()["event"] == "ready"
        return process

    def model(self, name: str, provider: str = "openai", **more: Any) -> dict[str, Any]:
        url = f"{self.models.url}/v1" if provider == "openai" else self.models.url
        return {"provider": provider, "name": name, "base_url": url} | more

    def run(self, model: str, message: str = "hi", provider: str = "openai", **spec: Any) -> Execution:
        """Something to do for a model of this name."""
        more = {key: spec.pop(key) for key in ("history", "input") if key in spec}
        return self.server.executions.add({"model": self.model(model, provider), **spec}, message, **more)


@pytest.fixture
def bench(runner: Runner, server: FakeServer, models: FakeProvider, tmp_path: Path) -> Bench:
    return Bench(runner, server, models, tmp_path / "work")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_message_is_answered_and_everything_is_reported(bench: Bench, provider: str) -> None:
    execution = bench.run("echo", "Grüße, 世界 🌍", provider, instructions="be brief")
    bench.start()
    execution.wait()
    assert (execution.phase, execution.error) == ("COMPLETED", None)
    assert execution.output == {"text": "You said: Grüße, 世界 🌍"}
    assert execution.said() == execution.output["text"]
    assert execution.all("message") == [{"id": "m-1", "role": "assistant", "text": execution.output["text"]}]
    counts = [(usage["input_tokens"], usage["output_tokens"]) for usage in execution.all("usage")]
    assert counts == [(11, 7)]
    (asked,) = bench.models.requests
    assert asked.provider == provider
    assert asked.messages == [("system", "be brief"), ("user", "Grüße, 世界 🌍")]
