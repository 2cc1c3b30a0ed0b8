"""LangChain's model for OpenAI's interface, for the many servers that imitate it and differ in details.

A chunk is brought into the shape that OpenAI gives it before LangChain reads it. What LangChain drops and an agent has
to know, a refusal and that there was reasoning, is added to the chunk.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from openai._streaming import ServerSentEvent, SSEDecoder

from agent_runner.answers import REASONING, REFUSAL

_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")


class OpenAIChat(ChatOpenAI):
    """Chat Completions, tolerant of the shapes that compatible servers send."""

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        delta = normalize(chunk)
        result = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if result is not None and isinstance(result.message, AIMessageChunk):
            if any(delta.get(name) for name in _REASONING_FIELDS):
                result.message.additional_kwargs[REASONING] = True
            if isinstance(delta.get("refusal"), str):
                result.message.additional_kwargs[REFUSAL] = delta["refusal"]
        return result


def use_stream_decoder(client: openai.AsyncOpenAI) -> None:
    """Lets `client` read its streams with `StreamDecoder`."""
    client._make_sse_decoder = StreamDecoder  # type: ignore[method-assign]


def normalize(chunk: dict[str, Any]) -> dict[str, Any]:
    """Changes a chunk of a compatible server into one of OpenAI's. Gives its delta, which may be empty."""
    if chunk.get("choices") is None:
        chunk["choices"] = []
    if not chunk["choices"]:
        return {}
    choice = chunk["choices"][0]
    if choice.get("delta") is None and "message" not in choice:
        choice["delta"] = {}
    delta: dict[str, Any] = choice["delta"]
    delta["role"] = "assistant"
    if isinstance(delta.get("content"), list):
        delta["content"], has_reasoning = _text_of(delta["content"])
        if has_reasoning:
            delta[_REASONING_FIELDS[0]] = True
    if delta.get("tool_calls"):
        delta["tool_calls"] = [_fragment(each) for each in delta["tool_calls"] if isinstance(each, dict)]
    return delta


def _text_of(parts: list[Any]) -> tuple[str, bool]:
    """The text of content that is given in typed parts, and whether some of it is reasoning."""
    parts = [part for part in parts if isinstance(part, dict)]
    text = "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")
    return text, any(part.get("type") in ("thinking", "reasoning") for part in parts)


def _fragment(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    identity, index = call.get("id"), call.get("index")
    return {
        "id": None if identity is None else str(identity),
        "index": index if isinstance(index, int) else None,
        "function": {"name": function.get("name"), "arguments": arguments},
    }


class StreamDecoder(SSEDecoder):
    """Server-sent events, with two things made explicit that the library would pass over.

    `[DONE]` says that the answer is complete, also where no chunk has given a reason for its end. And an event named
    `error` is an error, whatever its data looks like.
    """

    def __init__(self) -> None:
        super().__init__()
        self._has_reason = False

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
        """The events of a stream of bytes."""
        async for event in super().aiter_bytes(iterator):
            if event.data.startswith("[DONE]"):
                if not self._has_reason:
                    yield _stop()
            elif event.event == "error":
                event = _error(event)
            elif '"finish_reason"' in event.data:
                self._has_reason = self._has_reason or _has_reason(event)
            yield event


def _stop() -> ServerSentEvent:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return ServerSentEvent(data=json.dumps({"object": "chat.completion.chunk", "choices": [choice]}))


def _error(event: ServerSentEvent) -> ServerSentEvent:
    try:
        data: Any = json.loads(event.data)
    except ValueError:
        data = event.data
    if isinstance(data, dict) and data.get("error"):
        return event
    return ServerSentEvent(data=json.dumps({"error": data or "no details were given"}))


def _has_reason(event: ServerSentEvent) -> bool:
    try:
        choices = json.loads(event.data).get("choices") or []
        return any(choice.get("finish_reason") for choice in choices)
    except (ValueError, AttributeError):
        return False
