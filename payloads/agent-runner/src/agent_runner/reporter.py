"""What happens in one execution, on its way to the server; and what the server says of it, on its way back.

A thread of its own for each execution, which does nothing else: a provider that hangs, or a library that keeps the
processor, must not stop the heartbeats of a lease. Events are counted, and sent again until the server has them; the
server passes over those it has.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from agent_runner.loopback import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent_runner.loopback import Client
    from agent_runner.redact import Redactor

# Text is shown as it comes, but not more often than an eye can follow.
BATCH = 0.05
REQUEST_TIMEOUT = 5.0
# What the server takes of one event and of one output, less what surrounds them; in bytes of JSON.
MAX_EVENT = 240 * 1024
MAX_OUTPUT = 1000 * 1024
_MAX_BATCH = 512 * 1024
_MAX_DELTA = 16 * 1024
# How long work that was told to stop may take before the lease is given back without it.
_STOP_GRACE = 2.0
# What is left of the time for saying the last thing.
_RESERVE = 0.5
_MIN_RETRY_DELAY = 0.1
_MAX_RETRY_DELAY = 2.0

_LOST = "lost"
_CANCELLED = "cancelled"
_INTERRUPTED = "interrupted"


class Reporter:
    """The events and the end of one execution. Everything but `run` may be called from any thread."""

    def __init__(
        self, client: Client, execution: str, lease: str, lease_ms: int, redactor: Redactor, log: Callable[[str], None]
    ) -> None:
        self.redactor = redactor
        self._client = client
        self._execution = execution
        self._lease = lease
        self._beat = max(min(lease_ms / 5000, 1.0), 0.02)
        self._log = log
        self._changed = threading.Condition()
        self._pending: list[tuple[str, dict[str, Any]]] = []
        self._numbered: list[tuple[dict[str, Any], int]] = []
        self._last_n = 0
        self._end: tuple[str, dict[str, Any]] | None = None
        self._is_done = False
        self._why: str | None = None
        self._deadline = float("inf")
        self._failures = 0

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        """Something happened."""
        data = _bounded(self.redactor.value(data))
        with self._changed:
            if self._end is None and self._why is None and not self._merge(kind, data):
                self._pending.append((kind, data))
                self._changed.notify_all()

    def completed(self, output: dict[str, Any]) -> None:
        """The execution came to its end."""
        self._set_end("complete", {"output": self.redactor.value(output)})

    def failed(self, kind: str, message: str, hint: str | None = None) -> None:
        """The execution came to an error. `kind` is one of the words that docs/agents.md lists."""
        error = {"type": kind, "message": message} | ({} if hint is None else {"hint": hint})
        self._set_end("fail", {"error": self.redactor.value(error)})

    def stopped(self) -> None:
        """The work has stopped because it was told to."""
        self._set_end("fail", {"error": {"type": "internal", "message": "the execution stopped unexpectedly"}})

    def interrupt(self, deadline: float) -> None:
        """The process ends: what is not finished by now is given back before `deadline` (monotonic)."""
        with self._changed:
            self._why = self._why or _INTERRUPTED
            self._deadline = deadline
            self._changed.notify_all()

    def run(self, stop_work: Callable[[], None]) -> None:
        """Reports until the execution is over. Calls `stop_work` when nobody wants it any more, and at the end."""
        try:
            last = 0.0
            while not self._is_over():
                with self._changed:
                    self._changed.wait_for(self._has_events, self._beat)
                    self._changed.wait_for(self._is_over, max(last + BATCH - time.monotonic(), 0))
                if not self._is_over():
                    last = time.monotonic()
                    self._heartbeat()
            if self._end is None:
                stop_work()
                self._wait_for_stop()
            self._send_end()
        finally:
            stop_work()

    def _merge(self, kind: str, data: dict[str, Any]) -> bool:
        """Text that follows text which is not on its way yet goes with it."""
        if kind != "message.delta" or not self._pending:
            return False
        last_kind, last = self._pending[-1]
        if last_kind != kind or last["message"] != data["message"] or len(last["text"]) > _MAX_DELTA:
            return False
        last["text"] += data["text"]
        return True

    def _set_end(self, how: str, what: dict[str, Any]) -> None:
        with self._changed:
            if self._end is None and self._why is None:
                self._end = how, what
            self._is_done = True
            self._changed.notify_all()

    def _has_events(self) -> bool:
        return bool(self._pending) or self._is_over()

    def _is_over(self) -> bool:
        return self._end is not None or self._why is not None

    def _wait_for_stop(self) -> None:
        """The work was told to stop. The lease is kept until it has, or for a while."""
        patience = min(time.monotonic() + _STOP_GRACE, self._deadline - _RESERVE)
        while self._why != _LOST and not self._is_done and time.monotonic() < patience:
            with self._changed:
                self._changed.wait_for(lambda: self._is_done, min(self._beat, max(patience - time.monotonic(), 0)))
            if not self._is_done and time.monotonic() < patience:
                self._heartbeat()
        if self._why == _CANCELLED:
            self._end = "cancelled", {}
        elif self._why == _INTERRUPTED:
            message = "the agent-runner was stopped during the execution"
            hint = f"run `stigmer execution resume {self._execution}` to retry"
            self._end = "fail", {"error": {"type": "interrupted", "message": message, "hint": hint}}

    def _send_end(self) -> None:
        """Sends what is left, and the end."""
        while self._why != _LOST and self._end is not None:
            events = self._take()
            if self._pending:
                self._post("heartbeat", {"events": events})
                continue
            how, what = self._end
            if self._post(how, {"events": events} | what) == 200:
                return

    def _heartbeat(self) -> None:
        self._post("heartbeat", {"events": self._take()})

    def _take(self) -> list[dict[str, Any]]:
        """The events that go next, counted. What is on its way stays as it is until the server has it."""
        with self._changed:
            size = sum(size for _, size in self._numbered)
            while self._pending:
                kind, data = self._pending[0]
                long = _size(data) + 64
                if self._numbered and size + long > _MAX_BATCH:
                    break
                del self._pending[0]
                size += long
                self._last_n += 1
                self._numbered.append(({"n": self._last_n, "type": kind, "data": data}, long))
        return [event for event, _ in self._numbered]

    def _post(self, what: str, body: dict[str, Any]) -> int | None:
        """The status; None when there was no usable answer, after a pause."""
        timeout = max(min(REQUEST_TIMEOUT, self._deadline - time.monotonic()), 0.05)
        try:
            status, answer = self._client.request("POST", f"/v1/leases/{self._lease}/{what}", body, timeout=timeout)
        except Unreachable as error:
            self._pause(str(error))
            return None
        if status == 410:
            self._log(f"dropped execution {self._execution}: its lease was lost")
            self._mark_lost()
        elif status in (400, 409, 413):
            self._refused(f"answer {status}: {answer.get('error') if isinstance(answer, dict) else ''}")
        elif status != 200:
            self._pause(f"answer {status}")
            return None
        elif what == "heartbeat" and isinstance(answer, dict):
            last_n = answer.get("last_n")
            self._numbered = [entry for entry in self._numbered if entry[0]["n"] > (last_n or 0)]
            if answer.get("cancel") is True:
                with self._changed:
                    self._why = self._why or _CANCELLED
        self._failures = 0
        return status

    def _mark_lost(self) -> None:
        with self._changed:
            self._why = _LOST

    def _refused(self, why: str) -> None:
        """A mistake of ours; the server would refuse it for ever. The execution fails, without what was refused."""
        self._log(f"execution {self._execution}: the server rejected its events: {why}")
        if not self._numbered and self._end is not None and self._end[0] == "fail":
            self._mark_lost()  # then the lease runs out
            return
        with self._changed:
            self._pending.clear()
            self._last_n -= len(self._numbered)
            self._numbered.clear()
            message = f"the server rejected the events of the execution: {why}"
            self._end = "fail", {"error": {"type": "internal", "message": message}}

    def _pause(self, why: str) -> None:
        """The server is away, and comes back or not; the worker's own heartbeats say so in the log."""
        if time.monotonic() >= self._deadline:
            self._log(f"cannot report the end of execution {self._execution}: {why}")
            self._mark_lost()
            return
        pause = min(_MIN_RETRY_DELAY * 2 ** min(self._failures, 8), _MAX_RETRY_DELAY)
        self._failures += 1
        before = self._why
        with self._changed:
            self._changed.wait_for(lambda: self._why != before, min(pause, max(self._deadline - time.monotonic(), 0)))


def _bounded(data: dict[str, Any]) -> dict[str, Any]:
    """What fits into an event: of one that is too long, the short parts."""
    if _size(data) <= MAX_EVENT:
        return data
    short = {name: value for name, value in data.items() if _size(value) <= _MAX_DELTA}
    return (short if _size(short) <= MAX_EVENT else {}) | {"truncated": True}


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
