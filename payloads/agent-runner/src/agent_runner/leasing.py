"""Takes executions from the server, as many at once as there are places, and has each of them worked on.

One thread waits for work. What is taken is given to the agents (`agents`, imported with the first execution), and to a
reporter with a thread of its own; when that ends, the place is free again.
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
MAX_LEASE = 32 * 1024 * 1024
_FIRST_RETRY = 0.1
_LONGEST_RETRY = 2.0
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class Leasing:
    """The executions that this worker has in work."""

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
        """Whether something is in work."""
        return bool(self._running)

    def close(self) -> None:
        """Takes nothing more."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._canceller.cancel()

    def drain(self, grace: float, limit: float) -> None:
        """Lets what is in work end within `grace` seconds, and gives the rest back within `limit` seconds in all."""
        begin = time.monotonic()
        with self._changed:
            if self._changed.wait_for(lambda: not self._running, grace):
                return
            left = list(self._running.values())
        self._log(f"{len(left)} executions are not finished, and are given back as interrupted")
        for reporter in left:
            reporter.interrupt(begin + limit)
        with self._changed:
            self._changed.wait_for(lambda: not self._running, max(begin + limit - time.monotonic(), 0))

    def _wait_for_work(self) -> None:
        delay = 0.0
        while True:
            worker = self._next_turn(delay)
            if worker is None:
                return
            begin = time.monotonic()
            try:
                leased = self._take(worker)
            except (Unreachable, ValueError, KeyError, TypeError):
                leased = None
            # Who answers at once that there is nothing would be asked without a pause.
            is_early = leased is None and time.monotonic() - begin < WAIT_MS / 2000
            delay = min(max(delay * 2, _FIRST_RETRY), _LONGEST_RETRY) if is_early else 0.0
            # What comes while this worker goes is given back with everything else when it deregisters.
            if leased is not None and not self._is_stopping:
                self._begin(leased)

    def _next_turn(self, delay: float) -> str | None:
        """Waits for `delay` seconds and for a free place. The id to ask with; None when this worker stops."""
        with self._changed:
            if delay:
                # A server that has restarted knows this worker as soon as it has registered again.
                known = self._worker
                self._changed.wait_for(lambda: self._is_stopping or self._worker != known, delay)
            self._changed.wait_for(self._may_take)
            return None if self._is_stopping else self._worker

    def _may_take(self) -> bool:
        has_place = self._worker is not None and len(self._running) < self._config.executions
        return self._is_stopping or has_place

    def _take(self, worker: str) -> dict[str, Any] | None:
        """An execution, or None after a while. What the server cannot say now, it is asked for again."""
        status, answer = self._client.request(
            "POST",
            f"/v1/workers/{worker}/lease",
            {"kinds": KINDS, "wait_ms": WAIT_MS},
            timeout=WAIT_MS / 1000 + 10,
            max_bytes=MAX_LEASE,
            canceller=self._canceller,
        )
        if status == 204:
            return None
        if status != 200:
            raise ValueError(f"answer {status}")
        names = answer["lease"], answer["execution"]["id"]
        if not all(isinstance(name, str) and name and _ID_CHARACTERS.issuperset(name) for name in names):
            raise ValueError("an id that is none")
        known: dict[str, Any] = {"lease_ms": int(answer["lease_ms"]), "definition": {}, "history": []} | answer
        return known

    def _begin(self, leased: dict[str, Any]) -> None:
        lease, execution, lease_ms = leased["lease"], leased["execution"]["id"], leased["lease_ms"]
        reporter = Reporter(self._client, execution, lease, lease_ms, self._redactor, self._log)
        with self._changed:
            self._running[lease] = reporter
        threading.Thread(
            target=self._see_through, args=(lease, reporter, leased), name=f"execution {execution}", daemon=True
        ).start()

    def _see_through(self, lease: str, reporter: Reporter, leased: dict[str, Any]) -> None:
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
                    # With the first execution: a worker that has nothing to do needs none of it.
                    from agent_runner.agents import Agents

                    self._agents = Agents(self._config, self._log)
            stop: Callable[[], None] = self._agents.start(leased, reporter)
            return stop
        except Exception as error:
            reporter.failed("internal", f"the execution cannot be begun: {error!r}")
            return lambda: None
