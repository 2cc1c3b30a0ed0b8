"""A stand-in for Anthropic, OpenAI and Ollama on one port of 127.0.0.1, streaming as the real ones do.

What it does is said by the name of the model, so that a test in whatever language can say it:

| model | does |
|---|---|
| `echo` | repeats the last message; told `call NAME {JSON}`, it calls that tool and says what came back |
| `history` | answers with everything it was told, as `role: text` lines |
| `loop` | calls the tool `list` for ever |
| `slow` | `echo`, with a pause after each word (`--pause-ms`; in a test, until `release`) |
| `hang`, `hang-midway` | says nothing, or two words, and keeps the connection |
| `cut` | closes the connection after two words |
| `ends-early` | ends its stream in order after two words |
| `size-N` | answers with N characters, 50 000 at once |
| `halves` | sends halves of surrogate pairs |
| `long` | stops at its limit of tokens |
| `refuse` | refuses to answer |
| `status-NNN` | fails with that status and the words the real one has for it |
| `flaky-NNN` | fails so twice, with a Retry-After, and is `echo` from then on |
| `rich-429` | fails with 429 because nothing is left to pay with |
| `too-long` | says that the context is too long |
| `error-midway` | reports an error in the middle of its stream |
| `leak` | answers with the key it was sent |
| `web-page`, `other-json`, `whole` | succeeds with what is no stream of a model: a page, another JSON, a whole answer |
| `wants-key` | refuses the key that stands for none, and is `echo` for any other |

The key `wrong-key` is refused. As a program it prints `{"port": …}` as its first line and ends with its input.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 60.0


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
    call: tuple[str, dict[str, Any]] | None = None
    stop: str = "stop"  # or length, refusal


class FakeProvider:
    """The server. Remembers every request, and knows when a client gave up."""

    def __init__(self, port: int = 0, pause: float | None = None) -> None:
        self.requests: list[Asked] = []
        self.pause = pause
        self.release = threading.Event()  # lets `slow` go on
        self._changed = threading.Condition()
        self._left = 0
        self._failures: dict[str, int] = {}
        self._http = _Http(("127.0.0.1", port), _handler(self))
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeProvider:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._http.shutdown()
        self._http.server_close()

    def asked(self, request: Asked) -> None:
        """Remembers a request."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def left(self) -> None:
        """A client closed its connection before the answer was complete."""
        with self._changed:
            self._left += 1
            self._changed.notify_all()

    def wait_for_requests(self, count: int) -> None:
        """Waits until so many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE), f"only {len(self.requests)}"

    def wait_until_left(self, count: int = 1) -> None:
        """Waits until so many clients gave up."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._left >= count, PATIENCE), "the client is still there"

    def fails_again(self, model: str) -> bool:
        """Whether a flaky model fails this time too."""
        with self._changed:
            self._failures[model] = self._failures.get(model, 0) + 1
            return self._failures[model] <= 2


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # With the library's five, a connection that comes with others waits for a second on a busy machine.
    request_queue_size = 128


def answer_to(asked: Asked) -> Answer:
    """What a model says that has no trouble."""
    role, last = asked.messages[-1]
    if asked.model == "history":
        return Answer([f"{role}: {text}\n" for role, text in asked.messages])
    if asked.model == "loop":
        return Answer(call=("list", {}))
    if asked.model == "leak":
        return Answer(["the key is ", asked.key[:5], asked.key[5:], " indeed"])
    if match := re.fullmatch(r"size-(\d+)", asked.model):
        left = int(match[1])
        return Answer(["x" * min(50_000, left - start) for start in range(0, left, 50_000)])
    if asked.model == "halves":
        return Answer(["\ud83d", "\ude00 and \ud83d", " alone"])
    if asked.model == "long":
        return Answer(["once ", "upon ", "a "], stop="length")
    if asked.model == "refuse":
        return Answer([], stop="refusal")
    if role == "tool":
        return Answer([f"The tool says: {last}"])
    if match := re.match(r"call (\S+) (\{.*\})", last, re.DOTALL):
        return Answer(["I call ", "it."], call=(match[1], json.loads(match[2])))
    return Answer(["You said:", *(f" {word}" for word in last.split(" "))])


def _handler(provider: FakeProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kind = next((kind for path, kind in _KINDS.items() if self.path.partition("?")[0].endswith(path)), None)
            if kind is None:
                self._json(404, {"error": f"there is no {self.path}"})
                return
            asked = Asked(kind, self.path, headers, body, _messages(kind, body))
            provider.asked(asked)
            try:
                self._answer(asked)
            except ConnectionError:
                provider.left()
                self.close_connection = True

        def _answer(self, asked: Asked) -> None:
            model = asked.model
            if asked.key == "wrong-key" or (asked.model == "wants-key" and asked.key in ("", "none")):
                self._fail(asked, 401)
            elif match := re.fullmatch(r"status-(\d+)", model):
                self._fail(asked, int(match[1]))
            elif (match := re.fullmatch(r"flaky-(\d+)", model)) and provider.fails_again(model):
                self._fail(asked, int(match[1]), {"retry-after-ms": "30", "retry-after": "1"})
            elif model == "rich-429":
                self._fail(asked, 429, words="You exceeded your current quota, check your plan and billing details.")
            elif model == "too-long":
                self._fail(asked, 400, words=_TOO_LONG[asked.provider])
            elif model in _NO_STREAMS:
                self._send(200, *_NO_STREAMS[model])
            elif model == "hang":
                self._wait_for_the_client()
            else:
                self._stream(asked, answer_to(asked))

        def _stream(self, asked: Asked, answer: Answer) -> None:
            self.send_response(200)
            self.send_header("Content-Type", _TYPES[asked.provider])
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number, part in enumerate(_STREAMS[asked.provider](asked, answer)):
                if number == _MIDWAY[asked.provider] and not self._goes_on(asked):
                    return
                self._chunk(part)
                if asked.model == "slow" and number >= _MIDWAY[asked.provider] - 1:
                    self._pause()
            self._chunk(b"")

        def _goes_on(self, asked: Asked) -> bool:
            """What happens after two words; False: the answer is not to go on."""
            if asked.model == "hang-midway":
                self._wait_for_the_client()
            elif asked.model == "cut":
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
            elif asked.model == "ends-early":
                self._chunk(b"")
            elif asked.model == "error-midway":
                self._chunk(_ERROR_MIDWAY[asked.provider])
                self._chunk(b"")
            else:
                return True
            return False

        def _pause(self) -> None:
            if provider.pause is not None:
                provider.release.wait(provider.pause)
                return
            self.connection.settimeout(0.02)
            while not provider.release.wait(0.02):
                self._look_for_the_client()

        def _wait_for_the_client(self) -> None:
            self.wfile.flush()
            self.connection.settimeout(PATIENCE)
            self._look_for_the_client()

        def _look_for_the_client(self) -> None:
            """Raises when the client has gone."""
            try:
                if not self.connection.recv(1):
                    raise ConnectionResetError
            except TimeoutError:
                pass

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def _fail(
            self, asked: Asked, status: int, headers: dict[str, str] | None = None, words: str | None = None
        ) -> None:
            self._json(status, _error(asked, status, words or _WORDS.get(status, "Internal server error")), headers)

        def _json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            self._send(status, "application/json", json.dumps(body).encode(), headers)

        def _send(self, status: int, kind: str, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Silence."""

    return Handler


_KINDS = {"/v1/messages": "anthropic", "/chat/completions": "openai", "/api/chat": "ollama"}
_TYPES = {"anthropic": "text/event-stream", "openai": "text/event-stream", "ollama": "application/x-ndjson"}
# The part of a stream before which two words were said.
_MIDWAY = {"anthropic": 4, "openai": 3, "ollama": 2}
_NO_STREAMS = {
    "web-page": ("text/html", b"<!doctype html>\n<title>Welcome</title>\n<p>It works!</p>\n"),
    "other-json": ("application/json", b'[{"status": "ok"}]'),
    "whole": (
        "application/json",
        b'{"id": "c-1", "object": "chat.completion", "created": 1, "model": "whole", "choices": '
        b'[{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}',
    ),
}
_WORDS = {
    400: "The request is not valid.",
    401: "invalid x-api-key",
    403: "Your key may not use this model.",
    404: "model not found",
    429: "This request would exceed your rate limit.",
    529: "Overloaded",
}
_TOO_LONG = {
    "anthropic": "prompt is too long: 208310 tokens > 200000 maximum",
    "openai": "This model's maximum context length is 8192 tokens. Your messages resulted in 10010 tokens.",
    "ollama": "input length exceeds maximum context length",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
    529: "overloaded_error",
}  # fmt: skip
_ERROR_MIDWAY = {
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    "openai": b'data: {"error":{"message":"The server had an error","type":"server_error"}}\n\n',
    "ollama": b'{"error":"llama runner process has terminated"}\n',
}


def _error(asked: Asked, status: int, words: str) -> dict[str, Any]:
    if asked.provider == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_1"}
    if asked.provider == "openai":
        code = {401: "invalid_api_key", 404: "model_not_found"}.get(status)
        return {"error": {"message": words, "type": "invalid_request_error", "param": None, "code": code}}
    return {"error": f"model '{asked.model}' not found" if status == 404 else words}


def _messages(kind: str, body: dict[str, Any]) -> list[tuple[str, str]]:
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
        name, arguments = answer.call
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        yield event("content_block_start", index=1, content_block=block)
        text = json.dumps(arguments)
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
        name, arguments = answer.call
        text = json.dumps(arguments)
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
        name, arguments = answer.call
        yield line({"tool_calls": [{"function": {"name": name, "arguments": arguments}}]})
    reason = {"stop": "stop", "length": "length", "refusal": "stop"}
    yield line({}, done=True, done_reason=reason[answer.stop], total_duration=1, prompt_eval_count=11, eval_count=7)


_STREAMS = {"anthropic": _anthropic, "openai": _openai, "ollama": _ollama}


def main() -> None:
    """Serves until standard input ends."""
    parser = argparse.ArgumentParser(description="A stand-in for model providers.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pause-ms", type=int, default=100, help="how long `slow` waits before each word")
    options = parser.parse_args()
    with FakeProvider(options.port, options.pause_ms / 1000) as provider:
        print(json.dumps({"port": provider.port, "url": provider.url}), flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
