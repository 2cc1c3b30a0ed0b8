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
| `silent-after` | `echo`, but it says nothing after a tool |
| `long` | stops at its limit of tokens |
| `refuse` | refuses to answer |
| `status-NNN` | fails with that status and the words the real one has for it |
| `flaky-NNN` | fails so twice, with a Retry-After, and is `echo` from then on |
| `rich-429` | fails with 429 because nothing is left to pay with |
| `too-long` | says that the context is too long |
| `error-midway` | reports an error in the middle of its stream |
| `leak` | answers with the key it was sent |
| `web-page`, `other-json`, `whole` | succeeds with what is no stream of a model: a page, another JSON, a whole answer |
| `raw-call`, `raw-call-cut` | told `call NAME TEXT`, sends TEXT as the arguments; the second reaches its limit then |
| `raw-error` | told `{"status": …, "body": …, "headers": …}`, it fails with exactly that |
| `shape-NAME` | streams in a shape that some server uses; `shapes` lists them |
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import dialects, shapes
from support.dialects import Answer, Asked

PATIENCE = 60.0


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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Passes over a connection that the runner has dropped while nothing was asked on it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def answer_to(asked: Asked) -> Answer:
    """What a model says that has no trouble."""
    role, last = asked.messages[-1]
    if asked.model == "history":
        return Answer([f"{role}: {text}\n" for role, text in asked.messages])
    if asked.model == "loop":
        return Answer(call=("list", "{}"))
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
    if asked.model == "silent-after" and role == "tool":
        return Answer()
    if role == "tool":
        return Answer([f"The tool says: {last}"])
    if asked.model.startswith("raw-call") and (match := re.match(r"call (\S+) (.*)", last, re.DOTALL)):
        stop = "length" if asked.model == "raw-call-cut" else "stop"
        return Answer(["I call ", "it."], call=(match[1], match[2]), stop=stop)
    if match := re.match(r"call (\S+) (\{.*\})", last, re.DOTALL):
        return Answer(["I call ", "it."], call=(match[1], json.dumps(json.loads(match[2]))))
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
            asked = Asked(kind, self.path, headers, body, dialects.messages(kind, body))
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
                self._fail(asked, 400, words=dialects.TOO_LONG[asked.provider])
            elif model in _NO_STREAMS:
                self._send(200, *_NO_STREAMS[model])
            elif model == "raw-error":
                self._raw_error(json.loads(asked.messages[-1][1]))
            elif model == "hang":
                self._wait_for_the_client()
            else:
                self._stream(asked, answer_to(asked))

        def _stream(self, asked: Asked, answer: Answer) -> None:
            self.send_response(200)
            self.send_header("Content-Type", _TYPES[asked.provider])
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            is_first = [each.model for each in provider.requests].count(asked.model) == 1
            stream = shapes.stream(asked, is_first=is_first) or dialects.STREAMS[asked.provider](asked, answer)
            for number, part in enumerate(stream):
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
                self._chunk(dialects.ERROR_MIDWAY[asked.provider])
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
            words = words or dialects.WORDS.get(status, "Internal server error")
            self._json(status, dialects.error_body(asked, status, words), headers)

        def _raw_error(self, what: dict[str, Any]) -> None:
            body = what["body"] if isinstance(what["body"], str) else json.dumps(what["body"])
            self._send(what["status"], what.get("type", "application/json"), body.encode(), what.get("headers"))

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
