"""LangChain's model for Ollama's interface, reading its stream without changing what is in it.

LangChain guesses at the arguments of tool calls: a text that looks like JSON becomes an object, and then no file can be
written that is JSON. Here they stay as the model gave them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_ollama import ChatOllama

from agent_runner.answers import REASONING


class OllamaChat(ChatOllama):
    """Ollama's own interface."""

    async def _aiterate_over_stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **settings: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for part in self._acreate_chat_stream(messages, stop, **settings):
            if not isinstance(part, str):
                yield ChatGenerationChunk(message=_chunk(part))


def _chunk(part: Mapping[str, Any]) -> AIMessageChunk:
    message = part.get("message") or {}
    chunk = AIMessageChunk(content=message.get("content") or "", tool_call_chunks=_calls(message))
    if message.get("thinking"):
        chunk.additional_kwargs[REASONING] = True
    if part.get("done"):
        chunk.response_metadata = {"done": True, "done_reason": part.get("done_reason")}
        counts = part.get("prompt_eval_count") or 0, part.get("eval_count") or 0
        if any(counts):
            chunk.usage_metadata = {
                "input_tokens": counts[0], "output_tokens": counts[1], "total_tokens": sum(counts),
            }  # fmt: skip
    return chunk


def _calls(message: Mapping[str, Any]) -> list[Any]:
    """Each call comes as a whole, with neither an id nor an index."""
    functions = [call["function"] for call in message.get("tool_calls") or []]
    return [tool_call_chunk(name=each["name"], args=json.dumps(dict(each["arguments"]))) for each in functions]
