"""The worker's requests to the server: register, heartbeat, register again, drain, deregister.

It runs in one thread of its own and knows nothing of signals, streams or processes; `process` tells it when to stop.
What it works on is the business of `leasing`, in other threads.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from agent_runner import __version__, warmup
from agent_runner.config import COMPONENT
from agent_runner.errors import ConfigError, RunnerError
from agent_runner.leasing import Leasing
from agent_runner.loopback import Client, Unreachable
from agent_runner.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent_runner.config import Config

REQUEST_TIMEOUT = 2.0
# The whole drain must fit into the five seconds that the protocol gives after the supervisor is gone.
DRAIN_TIMEOUT = 1.0
# For running executions: seconds to finish, and seconds to report the rest as interrupted.
DRAIN_GRACE = 2.0
DRAIN_REST = 1.2
# The same when the supervisor is gone.
DRAIN_REST_AT_ONCE = 0.3
STARTUP_TIMEOUT = 10.0
_MIN_RETRY_DELAY = 0.02
_MAX_RETRY_DELAY_AT_START = 0.5
_MAX_RETRY_DELAY = 2.0
_SERVER_LOG = "see its log with 'stigmer server logs --component stigmer-server'"
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


class _Refused(Exception):
    """The server answered, but not with what was asked for. It may, a moment later."""


class Worker:
    """One registration with one server, kept alive until `stop` is called."""

    def __init__(self, config: Config, pid: int, log: Callable[[str], None]) -> None:
        self._config = config
        self._client = Client(config.host, config.port, config.token)
        self._pid = pid
        self._log = log
        self._stop = threading.Event()
        self._grace = DRAIN_GRACE
        self._redactor = Redactor.of(config.environment, config.token)
        self._leasing = Leasing(config, self._client, self._redactor, lambda line: log(self._redactor.text(line)))
        self._id: str | None = None
        self._interval = config.heartbeat_ms / 1000
        self._failures = 0

    def stop(self, *, at_once: bool = False) -> None:
        """Asks for a drain. `run` returns when it is done. `at_once`: running executions are not waited for."""
        if at_once:
            self._grace = 0.0
        self._stop.set()
        self._leasing.close()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Works until stopped. Raises when it cannot become ready, or when the server will never accept it again."""
        try:
            if self._become_ready():
                self._leasing.start()
                on_ready()
                warmup.start(self._config, self._is_idle, self._log)
            while not self._stop.wait(self._delay()):
                self._keep_alive()
        finally:
            self._drain()

    def _become_ready(self) -> bool:
        """Registers and heartbeats once. The server may be a moment behind us, so silence is waited out for a while."""
        give_up = time.monotonic() + STARTUP_TIMEOUT
        delay = _MIN_RETRY_DELAY
        while not self._stop.is_set():
            try:
                self._register_and_heartbeat()
                return True
            except (Unreachable, _Refused) as error:
                if delay == _MIN_RETRY_DELAY:
                    self._log(f"waiting for the server at {self._config.server_url}: {error}")
                if time.monotonic() + delay > give_up:
                    raise RunnerError(
                        f"the server at {self._config.server_url} does not accept this worker: {error}",
                        _SERVER_LOG,
                    ) from error
            self._stop.wait(delay)
            delay = min(delay * 2, _MAX_RETRY_DELAY_AT_START)
        return False

    def _keep_alive(self) -> None:
        try:
            if self._id is None or not self._heartbeat(self._state()):
                self._id = None
                self._register_and_heartbeat()
                self._log(f"registered again as {self._id}: the server did not know this worker")
        except ConfigError as error:
            # It was right when we started, so a restart, which brings the config of today, will help.
            raise RunnerError(error.reason, error.hint) from error
        except (Unreachable, _Refused) as error:
            # Logged once per outage: a server that is unavailable for an hour must not fill the log.
            if self._failures == 0:
                self._log(f"the server at {self._config.server_url} is unavailable ({error}); retrying")
            self._failures += 1
            return
        if self._failures:
            self._failures = 0
            self._log("the server is available again")

    def _delay(self) -> float:
        if self._failures == 0:
            return self._interval
        doubled: float = self._interval * 2 ** min(self._failures - 1, 16)
        return min(doubled, max(self._interval, _MAX_RETRY_DELAY))

    def _register_and_heartbeat(self) -> None:
        self._register()
        if not self._heartbeat(self._state()):
            raise _Refused("it does not know the worker that it has just registered")
        if self._id is not None:
            self._leasing.registered(self._id)

    def _is_idle(self) -> bool:
        return not (self._stop.is_set() or self._leasing.is_busy())

    def _state(self) -> str:
        return "busy" if self._leasing.is_busy() else "idle"

    def _register(self) -> None:
        # Without a supervisor to say which, it joins the run that the server belongs to, whichever that is by now.
        instance = self._config.instance or self._instance_of_server()
        body = {"kind": COMPONENT, "version": __version__, "pid": self._pid, "instance": instance}
        status, answer = self._request("POST", "/v1/workers", body)
        self._end_if_rejected(status, answer, "does not accept this worker", _SERVER_LOG)
        if status != 201:
            raise _Refused(_problem(status, answer))
        identity, interval = (answer.get(key) if isinstance(answer, dict) else None for key in ("id", "heartbeat_ms"))
        if not isinstance(identity, str) or not identity or not _ID_CHARACTERS.issuperset(identity):
            raise _Refused("invalid worker id in the response")
        if type(interval) is not int or interval < 1:
            raise _Refused("invalid heartbeat_ms in the response")
        self._id, self._interval = identity, interval / 1000

    def _instance_of_server(self) -> str:
        status, answer = self._request("GET", "/v1/status", None)
        self._end_if_rejected(
            status,
            answer,
            "does not report its instance",
            "compare --server with the url of 'stigmer server status'",
        )
        if status != 200:
            raise _Refused(_problem(status, answer))
        instance = answer.get("instance") if isinstance(answer, dict) else None
        if not isinstance(instance, str) or not instance:
            raise _Refused("invalid instance in the response")
        return instance

    def _end_if_rejected(self, status: int, answer: object, what: str, hint: str) -> None:
        """A 4xx is about what was asked, so asking again would not change it."""
        if 400 <= status < 500:
            raise RunnerError(f"the server at {self._config.server_url} {what}: {_problem(status, answer)}", hint)

    def _heartbeat(self, state: str, timeout: float = REQUEST_TIMEOUT) -> bool:
        """False when the server does not know this worker."""
        status, answer = self._request("POST", f"/v1/workers/{self._id}/heartbeat", {"state": state}, timeout)
        if status == 404:
            return False
        if status != 200:
            raise _Refused(_problem(status, answer))
        return True

    def _drain(self) -> None:
        """Ends the running executions and deregisters. An unavailable server is no reason to stay."""
        self._leasing.close()
        if self._id is None:
            return
        identity, self._id = self._id, None
        begin = time.monotonic()
        try:
            self._request("POST", f"/v1/workers/{identity}/heartbeat", {"state": "draining"}, DRAIN_TIMEOUT)
        except (Unreachable, RunnerError) as error:
            self._log(f"cannot report that the worker is draining: {error}")
        grace = max(self._grace - (time.monotonic() - begin), 0)
        self._leasing.drain(grace, grace + (DRAIN_REST if self._grace else DRAIN_REST_AT_ONCE))
        try:
            self._request("DELETE", f"/v1/workers/{identity}", None, DRAIN_TIMEOUT)
        except (Unreachable, RunnerError) as error:
            self._log(f"cannot deregister: {error}")

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float = REQUEST_TIMEOUT
    ) -> tuple[int, Any]:
        status, answer = self._client.request(method, path, body, timeout=timeout)
        if status == 401:
            raise ConfigError(
                f"the server at {self._config.server_url} rejects the token",
                "another stigmer may be listening there; run 'stigmer server status'",
            )
        return status, answer


def _problem(status: int, answer: object) -> str:
    text = answer.get("error") if isinstance(answer, dict) else None
    return f"answer {status}: {text}" if isinstance(text, str) else f"answer {status}"
