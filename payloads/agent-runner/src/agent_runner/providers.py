"""Model providers. Each is imported on first use: one costs half a second, and most runs use one or none."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, cast

from agent_runner import problems
from agent_runner.models import KEY_VARIABLES, ModelSpec

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

# Seconds until a connection stands, and between two signs of life. A model that is loaded first can be silent for long.
CONNECT_TIMEOUT = 20.0
SILENCE_TIMEOUT = 300.0
_LOOPBACK_NAMES = "127.0.0.1,localhost,::1"
# Whoever offers a provider's interface without asking for a key still has to be sent something in its place.
_NO_KEY_NEEDED = "none"


# Several imports at once would only wait for each other, module by module.
_importing = threading.Lock()


def chat_model(spec: ModelSpec) -> BaseChatModel:
    """The chat model of `spec`, ready to be called. Opens no connection, and asks only once."""
    with _importing:
        spare_loopback_from_proxies()
        return _MAKERS[spec.provider](spec)


def bound(model: BaseChatModel, spec: ModelSpec, tools: list[Any]) -> Runnable[Any, Any]:
    """The model with its tools and time limits. A model without tools is told of none: several refuse an empty list."""
    settings: dict[str, Any] = {}
    if spec.provider == "anthropic":
        import anthropic

        # The model itself takes one number, for connecting as well.
        settings["timeout"] = anthropic.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT)
    return model.bind_tools(tools, **settings) if tools else model.bind(**settings)


def spare_loopback_from_proxies() -> None:
    """A proxy cannot reach what listens on this machine's loopback, so no provider may be asked to try."""
    for name in ("no_proxy", "NO_PROXY"):
        present = os.environ.get(name, "")
        if _LOOPBACK_NAMES not in present:
            os.environ[name] = f"{present},{_LOOPBACK_NAMES}" if present else _LOOPBACK_NAMES


def _anthropic(spec: ModelSpec) -> BaseChatModel:
    key = _key(spec)
    from langchain_anthropic import ChatAnthropic

    settings = _given(base_url=spec.address, max_tokens=spec.max_tokens, temperature=spec.temperature)
    # The class accepts these names through aliases that its type does not show.
    return cast(Any, ChatAnthropic)(  # type: ignore[no-any-return]
        model=spec.model, api_key=key, streaming=True, max_retries=0, timeout=SILENCE_TIMEOUT, **settings
    )


def _openai(spec: ModelSpec) -> BaseChatModel:
    key = _key(spec)
    import openai
    from langchain_openai import ChatOpenAI

    settings = _given(base_url=spec.address, temperature=spec.temperature)
    if spec.max_tokens is not None and spec.has_own_address:
        # OpenAI has given the limit a new name that others do not know.
        settings["extra_body"] = {"max_tokens": spec.max_tokens}
    elif spec.max_tokens is not None:
        settings["max_tokens"] = spec.max_tokens
    return cast(Any, ChatOpenAI)(  # type: ignore[no-any-return]
        model=spec.model,
        api_key=key,
        streaming=True,
        stream_usage=True,
        use_responses_api=False,
        max_retries=0,
        timeout=openai.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT),
        stream_chunk_timeout=SILENCE_TIMEOUT,
        **settings,
    )


def _ollama(spec: ModelSpec) -> BaseChatModel:
    import httpx
    from langchain_ollama import ChatOllama

    settings = _given(num_predict=spec.max_tokens, temperature=spec.temperature)
    return ChatOllama(
        model=spec.model,
        base_url=spec.address,
        client_kwargs={"timeout": httpx.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT)},
        **settings,
    )


_MAKERS = {"anthropic": _anthropic, "openai": _openai, "ollama": _ollama}


def _given(**settings: Any) -> dict[str, Any]:
    """Those that were given: what is not said is left to the provider."""
    return {name: value for name, value in settings.items() if value is not None}


def _key(spec: ModelSpec) -> str:
    key = os.environ.get(KEY_VARIABLES[spec.provider], "").strip()
    if not key and not spec.has_own_address:
        raise problems.no_key(spec)
    return key or _NO_KEY_NEEDED
