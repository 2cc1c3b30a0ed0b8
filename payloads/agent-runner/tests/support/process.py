"""Runs agent-runner as the supervisor does: three pipes, one config line, a handshake."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.server import INSTANCE, PATIENCE, TOKEN


def config_for(url: str, work: Path, **changes: Any) -> dict[str, Any]:
    """A complete config; `changes` replaces values, and None removes the key."""
    config: dict[str, Any] = {
        "schema": 4,
        "component": "agent-runner",
        "instance": INSTANCE,
        "server_url": url,
        "token": TOKEN,
        "work_dir": str(work),
        "heartbeat_ms": 20,
        "environment": {},
        "settings": {"executions": 4, "model": None},
    } | changes
    return {key: value for key, value in config.items() if value is not None}


class Process:
    """A running agent-runner. Its log is collected while it runs, and can be waited on."""

    def __init__(self, command: list[str], environment: Mapping[str, str], cwd: Path | None) -> None:
        self.popen = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def send(self, config: object) -> None:
        """Writes the config line, and keeps standard input open."""
        self.send_raw(json.dumps(config).encode() + b"\n")

    def send_raw(self, data: bytes) -> None:
        """Writes bytes to standard input."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def cut_lifeline(self) -> None:
        """What happens when the supervisor dies, by any cause."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def handshake(self) -> dict[str, Any]:
        """The one line on standard output. Waits for the end of the stream, which must come right after it."""
        assert self.popen.stdout is not None
        lines = self.popen.stdout.read().splitlines()
        assert len(lines) == 1, f"{len(lines)} lines on standard output: {lines}; log: {self.log()}"
        event: dict[str, Any] = json.loads(lines[0])
        return event

    def wait(self) -> int:
        """The exit code."""
        code = self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def log(self) -> str:
        """What was logged so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for_log(self, text: str, patience: float = PATIENCE) -> None:
        """Waits until a line of the log has `text`."""
        with self._changed:
            found = self._changed.wait_for(lambda: any(text in line for line in self._lines), patience)
        assert found, f"{text!r} is not in the log: {self.log()}"

    def end(self) -> None:
        """Ends it in any case."""
        self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()

    def _collect(self) -> None:
        assert self.popen.stderr is not None
        with self.popen.stderr as stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.decode(errors="replace"))
                    self._changed.notify_all()


class Runner:
    """A command that is agent-runner, from source or frozen."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.command = command
        self.environment = dict(environment)
        self._started: list[Process] = []

    def start(self, *arguments: str, **variables: str) -> Process:
        """Starts it with nothing in the environment but what is given."""
        process = Process([*self.command, *arguments], self._environment(variables), None)
        self._started.append(process)
        return process

    def supervised(self, config: object, **variables: str) -> Process:
        """Starts it as the supervisor does, and sends the config."""
        process = self.start("--supervised", **variables)
        process.send(config)
        return process

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            [*self.command, *arguments],
            env=self._environment(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )

    def end_all(self) -> None:
        """Ends everything that was started."""
        for process in self._started:
            process.end()

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        needed = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        return needed | self.environment | dict(variables)
