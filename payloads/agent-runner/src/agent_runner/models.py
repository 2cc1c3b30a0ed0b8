"""Which model is asked, and who offers it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

from agent_runner.errors import RunnerError

Provider = Literal["anthropic", "openai", "ollama"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
KEY_VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "ollama": "OLLAMA_API_KEY"}
_USUAL_ADDRESSES = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "ollama": "http://127.0.0.1:11434",
}
# What gives another one, the strongest first, as the providers' libraries have it.
_ADDRESS_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_URL", "ANTHROPIC_BASE_URL"),
    "openai": ("OPENAI_API_BASE", "OPENAI_BASE_URL"),
    "ollama": ("OLLAMA_HOST",),
}


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

    @property
    def address(self) -> str:
        """Where the provider is asked. It may have a password, so it is not for showing."""
        address = self.base_url or self._variable()[1] or _USUAL_ADDRESSES[self.provider]
        if self.provider == "anthropic" and address.rstrip("/").endswith("/v1"):
            # Its library adds the version itself; most other interfaces are given with it.
            return address.rstrip("/").removesuffix("/v1")
        return address

    @property
    def has_own_address(self) -> bool:
        """Whether somebody else may be answering than the provider itself."""
        return self.address.rstrip("/") != _USUAL_ADDRESSES[self.provider]

    @property
    def address_source(self) -> str | None:
        """What gave the address, in words for a person; None: nobody did, it is the usual one."""
        return "the base URL" if self.base_url else self._variable()[0]

    def _variable(self) -> tuple[str | None, str | None]:
        """The variable that gives an address, and the address."""
        for name in _ADDRESS_VARIABLES[self.provider]:
            if value := os.environ.get(name, "").strip():
                return name, value
        return None, None
