"""What a reporter sends, against a server that is as strict as the real one."""

from __future__ import annotations

import threading
import time
from typing import Any

from agent_runner.loopback import Client
from agent_runner.redact import Redactor
from agent_runner.reporter import Reporter
from support.leases import Execution
from support.server import TOKEN, FakeServer, Request


class Held:
    """An execution that is leased, and a reporter for it that runs."""

    def __init__(self, server: FakeServer) -> None:
        self.execution: Execution = server.executions.add({})
        status, leased = server.executions.lease({"kinds": ["agent"], "wait_ms": 0}, lambda: True)
        assert status == 200
        client = Client("127.0.0.1", server.port, TOKEN)
        self.log: list[str] = []
        self.stops: list[float] = []
        self.reporter = Reporter(
            client, self.execution.id, leased["lease"], 500, Redactor([("KEY", "secret-4711")]), self.log.append
        )
        self._thread = threading.Thread(target=self.reporter.run, args=[lambda: self.stops.append(time.monotonic())])
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_what_is_said_at_once_goes_together_and_in_order(server: FakeServer) -> None:
    held = Held(server)
    for number in range(500):
        held.reporter.emit("message.delta", {"message": "m-1", "text": f"{number} "})
    held.reporter.emit("message", {"id": "m-1", "text": "secret-4711"})
    held.reporter.emit("message.delta", {"message": "m-2", "text": "other"})
    held.reporter.completed({"text": "secret-4711"})
    held.join()
    execution = held.execution
    assert execution.phase == "COMPLETED"
    texts = dict.fromkeys(("m-1", "m-2"), "")
    for delta in execution.all("message.delta"):
        texts[delta["message"]] += delta["text"]
    assert texts == {"m-1": "".join(f"{number} " for number in range(500)), "m-2": "other"}
    assert len(execution.events) < 100
    assert [event["type"] for event in execution.events][-2:] == ["message", "message.delta"]
    assert execution.output == {"text": "[redacted KEY]"}
    assert execution.all("message") == [{"id": "m-1", "text": "[redacted KEY]"}]


def test_more_than_a_request_takes_goes_in_several(server: FakeServer) -> None:
    held = Held(server)
    for number in range(20):
        held.reporter.emit("note", {"text": "x" * 200_000, "number": number})
    held.reporter.completed({"text": "y" * 900_000})
    held.join()
    assert held.execution.phase == "COMPLETED"
    assert [note["number"] for note in held.execution.all("note")] == list(range(20))


def test_an_event_that_is_too_long_loses_its_long_parts(server: FakeServer) -> None:
    held = Held(server)
    held.reporter.emit("message", {"id": "m-1", "text": "ü" * 10, "tool_calls": [{"arguments": "x" * 1000}] * 300})
    held.reporter.completed({})
    held.join()
    assert held.execution.all("message") == [{"id": "m-1", "text": "ü" * 10, "truncated": True}]


def test_a_quiet_execution_keeps_its_lease(server: FakeServer) -> None:
    held = Held(server)
    held.execution.wait_for_heartbeats(5)
    held.reporter.completed({"text": "done"})
    held.join()
    assert held.execution.phase == "COMPLETED"
    assert held.execution.events == []


def test_what_the_server_refuses_fails_the_execution_and_is_not_sent_for_ever(server: FakeServer) -> None:
    held = Held(server)
    held.reporter.emit("no.such.type", {})
    held.join()
    assert held.execution.error is not None
    assert held.execution.error["type"] == "internal"
    assert "no.such.type" in held.execution.error["message"]
    assert held.stops
    assert any("rejected" in line for line in held.log)


def test_work_that_does_not_stop_is_given_back_without_it(server: FakeServer) -> None:
    held = Held(server)
    server.executions.call_off(held.execution)
    held.join()  # nobody said that the work has stopped
    assert held.execution.phase == "CANCELLED"
    held.reporter.emit("note", {"text": "late"})
    held.reporter.completed({"text": "late"})
    assert (held.execution.output, held.execution.events) == (None, [])


def test_a_server_that_is_away_is_not_waited_for_longer_than_there_is_time(server: FakeServer) -> None:
    held = Held(server)
    away = threading.Event()

    def gone(_request: Request) -> tuple[int, Any]:
        away.set()
        return 503, {"error": "starting"}

    server.override = gone
    assert away.wait(60)
    held.reporter.interrupt(time.monotonic() + 1)
    held.join()
    assert any("cannot report the end of" in line for line in held.log)
    assert held.stops
