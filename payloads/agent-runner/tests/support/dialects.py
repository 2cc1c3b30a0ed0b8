"""How Anthropic, OpenAI and Ollama put requests, answers and errors into bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """One request, in words that are the same for all three."""

    provider: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    messages: list[tuple[str, str]]

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body.get("model"))

    @property
    def key(self) -> str:
        """The key that came with it."""
        return self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Answer:
    """What is said: words, and perhaps a call of a tool."""

    words: list[str] = field(default_factory=list)
    call: tuple[str, str] | None = None  # the name, and the arguments as they are sent
    stop: str = "stop"  # or length, refusal


WORDS = {
    400: "The request is not valid.",
    401: "invalid x-api-key",
    403: "Your key may not use this model.",
    404: "model not found",
    429: "This request would exceed your rate limit.",
    529: "Overloaded",
}
TOO_LONG = {
    "anthropic": "prompt is too long: 208310 tokens > 200000 maximum",
    "openai": "This model's maximum context length is 8192 tokens. Your messages resulted in 10010 tokens.",
    "ollama": "input length exceeds maximum context length",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
    529: "overloaded_error",
}  # fmt: skip
ERROR_MIDWAY = {
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    "openai": b'data: {"error":{"message":"The server had an error","type":"server_error"}}\n\n',
    "ollama": b'{"error":"llama runner process has terminated"}\n',
}


def error_body(asked: Asked, status: int, words: str) -> dict[str, Any]:
    """An error as the provider puts it."""
    if asked.provider == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_1"}
    if asked.provider == "openai":
        code = {401: "invalid_api_key", 404: "model_not_found"}.get(status)
        return {"error": {"message": words, "type": "invalid_request_error", "param": None, "code": code}}
    return {"error": f"model '{asked.model}' not found" if status == 404 else words}


def messages(kind: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and text of every message; the result of a tool has the role `tool` with all three."""
    found = [("system", _text(body["system"]))] if kind == "anthropic" and body.get("system") else []
    for message in body["messages"]:
        content = message.get("content")
        results = [part for part in content if part.get("type") == "tool_result"] if isinstance(content, list) else []
        found += [("tool", _text(part.get("content"))) for part in results]
        if not results:
            found.append((message["role"], _text(content)))
    return found


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content or ""


def _anthropic(asked: Asked, answer: Answer) -> Iterator[bytes]:
    def event(kind: str, **data: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind} | data)}\n\n".encode()

    usage = {"input_tokens": 11, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked.model, "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    yield event("message_start", message=message)
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in answer.words:
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield event("content_block_stop", index=0)
    if answer.call:
        name, text = answer.call
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        yield event("content_block_start", index=1, content_block=block)
        for part in (text[: len(text) // 2], text[len(text) // 2 :]):
            yield event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": part})
        yield event("content_block_stop", index=1)
    reason = {"stop": "tool_use" if answer.call else "end_turn", "length": "max_tokens", "refusal": "refusal"}
    yield event("ping")
    delta = {"stop_reason": reason[answer.stop], "stop_sequence": None}
    yield event("message_delta", delta=delta, usage={"input_tokens": 11, "output_tokens": 7})
    yield event("message_stop")


def _openai(asked: Asked, answer: Answer) -> Iterator[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        body = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": asked.model, "choices": choices}
        return f"data: {json.dumps(body | more)}\n\n".encode()

    yield chunk({"role": "assistant", "content": ""})
    for word in answer.words:
        yield chunk({"content": word})
    if answer.call:
        name, text = answer.call
        function: dict[str, Any] = {"name": name, "arguments": text[: len(text) // 2]}
        yield chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": text[len(text) // 2 :]}}]})
    reason = {"stop": "tool_calls" if answer.call else "stop", "length": "length", "refusal": "content_filter"}
    yield chunk({}, reason[answer.stop])
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        yield chunk({}, choices=[], usage={"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18})
    yield b"data: [DONE]\n\n"


def _ollama(asked: Asked, answer: Answer) -> Iterator[bytes]:
    def line(message: dict[str, Any], **more: Any) -> bytes:
        body = {"model": asked.model, "created_at": "2026-01-01T00:00:00Z", "done": False}
        return json.dumps(body | {"message": {"role": "assistant", "content": ""} | message} | more).encode() + b"\n"

    for word in answer.words:
        yield line({"content": word})
    if answer.call:
        name, text = answer.call
        yield line({"tool_calls": [{"function": {"name": name, "arguments": json.loads(text)}}]})
    reason = {"stop": "stop", "length": "length", "refusal": "stop"}
    yield line({}, done=True, done_reason=reason[answer.stop], total_duration=1, prompt_eval_count=11, eval_count=7)


STREAMS = {"anthropic": _anthropic, "openai": _openai, "ollama": _ollama}
