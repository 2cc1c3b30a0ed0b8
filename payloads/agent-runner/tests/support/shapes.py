"""Streams as servers send them that imitate a provider, or as providers send them on a bad day.

The model `shape-NAME` streams so. Of a tool that was called it repeats the result, as all models of the stand-in do; a
call is that of the message, `call NAME {JSON}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from support.dialects import Asked


def stream(asked: Asked, *, is_first: bool) -> Iterable[bytes] | None:
    """The stream of this shape; None if the model has no shape, or repeats a tool's result.

    `is_first`: whether the model is asked for the first time.
    """
    role, last = asked.messages[-1]
    name = asked.model.removeprefix("shape-")
    if name == asked.model or role == "tool":
        return None
    if name == "load" and asked.provider == "ollama":
        return [_line({}, done=True, done_reason="load")] if is_first else None
    match = re.match(r"call (\S+) (\{.*\})", last, re.DOTALL)
    call = (match[1], match[2]) if match else ("list", "")
    if name in _CALLS:
        deltas: list[dict[str, Any]] = [
            {"role": "assistant", "content": ""},
            *({"tool_calls": part} for part in _CALLS[name](*call)),
        ]
        return [*(_chunk(delta) for delta in deltas), _chunk({}, "tool_calls"), _DONE]
    return _STREAMS[asked.provider, name]


def _chunk(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    body = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return b"data: " + json.dumps(body | more).encode() + b"\n\n"


def _line(message: dict[str, Any], **more: Any) -> bytes:
    body = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False}
    return json.dumps(body | {"message": {"role": "assistant", "content": ""} | message} | more).encode() + b"\n"


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | data)}\n\n".encode()


def _start(**usage: Any) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None,
    }  # fmt: skip
    return _event("message_start", message=message | ({"usage": usage} if usage else {}))


def _anthropic(*deltas: dict[str, Any], block: dict[str, Any], start: bytes, usage: Any, stop: str = "end_turn") -> Any:
    end = {"delta": {"stop_reason": stop, "stop_sequence": None}} | ({} if usage is None else {"usage": usage})
    middle = [_event("content_block_delta", index=0, delta=delta) for delta in deltas]
    first, last = _event("content_block_start", index=0, content_block=block), _event("content_block_stop", index=0)
    return [start, first, *middle, last, _event("message_delta", **end), _event("message_stop")]


def _words(words: Iterable[str], **more: Any) -> list[bytes]:
    return [_chunk({"content": word}, **more) for word in words]


_DONE = b"data: [DONE]\n\n"
_STOP = _chunk({}, "stop")
_TEXT = {"type": "text", "text": ""}
_THINK = ["<th", "ink>The user ", "wants a greeting.\n</thi", "nk>", "\n\n", "Hello ", "<think> you."]


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _fragment(index: int | None = 0, identity: str | None = None, **function: Any) -> list[dict[str, Any]]:
    fragment: dict[str, Any] = {"function": function}
    if index is not None:
        fragment["index"] = index
    return [fragment | ({"id": identity, "type": "function"} if identity else {})]


# The fragments of one call; of two where they are told apart in an unusual way.
_CALLS: dict[str, Callable[[str, str], list[list[dict[str, Any]]]]] = {
    "object-arguments": lambda name, text: [_fragment(0, "c1", name=name, arguments=json.loads(text))],
    "name-repeated": lambda name, text: [
        *(_fragment(0, "c1", name=name, arguments=part) for part in _halves(text)),
        _fragment(0, "c1", name=name, arguments=""),
    ],
    "name-in-pieces": lambda name, text: [
        _fragment(0, "c1", name=name[:2], arguments=""),
        _fragment(0, name=name[2:], arguments=text),
    ],
    "name-growing": lambda name, text: [
        _fragment(0, "c1", name=name[:2], arguments=""),
        _fragment(0, "c1", name=name, arguments=text),
    ],
    "no-index": lambda name, text: [
        *(
            part
            for identity in ("c1", "c2")
            for part in (
                _fragment(None, identity, name=name, arguments=_halves(text)[0]),
                _fragment(None, arguments=_halves(text)[1]),
            )
        )
    ],
    "one-index": lambda name, text: [_fragment(0, each, name=name, arguments=text) for each in ("c1", "c2")],
    "one-index-without-ids": lambda name, text: [_fragment(0, name=name, arguments=text) for _ in range(2)],
    "no-ids": lambda name, text: [_fragment(index, name=name, arguments=text) for index in range(2)],
    "changing-ids": lambda name, text: [
        _fragment(0, "c1", name=name, arguments=_halves(text)[0]),
        _fragment(0, "c9", arguments=_halves(text)[1]),
    ],
    "empty-arguments": lambda name, _: [_fragment(0, "c1", name=name, arguments="")],
    "null-arguments": lambda name, _: [_fragment(0, "c1", name=name, arguments=None)],
    "null-text-arguments": lambda name, _: [_fragment(0, "c1", name=name, arguments="null")],
    "no-arguments": lambda name, _: [_fragment(0, "c1", name=name)],
}

_OPENAI: dict[str, list[bytes]] = {
    "empty": [_chunk({"role": "assistant", "content": ""}), _STOP, _DONE],
    "blank": [*_words(["\n", " "]), _STOP, _DONE],
    "only-reasoning": [_chunk({"reasoning_content": "Hm."}), _STOP, _DONE],
    "only-reasoning-cut": [_chunk({"reasoning": "Hm."}), _chunk({}, "length"), _DONE],
    "only-think": [*_words(["<think>Hm.", " So."]), _STOP, _DONE],
    "only-refusal": [_chunk({"content": None, "refusal": "I cannot "}), _chunk({"refusal": "do that."}), _STOP, _DONE],
    "think": [*_words(_THINK), _STOP, _DONE],
    "usage-everywhere": [
        *(
            _chunk(
                {"content": f"{count} "},
                usage={"prompt_tokens": 100, "completion_tokens": count, "total_tokens": 100 + count},
            )
            for count in range(1, 5)
        ),
        _chunk({}, "stop", usage={"prompt_tokens": 100, "completion_tokens": 4, "total_tokens": 104}),
        _chunk({}, choices=[], usage={"prompt_tokens": 100, "completion_tokens": 4, "total_tokens": 104}),
        _DONE,
    ],
    "no-reason": [*_words(["all ", "of it"]), _DONE],
    "null-delta": [*_words(["all ", "of it"]), _chunk(None, "stop"), _chunk({}, choices=None), _DONE],
    "reason-twice": [*_words(["all ", "of it"]), _chunk({}, "length"), _chunk({}, "length"), _DONE],
    "text-in-parts": [
        _chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}),
        _chunk({"content": [{"type": "text", "text": "all of it"}]}),
        _STOP,
        _DONE,
    ],
    "error-event": [*_words(["two ", "words"]), b'event: error\ndata: {"message": "out of memory", "code": 500}\n\n'],
    "error-event-text": [*_words(["two ", "words"]), b"event: error\ndata: out of memory\n\n"],
    "error-text": [b'data: {"error": "out of memory"}\n\n'],
    "error-too-long": [
        b'data: {"error": {"code": 400, "type": "exceed_context_size_error", "message": "try a smaller one"}}\n\n'
    ],
}
_ANTHROPIC: dict[str, Any] = {
    "empty": _anthropic(block=_TEXT, start=_start(input_tokens=11, output_tokens=1), usage={"output_tokens": 1}),
    "only-reasoning": _anthropic(
        {"type": "thinking_delta", "thinking": "Hm."},
        {"type": "signature_delta", "signature": "s"},
        block={"type": "thinking", "thinking": "", "signature": ""},
        start=_start(input_tokens=11, output_tokens=1),
        usage={"output_tokens": 3},
    ),
    "usage-halves": _anthropic(
        {"type": "text_delta", "text": "hi"},
        block=_TEXT,
        start=_start(input_tokens=11, output_tokens=1, cache_read_input_tokens=4),
        usage={"output_tokens": 7},
    ),
    "usage-nowhere": _anthropic({"type": "text_delta", "text": "hi"}, block=_TEXT, start=_start(), usage=None),
    "error-event": [
        _start(input_tokens=11, output_tokens=1),
        b'event: error\ndata: {"type":"error","error":{"type":"invalid_request_error",'
        b'"message":"input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"}}\n\n',
    ],
}
_OLLAMA: dict[str, list[bytes]] = {
    "empty": [_line({}, done=True, done_reason="stop", prompt_eval_count=11, eval_count=1)],
    "only-reasoning": [_line({"thinking": "Hm."}), _line({}, done=True, done_reason="stop")],
    "think": [*(_line({"content": word}) for word in _THINK), _line({}, done=True, done_reason="stop")],
    "usage-half": [_line({"content": "hi"}), _line({}, done=True, done_reason="stop", eval_count=7)],
}
_STREAMS = {
    (provider, name): parts
    for provider, shapes in (("openai", _OPENAI), ("anthropic", _ANTHROPIC), ("ollama", _OLLAMA))
    for name, parts in shapes.items()
}
