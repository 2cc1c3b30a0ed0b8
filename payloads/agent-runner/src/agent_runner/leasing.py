"""Leases executions from the server, as many at once as the configuration allows, and runs each of them.

One thread waits for work. An execution runs in the agents' event loop (`agents`, imported with the first one) and has a
reporter with a thread of its own; when that ends, the next execution can be leased.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from agent_runner.loopback import Canceller, Unreachable
from agent_runner.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent_runner.config import Config
    from agent_runner.loopback import Client
    from agent_runner.redact import Redactor

KINDS = ["agent"]
WAIT_MS = 20_000
# A lease carries the message, the definition and what was said before in the session.
MAX_LEASE_BYTES = 32 * 1024 * 1024
_MIN_RETRY_DELAY = 0.1
_MAX_RETRY_DELAY = 2.0
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class Leasing:
    """The running executions of this worker."""

    def __init__(self, config: Config, client: Client, redactor: Redactor, log: Callable[[str], None]) -> None:
        self._config = config
        self._client = client
        self._redactor = redactor
        self._log = log
        self._canceller = Canceller()
        self._changed = threading.Condition()
        self._worker: str | None = None
        self._running: dict[str, Reporter] = {}
        self._is_stopping = False
        self._importing = threading.Lock()
        self._agents: Any = None

    def start(self) -> None:
        """Begins to wait for work."""
        threading.Thread(target=self._wait_for_work, name="leasing", daemon=True).start()

    def registered(self, worker: str) -> None:
        """The server knows this worker by that id."""
        with self._changed:
            self._worker = worker
            self._changed.notify_all()

    def is_busy(self) -> bool:
        """Whether an execution is running."""
        return bool(self._running)

    def close(self) -> None:
        """Leases no more executions."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._canceller.cancel()

    def drain(self, grace: float, limit: float) -> None:
        """Waits `grace` seconds for running executions, and reports the rest as interrupted within `limit` seconds."""
        begin = time.monotonic()
        with self._changed:
            if self._changed.wait_for(lambda: not self._running, grace):
                return
            left = list(self._running.values())
        self._log(f"reporting {len(left)} unfinished executions as interrupted")
        for reporter in left:
            reporter.interrupt(begin + limit)
        with self._changed:
            self._changed.wait_for(lambda: not self._running, max(begin + limit - time.monotonic(), 0))

    def _wait_for_work(self) -> None:
        delay = 0.0
        while True:
            worker = self._wait_for_place(delay)
            if worker is None:
                return
            begin = time.monotonic()
            try:
                leased = self._lease(worker)
            except (Unreachable, ValueError, KeyError, TypeError):
                leased = None
            # A server that answers at once without work must not be asked without a pause.
            is_early = leased is None and time.monotonic() - begin < WAIT_MS / 2000
            delay = min(max(delay * 2, _MIN_RETRY_DELAY), _MAX_RETRY_DELAY) if is_early else 0.0
            # An execution leased while this worker stops is interrupted when it deregisters.
            if leased is not None and not self._is_stopping:
                self._begin(leased)

    def _wait_for_place(self, delay: float) -> str | None:
        """Waits for `delay` seconds and for a free place. The worker's id; None when this worker stops."""
        with self._changed:
            if delay:
                # A server that has restarted knows this worker as soon as it has registered again.
                known = self._worker
                self._changed.wait_for(lambda: self._is_stopping or self._worker != known, delay)
            self._changed.wait_for(self._can_lease)
            return None if self._is_stopping else self._worker

    def _can_lease(self) -> bool:
        has_place = self._worker is not None and len(self._running) < self._config.executions
        return self._is_stopping or has_place

    def _lease(self, worker: str) -> dict[str, Any] | None:
        """An execution, or None if there is none within `WAIT_MS`. Raises for an unexpected response."""
        status, answer = self._client.request(
            "POST",
            f"/v1/workers/{worker}/lease",
            {"kinds": KINDS, "wait_ms": WAIT_MS},
            timeout=WAIT_MS / 1000 + 10,
            max_bytes=MAX_LEASE_BYTES,
            canceller=self._canceller,
        )
        if status == 204:
            return None
        if status != 200:
            raise ValueError(f"answer {status}")
        names = answer["lease"], answer["execution"]["id"]
        if not all(isinstance(name, str) and name and _ID_CHARACTERS.issuperset(name) for name in names):
            raise ValueError("invalid id in the lease")
        known: dict[str, Any] = {"lease_ms": int(answer["lease_ms"]), "definition": {}, "history": []} | answer
        return known

    def _begin(self, leased: dict[str, Any]) -> None:
        lease, execution, lease_ms = leased["lease"], leased["execution"]["id"], leased["lease_ms"]
        reporter = Reporter(self._client, execution, lease, lease_ms, self._redactor, self._log)
        with self._changed:
            self._running[lease] = reporter
        threading.Thread(
            target=self._run_execution, args=(lease, reporter, leased), name=f"execution {execution}", daemon=True
        ).start()

    def _run_execution(self, lease: str, reporter: Reporter, leased: dict[str, Any]) -> None:
        try:
            stop = self._start_work(reporter, leased)
            reporter.run(stop)
        finally:
            with self._changed:
                del self._running[lease]
                self._changed.notify_all()

    def _start_work(self, reporter: Reporter, leased: dict[str, Any]) -> Callable[[], None]:
        try:
            with self._importing:
                if self._agents is None:
                    # Not before the first execution: an idle worker needs no event loop.
                    from agent_runner.agents import Agents

                    self._agents = Agents(self._config, self._log)
            stop: Callable[[], None] = self._agents.start(leased, reporter)
            return stop
        except Exception as error:
            reporter.failed("internal", f"cannot start the execution: {error!r}")
            return lambda: None
