"""Stand-ins for the HTTP interfaces of Ollama and OpenAI, on 127.0.0.1, streaming as the real ones do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# The streamed parts of one answer, or (status, error body).
Script = Callable[[dict[str, Any]], list[dict[str, Any]] | tuple[int, dict[str, Any]]]


class FakeProvider:
    """Answers each POST with what `script` returns for its body; `wrap` is the framing of the stream."""

    def __init__(self, script: Script, content_type: str, wrap: Callable[[dict[str, Any]], bytes], end: bytes) -> None:
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._script, self._type, self._wrap, self._end = script, content_type, wrap, end
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FakeProvider:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.requests.append((self.path, body, dict(self.headers)))
                reply = provider._script(body)
                if isinstance(reply, tuple):
                    data = json.dumps(reply[1]).encode()
                    self.send_response(reply[0])
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    return
                self.send_response(200)
                self.send_header("Content-Type", provider._type)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                parts = [provider._wrap(part) for part in reply]
                # An empty chunk ends the body, so an empty end mark must not become one of its own.
                for data in [*parts, *([provider._end] if provider._end else []), b""]:
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

            def log_message(self, *_: object) -> None:
                """Silence."""

        return Handler


def ollama(script: Script) -> FakeProvider:
    """Ollama streams one JSON object per line."""
    return FakeProvider(script, "application/x-ndjson", lambda part: json.dumps(part).encode() + b"\n", b"")


def openai(script: Script) -> FakeProvider:
    """OpenAI streams server-sent events, and says when it is done."""
    return FakeProvider(
        script, "text/event-stream", lambda part: b"data: " + json.dumps(part).encode() + b"\n\n", b"data: [DONE]\n\n"
    )


def ollama_text(*words: str) -> list[dict[str, Any]]:
    """An answer of words."""
    return [*_ollama_parts({"content": word} for word in words), _ollama_done()]


def ollama_tool_call(name: str) -> list[dict[str, Any]]:
    """An answer that asks for a tool."""
    call = {"function": {"name": name, "arguments": {}}}
    return [*_ollama_parts([{"content": "", "tool_calls": [call]}]), _ollama_done()]


def _ollama_parts(messages: Any) -> Iterator[dict[str, Any]]:
    for message in messages:
        yield {
            "model": "m",
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant"} | message,
            "done": False,
        }


def _ollama_done() -> dict[str, Any]:
    last = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": ""}}
    return last | {"done": True, "done_reason": "stop", "total_duration": 1, "eval_count": 1, "prompt_eval_count": 1}


def openai_text(*words: str) -> list[dict[str, Any]]:
    """An answer of words."""
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    deltas.append(({}, "stop"))
    return [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]  # fmt: skip
