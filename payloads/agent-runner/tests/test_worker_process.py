"""The worker as a real process, against a server that speaks the protocol."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from support.process import Runner, config_for
from support.server import PATIENCE, TOKEN, FakeServer, Request

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM; there the end of stdin asks for it")


def registration(request: Request) -> bool:
    return request.path == "/v1/workers"


def idle(request: Request) -> bool:
    return request.state == "idle"


def test_ready_comes_after_registration_and_first_heartbeat(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    server.heartbeat_ms = 60_000  # so that all that happens, happens before ready
    process = runner.supervised(config_for(server.url, tmp_path / "work"))
    assert process.handshake() == {"event": "ready", "version": "0.1.0", "pid": process.popen.pid}
    assert server.requests == [
        Request(
            "POST",
            "/v1/workers",
            {"kind": "agent-runner", "version": "0.1.0", "pid": process.popen.pid, "instance": "01test"},
            authorized=True,
        ),
        Request("POST", "/v1/workers/w-1/heartbeat", {"state": "idle"}, authorized=True),
    ]
    assert (tmp_path / "work").is_dir()


def test_heartbeats_come_as_often_as_the_server_asks(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    runner.supervised(config_for(server.url, tmp_path, heartbeat_ms=600_000))
    for number in range(2, 7):  # the config's ten minutes would not even bring the second
        server.wait_for(idle, after=number)


def test_the_end_of_stdin_drains_and_exits(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    process.handshake()
    process.cut_lifeline()
    assert process.wait() == 0
    assert [(r.method, r.path, r.state) for r in server.requests[-2:]] == [
        ("POST", "/v1/workers/w-1/heartbeat", "draining"),
        ("DELETE", "/v1/workers/w-1", None),
    ]
    assert "supervisor is gone" in process.log()


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_deregisters(
    runner: Runner, server: FakeServer, tmp_path: Path, number: signal.Signals
) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    process.handshake()
    process.popen.send_signal(number)
    assert process.wait() == 0
    assert [(r.method, r.state) for r in server.requests[-2:]] == [("POST", "draining"), ("DELETE", None)]
    assert server.workers == set()


@posix
def test_a_signal_ends_it_while_the_server_does_not_answer(runner: Runner, tmp_path: Path) -> None:
    with FakeServer() as closed:
        pass
    process = runner.supervised(config_for(closed.url, tmp_path))
    process.wait_for_log("waiting for the server")
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert process.handshake() == {"event": "failed", "reason": "stopped before it was ready"}


def test_it_leaves_in_time_when_supervisor_and_server_both_hang(
    runner: Runner, server: FakeServer, tmp_path: Path
) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    process.handshake()
    release = threading.Event()

    def hang(_request: Request) -> None:
        """Leaves every request from now on without an answer."""
        arrived.set()
        release.wait()

    arrived = threading.Event()
    server.override = hang
    try:
        assert arrived.wait(PATIENCE)
        begin = time.monotonic()
        process.cut_lifeline()
        assert process.wait() == 0
        assert time.monotonic() - begin < 5
    finally:
        release.set()


def test_it_registers_again_when_the_server_forgot_it(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    process.handshake()
    seen = len(server.requests)
    server.forget()
    server.wait_for(registration, after=seen)
    server.wait_for(lambda r: r.path == "/v1/workers/w-2/heartbeat" and r.state == "idle")
    process.wait_for_log("registered again as w-2")


def test_it_survives_an_outage_and_says_so_once(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    process.handshake()
    failing = [0]

    def away(_request: Request) -> tuple[int, Any]:
        failing[0] += 1
        return 503, {"error": "starting"}

    seen = len(server.requests)
    server.override = away
    server.wait_for(lambda _request: failing[0] >= 4, after=seen)
    server.override = lambda _request: None
    process.wait_for_log("the server is available again")
    assert process.log().count("is unavailable") == 1
    assert "503: starting" in process.log()


def test_it_finds_a_server_that_comes_back_on_the_same_port(runner: Runner, tmp_path: Path) -> None:
    with FakeServer() as first:
        process = runner.supervised(config_for(first.url, tmp_path))
        process.handshake()
    process.wait_for_log("is unavailable")
    with FakeServer(port=first.port) as second:
        second.wait_for(registration)
        second.wait_for(idle)
        process.wait_for_log("the server is available again")
        assert process.popen.poll() is None


def test_a_server_that_is_late_is_waited_for(runner: Runner, tmp_path: Path) -> None:
    with FakeServer() as closed:
        pass
    process = runner.supervised(config_for(closed.url, tmp_path))
    process.wait_for_log("waiting for the server")
    with FakeServer(port=closed.port):
        assert process.handshake()["event"] == "ready"


def test_a_refused_token_is_a_config_error(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    process = runner.supervised(config_for(server.url, tmp_path, token="wrong-token-0815"))
    handshake = process.handshake()
    assert handshake["event"] == "failed"
    assert "rejects the token" in handshake["reason"]
    assert process.wait() == 78
    assert "wrong-token-0815" not in process.log() + str(handshake)


def test_a_token_refused_later_is_a_crash_because_a_restart_brings_the_new_one(
    runner: Runner, server: FakeServer, tmp_path: Path
) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    assert process.handshake()["event"] == "ready"
    server.override = lambda _request: (401, {"error": "no such token"})
    assert process.wait() == 1
    assert "rejects the token" in process.log()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"schema": 3}\n', "lacks keys: component, instance"),
        (b"not json\n", "not one line of JSON"),
        (b"\n", "no config arrived"),
        (b"", "no config arrived"),
    ],
)
def test_a_bad_config_fails_the_handshake(runner: Runner, line: bytes, reason: str) -> None:
    process = runner.start("--supervised")
    process.send_raw(line)
    if not line:
        process.cut_lifeline()
    handshake = process.handshake()
    assert handshake["event"] == "failed"
    assert reason in handshake["reason"]
    assert handshake["hint"]
    assert process.wait() == 78


def test_an_unknown_key_fails_the_handshake(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    process = runner.supervised(config_for(server.url, tmp_path, heartbeats_ms=5))
    assert process.handshake()["reason"] == "the config has unknown keys: heartbeats_ms"
    assert process.wait() == 78
    assert server.requests == []


def test_a_secret_of_the_config_is_not_in_what_others_see(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    process = runner.supervised(config_for(server.url, tmp_path, environment={"OPENAI_API_KEY": "value-4711"}))
    assert process.handshake()["event"] == "ready"
    place = Path(f"/proc/{process.popen.pid}")
    if place.exists():
        assert b"value-4711" not in (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
    process.cut_lifeline()
    process.wait()
    assert "value-4711" not in process.log()


def test_a_proxy_in_the_config_is_not_asked(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    with FakeServer() as proxy:
        variables = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), proxy.url)
        process = runner.supervised(config_for(server.url, tmp_path, environment=variables))
        assert process.handshake()["event"] == "ready"
        assert proxy.requests == []


def test_a_proxy_in_the_environment_is_not_asked(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    with FakeServer() as proxy:
        variables = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), proxy.url)
        process = runner.supervised(config_for(server.url, tmp_path), **variables)
        assert process.handshake()["event"] == "ready"
        assert proxy.requests == []


def test_another_instance_is_refused_at_once(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    process = runner.supervised(config_for(server.url, tmp_path, instance="01other"))
    handshake = process.handshake()
    assert handshake["event"] == "failed"
    assert "409: the worker belongs to another run" in handshake["reason"]
    assert "--component stigmer-server" in handshake["hint"]
    assert process.wait() == 1
    assert [request.path for request in server.requests] == ["/v1/workers"]


def shell_flags(url: str, work: Path, token: str = TOKEN) -> list[str]:
    file = work / "token file"
    file.write_text(f"{token}\n", encoding="utf-8")
    return ["--server", url, "--token-file", str(file), f"--work-dir={work}", "--heartbeat-ms", "50"]


def test_from_a_shell_it_does_the_same_and_ignores_stdin(runner: Runner, server: FakeServer, tmp_path: Path) -> None:
    server.instance = "01of-the-server"
    process = runner.start(*shell_flags(server.url, tmp_path))
    process.cut_lifeline()
    process.wait_for_log("ready, serving")
    assert [(r.method, r.path) for r in server.requests[:2]] == [("GET", "/v1/status"), ("POST", "/v1/workers")]
    assert server.requests[1].body["instance"] == "01of-the-server"
    server.wait_for(idle, after=5)
    assert process.popen.poll() is None
    if os.name == "posix":
        process.popen.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert server.workers == set()


def test_from_a_shell_a_server_that_is_late_or_in_trouble_is_waited_for(runner: Runner, tmp_path: Path) -> None:
    with FakeServer() as closed:
        pass
    process = runner.start(*shell_flags(closed.url, tmp_path))
    process.wait_for_log("waiting for the server")
    late = FakeServer(port=closed.port)
    troubles = iter([(503, {"error": "starting"})] * 2)
    late.override = lambda _request: next(troubles, None)
    with late:
        process.wait_for_log("ready, serving")
        assert [r.path for r in late.requests[:4]] == ["/v1/status"] * 3 + ["/v1/workers"]


@pytest.mark.parametrize(
    ("token", "status", "code", "says"),
    [
        ("wrong-token-0815", None, 78, "rejects the token"),
        (TOKEN, 404, 1, "does not report its instance: answer 404: no"),
    ],
)
def test_from_a_shell_a_refusal_is_not_asked_for_again(
    runner: Runner, server: FakeServer, tmp_path: Path, token: str, status: int | None, code: int, says: str
) -> None:
    server.override = lambda _request: None if status is None else (status, {"error": "no"})
    process = runner.start(*shell_flags(server.url, tmp_path, token))
    assert process.wait() == code
    assert says in process.log()
    assert "hint: " in process.log()
    assert "'stigmer server status'" in process.log()
    assert [request.path for request in server.requests] == ["/v1/status"]


def test_the_token_is_neither_in_the_log_nor_in_the_arguments(
    runner: Runner, server: FakeServer, tmp_path: Path
) -> None:
    process = runner.supervised(config_for(server.url, tmp_path))
    process.handshake()
    place = Path(f"/proc/{process.popen.pid}")
    if place.exists():
        assert TOKEN.encode() not in (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
    process.cut_lifeline()
    process.wait()
    assert not re.search(TOKEN, process.log())
