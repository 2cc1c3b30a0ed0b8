"""A small HTTP/1.1 client for the server on this machine.

It is written here because of its import time, not for want of a library: `http.client` imports TLS and the mail parser
and doubles the time of the worker's imports (docs/decisions/0021-http-client-of-the-agent-runner.md). General clients
also obey the proxy variables of the environment, which must never see a loopback request. The worker needs JSON both
ways, a connection that is kept alive, and an answer or a reason within a time limit.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_MAX_ANSWER = 1024 * 1024
# A request that waits for work has a connection to itself; so do the reports of each execution.
_MAX_IDLE = 8


class Unreachable(Exception):
    """No usable answer: nothing listens, the time is up, or the bytes are not HTTP."""


class Canceller:
    """Ends a request from another thread: a worker that is stopping has no use for one that waits for work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Ends the request that is under way, and every later one with this canceller."""
        with self._lock:
            self._is_cancelled = True
            if self._connection is not None:
                _shut_down(self._connection)

    def attach(self, connection: socket.socket) -> None:
        """Lets `cancel` end what happens on this connection from now on."""
        with self._lock:
            if self._is_cancelled:
                raise ConnectionAbortedError("cancelled")
            self._connection = connection

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled

    def detach(self) -> None:
        """Forgets the connection: its request is over."""
        with self._lock:
            self._connection = None


class Client:
    """Talks to one server with one token. Any thread may send a request; idle connections are shared."""

    def __init__(self, host: str, port: int, token: str) -> None:
        # `localhost` may mean either family, and the server listens on one of them.
        self._addresses = [("127.0.0.1", port), ("::1", port)] if host == "localhost" else [(host, port)]
        self._host_header = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._token = token
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        timeout: float,
        max_bytes: int = _MAX_ANSWER,
        canceller: Canceller | None = None,
    ) -> tuple[int, Any]:
        """Status and decoded body (None when there is none), within `timeout` seconds in all.

        An answer of more than `max_bytes` raises `Unreachable`. Texts of `body` must be encodable.
        """
        deadline = time.monotonic() + timeout
        payload = b"" if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host_header}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        if canceller is not None and canceller.is_cancelled():
            raise Unreachable("cancelled")
        try:
            return self._exchange(method, head.encode("ascii") + payload, deadline, max_bytes, canceller)
        except TimeoutError:
            raise Unreachable(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise Unreachable(error.strerror or str(error)) from None
        except ValueError as error:
            raise Unreachable(f"unexpected response: {error}") from None

    def _exchange(
        self, method: str, request: bytes, deadline: float, max_bytes: int, canceller: Canceller | None
    ) -> tuple[int, Any]:
        while (connection := self._take_idle()) is not None:
            response = _Response(connection, deadline, max_bytes)
            try:
                return self._send(connection, response, method, request, canceller)
            except (_EndOfStream, ConnectionError):
                # The server closes a connection that was idle for long, perhaps at this very moment. Without a byte of
                # an answer the request goes out once more, as it would after any other failure.
                if response.has_begun or (canceller is not None and canceller.is_cancelled()):
                    raise
        connection = self._connect(deadline)
        return self._send(connection, _Response(connection, deadline, max_bytes), method, request, canceller)

    def _send(
        self, connection: socket.socket, response: _Response, method: str, request: bytes, canceller: Canceller | None
    ) -> tuple[int, Any]:
        is_reusable = False
        try:
            if canceller is not None:
                canceller.attach(connection)
            try:
                connection.settimeout(response.remaining())
                connection.sendall(request)
                answer = response.read(method)
                is_reusable = response.is_reusable
            finally:
                if canceller is not None:
                    canceller.detach()
        finally:
            if not (is_reusable and self._keep(connection)):
                connection.close()
        return answer

    def _take_idle(self) -> socket.socket | None:
        """An idle connection that the server has not closed, the one used last first."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None or not _has_input(connection):
                return connection
            connection.close()  # closed by the server, or it sent what nobody asked for

    def _keep(self, connection: socket.socket) -> bool:
        with self._lock:
            has_room = len(self._idle) < _MAX_IDLE
            if has_room:
                self._idle.append(connection)
            return has_room

    def _connect(self, deadline: float) -> socket.socket:
        failure: OSError = TimeoutError()
        for host, port in self._addresses:
            connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            try:
                connection.settimeout(_remaining(deadline))
                connection.connect((host, port))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            except OSError as error:
                connection.close()
                failure = error
        raise failure


class _EndOfStream(ValueError):
    """The server closed the connection before the end of the answer."""


class _Response:
    """Reads one response, never past its end, never more than the limit."""

    def __init__(self, connection: socket.socket, deadline: float, max_bytes: int) -> None:
        self.has_begun = False
        self.is_reusable = False
        self._connection = connection
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._received = 0

    def remaining(self) -> float:
        """Seconds left until the deadline; raises `TimeoutError` when there are none."""
        return _remaining(self._deadline)

    def read(self, method: str) -> tuple[int, Any]:
        """Status and decoded body."""
        version, status, headers = self._head()
        while 100 <= status < 200:
            version, status, headers = self._head()
        connection = headers.get("connection", "").lower()
        may_stay = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)
        if status in (204, 304) or method == "HEAD":
            body = b""
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._chunks()
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            may_stay = False
            while self._fill():
                pass
            body = bytes(self._buffer)
            self._buffer.clear()
        self.is_reusable = may_stay and not self._buffer
        try:
            return status, json.loads(body) if body.strip() else None
        except ValueError:
            if status < 400:
                raise
            return status, None  # an error's status is the message; its text may come from any layer

    def _head(self) -> tuple[str, int, dict[str, str]]:
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
            raise ValueError("no HTTP status line")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return version, int(rest[:3]), headers

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            body += self._exactly(size)
            self._until(b"\r\n")
        while self._until(b"\r\n"):
            pass  # trailers
        return body

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._need()
        place = self._buffer.index(mark)
        found = bytes(self._buffer[:place])
        del self._buffer[: place + len(mark)]
        return found

    def _exactly(self, size: int) -> bytes:
        if not 0 <= size <= self._max_bytes:
            raise ValueError("it is too long")
        while len(self._buffer) < size:
            self._need()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _need(self) -> None:
        if not self._fill():
            raise _EndOfStream("it ends too early")

    def _fill(self) -> bool:
        self._connection.settimeout(self.remaining())
        data = self._connection.recv(65536)
        self.has_begun = self.has_begun or bool(data)
        self._received += len(data)
        if self._received > self._max_bytes:
            raise ValueError("it is too long")
        self._buffer += data
        return bool(data)


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _has_input(connection: socket.socket) -> bool:
    """Whether an idle connection has something to read, which can only be its end."""
    try:
        connection.setblocking(False)
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster
