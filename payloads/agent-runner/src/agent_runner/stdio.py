"""Keeps the real standard output for the one thing that may be written there, and writes log lines."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def take_stdout() -> int:
    """A private descriptor for the real standard output; from now on descriptor 1 goes to standard error.

    A library that prints, in Python or in native code, then ends up in the log instead of corrupting the handshake.
    The descriptor is not inherited, so a child process cannot keep the stream open either.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    return private


def write_all(descriptor: int, data: bytes) -> None:
    """Writes everything and closes. A reader that is gone is not an error: whoever left will be noticed elsewhere."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(descriptor)


def log(line: str) -> None:
    """One line of log. Whoever reads standard error adds the time; a closed log must not stop the work."""
    try:
        sys.stderr.write(f"agent-runner: {line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def flush() -> None:
    """Writes what libraries have printed and Python still holds in its buffers."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
