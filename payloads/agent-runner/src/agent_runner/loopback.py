"""A small HTTP/1.1 client for a server on this machine.

The standard library's client brings TLS and the mail parser with it, which is half of the worker's start; and every
general client obeys the proxy variables of the environment, which must never see a loopback request. What the worker
needs is one request per connection, JSON both ways, and an answer or a reason within a time limit.
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


class Unreachable(Exception):
    """No usable answer: nobody listens, the time is up, or what came is not HTTP."""


class Cord:
    """Ends a request from another thread: one that waits for work is of no use to a worker that is told to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._is_pulled = False

    def pull(self) -> None:
        """Ends the request that is under way, and every later one with this cord."""
        with self._lock:
            self._is_pulled = True
            if self._connection is not None:
                _cut(self._connection)

    def tie(self, connection: socket.socket) -> None:
        """From now on pulling ends what happens on this connection."""
        with self._lock:
            if self._is_pulled:
                raise ConnectionAbortedError("not wanted any more")
            self._connection = connection

    def untie(self) -> None:
        """The connection is about to be closed."""
        with self._lock:
            self._connection = None


class Client:
    """Speaks to one server with one token."""

    def __init__(self, host: str, port: int, token: str) -> None:
        # `localhost` may mean either family, and the server listens on one of them.
        self._addresses = [("127.0.0.1", port), ("::1", port)] if host == "localhost" else [(host, port)]
        self._host_header = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._token = token

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        timeout: float,
        most: int = _MAX_ANSWER,
        cord: Cord | None = None,
    ) -> tuple[int, Any]:
        """Status and decoded body (None when there is none), within `timeout` seconds in all.

        An answer of more than `most` bytes is none. Texts of `body` must be encodable.
        """
        deadline = time.monotonic() + timeout
        payload = b"" if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host_header}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
        )
        try:
            with self._connect(deadline) as connection:
                if cord is not None:
                    cord.tie(connection)
                try:
                    connection.sendall(head.encode("ascii") + payload)
                    return _Answer(connection, deadline, most).read(method)
                finally:
                    if cord is not None:
                        cord.untie()
        except TimeoutError:
            raise Unreachable(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise Unreachable(error.strerror or str(error)) from None
        except ValueError as error:
            raise Unreachable(f"the answer is not what a stigmer server sends: {error}") from None

    def _connect(self, deadline: float) -> socket.socket:
        failure: OSError = TimeoutError()
        for host, port in self._addresses:
            connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            try:
                connection.settimeout(_remaining(deadline))
                connection.connect((host, port))
                return connection
            except OSError as error:
                connection.close()
                failure = error
        raise failure


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Answer:
    """Reads one response, never past its end, never more than the limit."""

    def __init__(self, connection: socket.socket, deadline: float, most: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._most = most
        self._buffer = bytearray()
        self._received = 0

    def read(self, method: str) -> tuple[int, Any]:
        status, headers = self._head()
        while 100 <= status < 200:
            status, headers = self._head()
        if status in (204, 304) or method == "HEAD":
            return status, None
        body = self._body(headers)
        try:
            return status, json.loads(body) if body.strip() else None
        except ValueError:
            if status < 400:
                raise
            return status, None  # an error's status is the message; its text may come from any layer

    def _head(self) -> tuple[int, dict[str, str]]:
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
            raise ValueError("no HTTP status line")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(rest[:3]), headers

    def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        while self._fill():
            pass
        return bytes(self._buffer)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            body += self._exactly(size)
            self._until(b"\r\n")
        return body

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._need()
        place = self._buffer.index(mark)
        found = bytes(self._buffer[:place])
        del self._buffer[: place + len(mark)]
        return found

    def _exactly(self, size: int) -> bytes:
        if not 0 <= size <= self._most:
            raise ValueError("it is too long")
        while len(self._buffer) < size:
            self._need()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _need(self) -> None:
        if not self._fill():
            raise ValueError("it ends too early")

    def _fill(self) -> bool:
        self._connection.settimeout(_remaining(self._deadline))
        data = self._connection.recv(65536)
        self._received += len(data)
        if self._received > self._most:
            raise ValueError("it is too long")
        self._buffer += data
        return bool(data)
