"""The part of a fake server that gives executions to workers, as strict as the real one."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 60.0
KINDS = {
    "message.delta", "message", "tool.started", "tool.ended", "usage", "note", "task.started", "task.completed",
    "task.failed", "task.retried", "wait.set", "branch", "effect",
}  # fmt: skip
MAX_EVENT = 256 * 1024
MAX_OUTPUT = 1024 * 1024
MAX_BODY = 2 * 1024 * 1024


@dataclass
class Execution:
    """An execution with its journal. `wait` methods fail when what they wait for does not come."""

    id: str
    definition: dict[str, Any]
    message: str
    history: list[dict[str, Any]]
    input: Any
    changed: threading.Condition
    phase: str = "PENDING"
    lease: str | None = None
    last_n: int = 0
    cancel: bool = False
    heartbeats: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    output: Any = None
    error: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        return self.phase in ("COMPLETED", "FAILED", "CANCELLED")

    def wait(self) -> Execution:
        """Until it is over."""
        self.wait_for(lambda: self.is_over, f"{self.id} is {self.phase}")
        return self

    def wait_for_event(self, kind: str) -> dict[str, Any]:
        """The data of the first event of this kind."""
        self.wait_for(lambda: bool(self.all(kind)), f"there is no {kind} in {self.events}")
        return self.all(kind)[0]

    def wait_for_heartbeats(self, more: int) -> None:
        """So many more heartbeats from now on."""
        goal = self.heartbeats + more
        self.wait_for(lambda: self.heartbeats >= goal, "no more heartbeats")

    def wait_for(self, what: Any, otherwise: str) -> None:
        with self.changed:
            assert self.changed.wait_for(what, PATIENCE), otherwise

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The data of all events of this kind."""
        return [event["data"] for event in self.events if event["type"] == kind]

    def said(self) -> str:
        """What a subscriber has seen as text, message by message."""
        return "".join(data["text"] for data in self.all("message.delta"))

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id, "kind": "agent", "name": "hello", "digest": "d", "phase": self.phase, "attempt": 1,
            "message": self.message, "input": self.input, "session": "s-1", "cancel_requested": self.cancel,
            "output": self.output, "error": self.error, "created": "2026-01-01T00:00:00.000Z", "started": None,
            "ended": None, "last_seq": len(self.events) + 1,
        }  # fmt: skip


class Executions:
    """All of them, and the answers to requests about them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.lease_ms = 10_000
        self.all: dict[str, Execution] = {}
        self.is_closed = False
        self._leases = 0

    def add(self, definition: dict[str, Any], message: str = "hi", **more: Any) -> Execution:
        """Something to do."""
        with self.changed:
            identity = f"01x{len(self.all) + 1}"
            known = {"history": [], "input": None} | more
            execution = Execution(identity, definition, message, changed=self.changed, **known)
            self.all[identity] = execution
            self.changed.notify_all()
        return execution

    def call_off(self, execution: Execution) -> None:
        with self.changed:
            execution.cancel = True

    def expire(self, execution: Execution) -> None:
        """Takes it from its worker."""
        with self.changed:
            execution.lease = None

    def wake(self, *, closed: bool = False) -> None:
        """Whoever waits looks again."""
        with self.changed:
            self.is_closed = self.is_closed or closed
            self.changed.notify_all()

    def lease(self, body: dict[str, Any], is_known: Any) -> tuple[int, Any]:
        """Waits for something to do. `is_known`: whether the worker is."""
        if set(body) - {"kinds", "wait_ms"} or "agent" not in body["kinds"]:
            return 400, {"error": f"what is {body}?"}
        deadline = time.monotonic() + body.get("wait_ms", 0) / 1000
        with self.changed:
            while is_known() and not self.is_closed:
                waiting = next((one for one in self.all.values() if one.phase == "PENDING"), None)
                if waiting is not None:
                    return 200, self._give(waiting)
                if not self.changed.wait(max(deadline - time.monotonic(), 0)):
                    return 204, None
        return 404, {"error": "this worker is not known: register again"}

    def _give(self, execution: Execution) -> dict[str, Any]:
        self._leases += 1
        execution.lease, execution.phase = f"l-{self._leases}", "IN_PROGRESS"
        self.changed.notify_all()
        return {
            "lease": execution.lease, "lease_ms": self.lease_ms, "execution": execution.shown(), "events": [],
            "definition": execution.definition, "history": execution.history,
        }  # fmt: skip

    def report(self, lease: str, what: str, body: dict[str, Any]) -> tuple[int, Any]:
        """A heartbeat or an end."""
        with self.changed:
            held = next((one for one in self.all.values() if one.lease == lease), None)
            if held is None:
                return 410, {"error": "this lease does not hold any more"}
            allowed = {"heartbeat": set(), "complete": {"output"}, "fail": {"error"}, "cancelled": set()}[what]
            problem = self._problem(body, allowed)
            if problem:
                return 400, {"error": problem}
            for event in body.get("events", []):
                if event["n"] <= held.last_n:
                    continue
                if event["n"] != held.last_n + 1:
                    return 409, {"error": f"event {held.last_n + 1} is missing"}
                held.last_n = event["n"]
                held.events.append(event)
            if what == "heartbeat":
                held.heartbeats += 1
            else:
                self._end(held, what, body)
            self.changed.notify_all()
            return 200, {"cancel": held.cancel, "last_n": held.last_n} if what == "heartbeat" else held.shown()

    def _problem(self, body: dict[str, Any], allowed: set[str]) -> str | None:
        if set(body) - {"events"} != allowed:
            return f"what is {sorted(body)}?"
        if len(json.dumps(body.get("output"), ensure_ascii=False).encode()) > MAX_OUTPUT:
            return "the output is too long"
        if "error" in body and (set(body["error"]) - {"type", "message", "hint"} or not body["error"]["message"]):
            return f"what is {body['error']}?"
        for event in body.get("events", []):
            if set(event) != {"n", "type", "data"} or event["type"] not in KINDS or event["n"] < 1:
                return f"what is {event}?"
            if len(json.dumps(event["data"], ensure_ascii=False).encode()) > MAX_EVENT:
                return f"event {event['n']} is too long"
        return None

    def _end(self, held: Execution, what: str, body: dict[str, Any]) -> None:
        held.phase = {"complete": "COMPLETED", "fail": "FAILED", "cancelled": "CANCELLED"}[what]
        held.output, held.error, held.lease = body.get("output"), body.get("error"), None
