"""The worker as a process: streams, signals, the lifeline, exit codes.

The main thread waits on one pipe. Everything that can end the process writes one byte to it: a signal (its number,
written by the interpreter's own handler, so it works where a Python handler would have to wait), the end of standard
input, the end of the worker. That is the same on every operating system.

The interpreter is not finalized, because threads are running to the end: they wait for the server, load libraries, work
on executions. Finalization unwinds the stack of a thread that returns to the interpreter from native code; a library in
Rust or C++ then aborts the process. It also waits for the threads of `asyncio.to_thread`, however long they take.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING

from agent_runner import __version__, config, stdio
from agent_runner.errors import RunnerError
from agent_runner.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn

# Leaves half a second of the protocol's five for the process to exit.
DRAIN_LIMIT = 4.5
_LIFELINE_CUT = b"\x00"
_WORKER_ENDED = b"\xff"


def supervised(handshake: int) -> int:
    """Config from standard input, handshake to `handshake`, until the supervisor is gone or says stop."""
    try:
        settings = config.parse(_read_line(0))
        config.set_environment(settings)  # before anything large is imported: some libraries look once
        config.prepare_work_dir(settings.work_dir)
    except RunnerError as error:
        return _failed(handshake, error)
    return _run(settings, _Handshake(handshake), watch_stdin=True)


def standalone(settings: config.Config) -> int:
    """The same worker from a shell: stops on an interrupt, ignores standard input."""
    config.prepare_work_dir(settings.work_dir)
    return _run(settings, None, watch_stdin=False)


class _Handshake:
    """The one line on standard output. The first answer counts; later ones are dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def ready(self) -> None:
        self._write({"event": "ready", "version": __version__, "pid": os.getpid()})

    def failed(self, reason: str, hint: str | None) -> None:
        self._write({"event": "failed", "reason": reason} | ({} if hint is None else {"hint": hint}))

    def _write(self, event: dict[str, Any]) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            stdio.write_all(descriptor, json.dumps(event).encode() + b"\n")


def _failed(descriptor: int, error: RunnerError) -> int:
    _Handshake(descriptor).failed(error.reason, error.hint)
    stdio.log(error.render())
    return error.exit_code


def _run(settings: config.Config, handshake: _Handshake | None, *, watch_stdin: bool) -> NoReturn:
    ends, end = os.pipe()
    _catch_signals(end)
    if watch_stdin:
        _background("lifeline", lambda: _watch_lifeline(end))

    worker = Worker(settings, os.getpid(), stdio.log)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            worker.run(handshake.ready if handshake else lambda: stdio.log(f"ready, serving {settings.server_url}"))
        except BaseException as error:  # whatever it is, the main thread must learn of it, or nothing ever ends
            problems.append(error)
        finally:
            os.write(end, _WORKER_ENDED)

    thread = _background("worker", work)
    cause = os.read(ends, 1)
    if cause != _WORKER_ENDED:
        stdio.log(f"{_explain(cause)}; draining")
        worker.stop(at_once=cause == _LIFELINE_CUT)
    thread.join(DRAIN_LIMIT)
    if thread.is_alive():
        stdio.log(f"not drained within {DRAIN_LIMIT:g} s; leaving")
    code = _conclude(problems, handshake)
    stdio.flush()
    os._exit(code)


def _conclude(problems: list[BaseException], handshake: _Handshake | None) -> int:
    if not problems:
        if handshake:
            handshake.failed("stopped before it was ready", None)
        return 0
    error = problems[0]
    if not isinstance(error, RunnerError):
        if handshake:
            handshake.failed(f"internal error: {error!r}", None)
        import traceback

        stdio.log(f"internal error: {''.join(traceback.format_exception(error))}")
        return 1
    if handshake:
        handshake.failed(error.reason, error.hint)
    stdio.log(error.render())
    return error.exit_code


def _background(name: str, work: Callable[[], None]) -> threading.Thread:
    """A daemon thread: it may be waiting for ever, and must not keep the process from ending."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _catch_signals(end: int) -> None:
    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Only there so that the interpreter's handler is installed, which writes the number to the pipe."""

    if os.name == "posix":
        os.set_blocking(end, False)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ignore)


def _explain(cause: bytes) -> str:
    if cause == _LIFELINE_CUT:
        return "the supervisor is gone"
    return f"got {signal.Signals(cause[0]).name}"


def _watch_lifeline(end: int) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os.write(end, _LIFELINE_CUT)


def _read_line(descriptor: int) -> bytes:
    """Up to the first line end. Unbuffered on purpose: nothing may be left in a buffer that nobody reads."""
    line = b""
    while b"\n" not in line and len(line) <= config.MAX_LINE:
        data = os.read(descriptor, 4096)
        if not data:
            break
        line += data
    return line.partition(b"\n")[0]
