"""Model providers. Each is imported on first use: one costs half a second, and most runs use one or none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from agent_runner.errors import RunnerError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Provider = Literal["anthropic", "openai", "ollama"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
OLLAMA_DEFAULT = "http://127.0.0.1:11434"
KEY_VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_LOOPBACK_NAMES = "127.0.0.1,localhost,::1"


@dataclass(frozen=True)
class ModelSpec:
    """Which model an agent talks to. Keys are not part of it, so it can be logged."""

    provider: Provider
    model: str
    base_url: str | None = None

    @classmethod
    def of(cls, provider: str, model: str, base_url: str | None = None) -> ModelSpec:
        """A spec from what a person typed."""
        if provider not in PROVIDERS:
            raise RunnerError(f"unknown provider {provider!r}", f"use one of: {', '.join(PROVIDERS)}")
        if not model:
            raise RunnerError("no model is named", "give one with --model")
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise RunnerError(f"base URL {base_url!r} is not an http or https address")
        return cls(provider, model, base_url)


def chat_model(spec: ModelSpec) -> BaseChatModel:
    """The chat model of `spec`, ready to be called. Opens no connection."""
    spare_loopback_from_proxies()
    return _MAKERS[spec.provider](spec)


def spare_loopback_from_proxies() -> None:
    """A proxy cannot reach what listens on this machine's loopback, so no provider may be asked to try."""
    for name in ("no_proxy", "NO_PROXY"):
        present = os.environ.get(name, "")
        if _LOOPBACK_NAMES not in present:
            os.environ[name] = f"{present},{_LOOPBACK_NAMES}" if present else _LOOPBACK_NAMES


def _anthropic(spec: ModelSpec) -> BaseChatModel:
    key = _key("anthropic")
    from langchain_anthropic import ChatAnthropic

    # The class accepts these names through aliases that its type does not show.
    return cast(Any, ChatAnthropic)(model=spec.model, api_key=key, streaming=True, **_base_url(spec))  # type: ignore[no-any-return]


def _openai(spec: ModelSpec) -> BaseChatModel:
    key = _key("openai")
    from langchain_openai import ChatOpenAI

    return cast(Any, ChatOpenAI)(model=spec.model, api_key=key, streaming=True, **_base_url(spec))  # type: ignore[no-any-return]


def _ollama(spec: ModelSpec) -> BaseChatModel:
    from langchain_ollama import ChatOllama

    return ChatOllama(model=spec.model, base_url=spec.base_url or os.environ.get("OLLAMA_HOST") or OLLAMA_DEFAULT)


_MAKERS = {"anthropic": _anthropic, "openai": _openai, "ollama": _ollama}


def _base_url(spec: ModelSpec) -> dict[str, str]:
    return {} if spec.base_url is None else {"base_url": spec.base_url}


def _key(provider: str) -> str:
    variable = KEY_VARIABLES[provider]
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RunnerError(f"there is no key for {provider}", f"set {variable} in the environment")
    return key


def explain(error: Exception, spec: ModelSpec) -> RunnerError | None:
    """The error of a provider's library as one a person can act on; None when it is not the provider's."""
    where = spec.base_url or (os.environ.get("OLLAMA_HOST") or OLLAMA_DEFAULT if spec.provider == "ollama" else None)
    place = f"{spec.provider} at {where}" if where else spec.provider
    # The three libraries share no base class, but they do share these names.
    if isinstance(error, ConnectionError) or type(error).__name__ in ("APIConnectionError", "ConnectError"):
        hint = "start it with 'ollama serve'" if spec.provider == "ollama" else "check the network and --base-url"
        return RunnerError(f"cannot reach {place}", hint)
    if type(error).__name__ in ("APITimeoutError", "ReadTimeout", "ConnectTimeout"):
        return RunnerError(f"{place} does not answer in time", "try again")
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return None
    if status in (401, 403) and spec.provider in KEY_VARIABLES:
        return RunnerError(f"{place} refuses the key", f"check {KEY_VARIABLES[spec.provider]}")
    if status == 404:
        hint = f"get it with 'ollama pull {spec.model}'" if spec.provider == "ollama" else "check --model"
        return RunnerError(f"{place} has no model {spec.model!r}", hint)
    if status == 429:
        return RunnerError(f"{place} says there are too many requests", "wait a moment and try again")
    return RunnerError(f"{place} failed with status {status}: {error}")
