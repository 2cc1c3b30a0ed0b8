"""Model providers. Each is imported on first use: one costs half a second, and most runs use one or none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from agent_runner import http_clients, imports, problems, proxies
from agent_runner.models import KEY_VARIABLES, ModelSpec

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

# A server that has a provider's interface and asks for no key still has to be sent something in its place.
_NO_KEY_NEEDED = "none"
# Stands for OpenAI's synchronous client, which would be made with its own TLS context and proxies, and is not used.
_ASYNC_ONLY = object()


def chat_model(spec: ModelSpec) -> BaseChatModel:
    """The chat model of `spec`, ready to be called. Opens no connection, and asks only once."""
    with imports.lock:
        proxies.take_variables()
        return _MAKERS[spec.provider](spec)


def bound(model: BaseChatModel, spec: ModelSpec, tools: list[Any]) -> Runnable[Any, Any]:
    """The model with its tools and time limits. A model without tools is sent no list: several refuse an empty one."""
    settings: dict[str, Any] = {}
    if spec.provider == "anthropic":
        import anthropic

        # The model itself takes one number, for connecting as well.
        settings["timeout"] = anthropic.Timeout(http_clients.SILENCE_TIMEOUT, connect=http_clients.CONNECT_TIMEOUT)
    return model.bind_tools(tools, **settings) if tools else model.bind(**settings)


def _anthropic(spec: ModelSpec) -> BaseChatModel:
    key = _key(spec)
    client = http_clients.async_client(spec)
    from agent_runner.chat_anthropic import AnthropicChat

    settings = _given(base_url=spec.address, max_tokens=spec.max_tokens, temperature=spec.temperature)
    # The class accepts these names through aliases that its type does not show.
    model = cast(Any, AnthropicChat)(
        model=spec.model,
        api_key=key,
        streaming=True,
        max_retries=0,
        timeout=http_clients.SILENCE_TIMEOUT,
        **settings,
    )
    model._http_client = client
    return model  # type: ignore[no-any-return]


def _openai(spec: ModelSpec) -> BaseChatModel:
    key = _key(spec)
    client = http_clients.async_client(spec)
    import openai

    from agent_runner.chat_openai import OpenAIChat, use_stream_decoder

    settings = _given(base_url=spec.address, temperature=spec.temperature)
    if spec.max_tokens is not None and spec.has_own_address:
        # OpenAI has given the limit a new name that others do not know.
        settings["extra_body"] = {"max_tokens": spec.max_tokens}
    elif spec.max_tokens is not None:
        settings["max_tokens"] = spec.max_tokens
    model = cast(Any, OpenAIChat)(
        model=spec.model,
        api_key=key,
        streaming=True,
        stream_usage=True,
        use_responses_api=False,
        max_retries=0,
        timeout=openai.Timeout(http_clients.SILENCE_TIMEOUT, connect=http_clients.CONNECT_TIMEOUT),
        stream_chunk_timeout=http_clients.SILENCE_TIMEOUT,
        http_async_client=client,
        client=_ASYNC_ONLY,
        **settings,
    )
    use_stream_decoder(model.root_async_client)
    return model  # type: ignore[no-any-return]


def _ollama(spec: ModelSpec) -> BaseChatModel:
    client = http_clients.ollama_settings(spec)
    from agent_runner.chat_ollama import OllamaChat

    settings = _given(num_predict=spec.max_tokens, temperature=spec.temperature)
    return OllamaChat(model=spec.model, base_url=spec.address, **client, **settings)


_MAKERS = {"anthropic": _anthropic, "openai": _openai, "ollama": _ollama}


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that were given: the others are left to the provider."""
    return {name: value for name, value in settings.items() if value is not None}


def _key(spec: ModelSpec) -> str:
    key = os.environ.get(KEY_VARIABLES[spec.provider], "").strip()
    if not key and not spec.has_own_address:
        raise problems.no_key(spec)
    return key or _NO_KEY_NEEDED
