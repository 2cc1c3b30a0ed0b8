"""Which model is asked, and who offers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agent_runner.errors import RunnerError

Provider = Literal["anthropic", "openai", "ollama"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
KEY_VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
OLLAMA_DEFAULT = "http://127.0.0.1:11434"


@dataclass(frozen=True)
class ModelSpec:
    """Which model an agent talks to. Keys are not part of it, so it can be logged."""

    provider: Provider
    model: str
    base_url: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None

    @classmethod
    def of(
        cls,
        provider: str,
        model: str,
        base_url: str | None = None,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> ModelSpec:
        """A spec from what a person wrote."""
        if provider not in PROVIDERS:
            raise RunnerError(f"unknown provider {provider!r}", f"use one of: {', '.join(PROVIDERS)}")
        if not model:
            raise RunnerError("no model is named", "give one with --model")
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise RunnerError(f"base URL {base_url!r} is not an http or https address")
        return cls(provider, model, base_url, max_tokens, temperature)
