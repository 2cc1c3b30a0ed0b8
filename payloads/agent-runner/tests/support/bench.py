"""A runner that works for a server as strict as the real one, on models that are faked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.fake_provider import FakeProvider
from support.leases import Execution
from support.process import Process, Runner, config_for
from support.server import FakeServer

PROVIDERS = ("anthropic", "openai", "ollama")
KEYS = {"ANTHROPIC_API_KEY": "sk-ant-0815-4711", "OPENAI_API_KEY": "sk-openai-0815-4711"}


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
