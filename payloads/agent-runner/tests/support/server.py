"""A server that speaks the protocol, remembers every request, and lets a test wait for one."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.leases import MAX_BODY, Executions

TOKEN = "test-token-4711"
INSTANCE = "01test"
PATIENCE = 20.0


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    body: Any
    authorized: bool

    @property
    def state(self) -> str | None:
        """The state of a heartbeat; None for anything else."""
        return self.body.get("state") if self.path.endswith("/heartbeat") else None


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # With the library's five, a connection that comes with others waits for a second on a busy machine.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Passes over a connection that the runner has dropped while nothing was asked on it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class FakeServer:
    """Knows the workers that registered with it. `forget` makes it a server that has restarted."""

    def __init__(self, port: int = 0, heartbeat_ms: int = 20) -> None:
        self.requests: list[Request] = []
        self.heartbeat_ms = heartbeat_ms
        self.instance = INSTANCE
        self.workers: set[str] = set()
        self.executions = Executions()
        # Requests for work, and about it, stand apart: they come whenever they like.
        self.about_work: list[Request] = []
        # Replaces the answer to a request when it returns one: (status, body).
        self.override: Callable[[Request], tuple[int, Any] | None] = lambda _request: None
        self._changed = threading.Condition()
        self._count = 0
        self._http = _Http(("127.0.0.1", port), _handler(self))
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening; the port is free afterwards."""
        self.executions.wake(closed=True)
        self._http.shutdown()
        self._http.server_close()

    def forget(self) -> None:
        """Loses all workers, as a restart does."""
        with self._changed:
            self.workers.clear()
        self.executions.wake()

    def answer(self, request: Request) -> tuple[int, Any]:
        """Remembers the request and decides the answer."""
        is_about_work = request.path.endswith("/lease") or request.path.startswith("/v1/leases/")
        with self._changed:
            (self.about_work if is_about_work else self.requests).append(request)
            self._changed.notify_all()
        replaced = self.override(request)  # may wait, so it must not hold the lock
        if is_about_work:
            return replaced or self.answer_work(request)
        with self._changed:
            return replaced or self._protocol(request)

    def wait_for(self, what: Callable[[Request], bool], after: int = 0) -> Request:
        """The first request, from number `after` on, that is like `what`. Fails when none comes."""

        def found() -> Request | None:
            return next((request for request in self.requests[after:] if what(request)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, PATIENCE)
            request = found()
        assert request is not None, f"no such request among {self.requests[after:]}"
        return request

    def answer_work(self, request: Request) -> tuple[int, Any]:
        """What is answered about executions, whatever `override` says."""
        if not request.authorized:
            return 401, {"error": "no such token"}
        _, _, kind, identity, what = request.path.split("/")
        if kind == "workers":
            return self.executions.lease(request.body, lambda: identity in self.workers)
        return self.executions.report(identity, what, request.body)

    def _protocol(self, request: Request) -> tuple[int, Any]:
        if not request.authorized:
            return 401, {"error": "no such token"}
        if (request.method, request.path) == ("GET", "/v1/status"):
            return 200, {"version": "0.1.0", "instance": self.instance, "since": "2026-01-01T00:00:00Z", "workers": []}
        if (request.method, request.path) == ("POST", "/v1/workers"):
            if request.body["instance"] != self.instance:
                return 409, {"error": "the worker belongs to another run of the supervisor"}
            self._count += 1
            identity = f"w-{self._count}"
            self.workers.add(identity)
            return 201, {"id": identity, "heartbeat_ms": self.heartbeat_ms, "expires_ms": 5000}
        identity = request.path.removeprefix("/v1/workers/").removesuffix("/heartbeat")
        if identity not in self.workers:
            return 404, {"error": "no such worker"}
        if request.method == "DELETE":
            self.workers.remove(identity)
            return 204, None
        return 200, {}


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if len(raw) > MAX_BODY:
                status, reply = 413, {"error": "the body is too long"}
            else:
                body = json.loads(raw) if raw else None
                status, reply = server.answer(Request(self.command, self.path, body, authorized))
            data = b"" if reply is None else json.dumps(reply).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            try:
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:
                self.close_connection = True  # the runner did not wait for it, which some tests are about

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Silence: the test says what went wrong."""

    return Handler
