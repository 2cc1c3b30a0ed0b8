"""One turn of an agent through a provider's real library, with a stand-in for the provider inside this process.

It shows that a tree works, and it builds what is built once: classes, type adapters, the graph, the TLS context.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from agent_runner import http_clients, providers, tools
from agent_runner.conversation import Conversation
from agent_runner.graph import answer
from agent_runner.models import ModelSpec
from agent_runner.redact import Redactor
from agent_runner.spec import TOOLS
from agent_runner.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT = "it works"
_TIMEOUT = 60.0


def run(provider: str) -> str:
    """The answer, which is `TEXT`."""
    try:
        return asyncio.run(_converse(provider))
    finally:
        http_clients.forget()  # what belongs to the event loop of this turn


class _Listener:
    redactor = Redactor(())

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        """Drops the event."""


async def _converse(provider: str) -> str:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length))
        kind, body = _STREAMS[provider]
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        spec = ModelSpec.of(provider, "none", f"http://127.0.0.1:{port}")
        given = tools.of_workspace(Workspace(Path()), TOOLS)
        caller = providers.bound(providers.chat_model(spec), spec, given)
        conversation = Conversation(caller, spec, [], given, 1, _Listener())
        async with asyncio.timeout(_TIMEOUT):
            return str((await answer(conversation, [HumanMessage("hello")])).text)


def _events(events: Iterable[dict[str, Any]], *, are_named: bool) -> bytes:
    return b"".join(
        (f"event: {event['type']}\n" if are_named else "").encode() + f"data: {json.dumps(event)}\n\n".encode()
        for event in events
    )


_ANTHROPIC: list[dict[str, Any]] = [
    {"type": "message_start", "message": {
        "id": "m", "type": "message", "role": "assistant", "model": "none", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
     "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]  # fmt: skip
_OPENAI: list[dict[str, Any]] = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "none",
     "choices": [{"index": 0, "delta": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}]},
]  # fmt: skip
_OLLAMA = {
    "model": "none", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": TEXT},
    "done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1,
}  # fmt: skip
_STREAMS = {
    "anthropic": ("text/event-stream", _events(_ANTHROPIC, are_named=True)),
    "openai": ("text/event-stream", _events(_OPENAI, are_named=False) + b"data: [DONE]\n\n"),
    "ollama": ("application/x-ndjson", json.dumps(_OLLAMA).encode() + b"\n"),
}
