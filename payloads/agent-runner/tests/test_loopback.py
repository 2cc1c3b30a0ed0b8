"""The small HTTP client, against bytes that servers really send, and against bytes that none should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent_runner.loopback import Canceller, Client, Unreachable


@contextmanager
def answering(data: bytes, *, linger: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """A listener that sends `data` to one request, in two parts; `linger` keeps the connection open after it."""
    received: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(data[: len(data) // 2])
                connection.sendall(data[len(data) // 2 :])
                if linger:
                    done.wait()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], received
        finally:
            done.set()
            thread.join()


def ask(data: bytes, *, linger: bool = False, timeout: float = 10) -> tuple[int, object]:
    with answering(data, linger=linger) as (port, _):
        return Client("127.0.0.1", port, "secret").request("GET", "/x", timeout=timeout)


def test_the_request_is_complete() -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, received):
        Client("127.0.0.1", port, "secret").request("POST", "/v1/workers", {"a": "ü"}, timeout=10)
        head, _, body = received[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /v1/workers HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}".encode() in head
    assert b"Authorization: Bearer secret" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert body == '{"a":"ü"}'.encode()


@pytest.mark.parametrize("linger", [False, True])
@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b'HTTP/1.1 201 Created\r\ncontent-length: 7\r\n\r\n{"a":1}', (201, {"a": 1})),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\n\r\n',
            (200, {"a": 1}),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", (204, None)),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found", (404, None)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, None)),
    ],
)
def test_answers_are_read_without_waiting_for_the_end(data: bytes, answer: tuple[int, object], linger: bool) -> None:
    assert ask(data, linger=linger) == answer


def test_an_answer_may_end_with_the_connection() -> None:
    assert ask(b'HTTP/1.0 200 OK\r\n\r\n{"a":1}') == (200, {"a": 1})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends too early"),
        (b"SSH-2.0-server\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "ends too early"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", "too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{x}", "unexpected response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2_000_000, "too long"),
    ],
)
def test_nonsense_is_unreachable_not_a_crash(data: bytes, reason: str) -> None:
    with pytest.raises(Unreachable, match=reason):
        ask(data)


def test_a_server_that_says_nothing_is_given_up() -> None:
    with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
        ask(b"", linger=True, timeout=0.05)


def test_nobody_listening_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="refused"):
        Client("127.0.0.1", port, "secret").request("GET", "/", timeout=10)


def test_localhost_finds_the_family_that_listens() -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, received):
        assert Client("localhost", port, "secret").request("GET", "/", timeout=10) == (204, None)
    assert b"Host: localhost:" in received[0]


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'
ANSWER = (200, {"a": 1})


class Listener:
    """A server that gives each connection the answers it was told, one per request, and then closes it."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.requests: list[tuple[int, bytes]] = []
        self.closed = [threading.Event() for _ in connections]
        self._plan = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        for number, answers in enumerate(self._plan):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                for answer in answers:
                    request = connection.recv(65536)
                    if not request:
                        break
                    self.requests.append((number, request.split(b" ")[1]))
                    connection.sendall(answer)
            self.closed[number].set()


def test_a_connection_is_used_again() -> None:
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\nX: y\r\n\r\n'
    with Listener([OK, chunked, b"HTTP/1.1 204 No Content\r\n\r\n", OK]) as server:
        client = Client("127.0.0.1", server.port, "secret")
        answers = [client.request("GET", f"/{number}", timeout=10) for number in range(4)]
    assert answers == [ANSWER, ANSWER, (204, None), ANSWER]
    assert server.requests == [(0, b"/0"), (0, b"/1"), (0, b"/2"), (0, b"/3")]


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{"a":1}',
        b'HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}',
        OK + b"HTTP/1.1 200 OK\r\n",  # what nobody asked for would be taken for the next answer
    ],
)
def test_a_connection_that_must_not_be_used_again_is_not(answer: bytes) -> None:
    with Listener([answer], [OK]) as server:
        client = Client("127.0.0.1", server.port, "secret")
        assert client.request("GET", "/0", timeout=10) == ANSWER
        assert client.request("GET", "/1", timeout=10) == ANSWER
    assert server.requests == [(0, b"/0"), (1, b"/1")]


def test_a_connection_that_the_server_has_closed_is_replaced() -> None:
    with Listener([OK], [OK]) as server:
        client = Client("127.0.0.1", server.port, "secret")
        assert client.request("GET", "/0", timeout=10) == ANSWER
        server.closed[0].wait(10)
        assert client.request("GET", "/1", timeout=10) == ANSWER


def test_a_connection_that_the_server_closes_at_the_next_request_is_replaced() -> None:
    with Listener([OK, b""], [OK]) as server:
        client = Client("127.0.0.1", server.port, "secret")
        assert client.request("GET", "/0", timeout=10) == ANSWER
        assert client.request("POST", "/1", {"b": 2}, timeout=10) == ANSWER
    assert server.requests == [(0, b"/0"), (0, b"/1"), (1, b"/1")]


def test_a_request_whose_answer_has_begun_is_not_sent_again() -> None:
    with Listener([OK, OK[:30]], [OK]) as server:
        client = Client("127.0.0.1", server.port, "secret")
        assert client.request("GET", "/0", timeout=10) == ANSWER
        with pytest.raises(Unreachable, match="ends too early"):
            client.request("POST", "/1", {}, timeout=10)
    assert server.requests == [(0, b"/0"), (0, b"/1")]


def test_a_cancelled_request_ends_and_is_not_sent_again() -> None:
    canceller = Canceller()
    release = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arrived: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(OK)
                arrived.append(connection.recv(65536))
                canceller.cancel()
                release.wait(10)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = Client("127.0.0.1", listener.getsockname()[1], "secret")
        assert client.request("GET", "/0", timeout=10) == ANSWER
        with pytest.raises(Unreachable):
            client.request("POST", "/1", {}, timeout=10, canceller=canceller)
        release.set()
        thread.join(10)
    assert len(arrived) == 1
    with pytest.raises(Unreachable, match="cancelled"):
        client.request("POST", "/2", {}, timeout=10, canceller=canceller)
