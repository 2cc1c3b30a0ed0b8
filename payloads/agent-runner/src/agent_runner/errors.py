"""What goes wrong, said so that a person can act on it, with the exit code that belongs to it."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
# EX_CONFIG: tells the supervisor that a restart would meet the same mistake again.
EXIT_CONFIG = 78


class RunnerError(Exception):
    """An error with a message for people and, where there is one, the next step."""

    exit_code = EXIT_FAILED

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint

    def render(self) -> str:
        """The error as the lines a terminal shows."""
        return self.reason if self.hint is None else f"{self.reason}\n  hint: {self.hint}"


class UsageError(RunnerError):
    """The command line is wrong."""

    exit_code = EXIT_USAGE


class ConfigError(RunnerError):
    """The configuration is wrong, and will be as wrong after a restart."""

    exit_code = EXIT_CONFIG


class Problem(RunnerError):
    """Why an execution failed. `kind` is for programs, one of the words that docs/agents.md lists."""

    def __init__(self, kind: str, reason: str, hint: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(reason, hint)
        self.kind = kind
        # Seconds: asking again after so long may help. None: it would not.
        self.retry_after = retry_after
