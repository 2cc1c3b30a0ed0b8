"""The tools an agent may be given.

`ask` has harmless ones: they read no files, run no commands and open no connections. An execution has those of its
workspace, and nothing outside of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from langchain_core.tools import BaseTool, StructuredTool, tool
from pydantic import ValidationError

from agent_runner.errors import RunnerError
from agent_runner.workspace import MAX_READ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_runner.workspace import Workspace


@tool
def current_time() -> str:
    """Return the current date and time in UTC, in ISO 8601 form."""
    return datetime.now(UTC).isoformat(timespec="seconds")


TOOLS: dict[str, BaseTool] = {each.name: each for each in (current_time,)}


def select(names: list[str]) -> list[BaseTool]:
    """The named tools, in the order they were named."""
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        raise RunnerError(f"unknown tool {unknown[0]!r}", f"there are: {', '.join(sorted(TOOLS))}")
    return [TOOLS[name] for name in names]


def of_workspace(workspace: Workspace, names: Iterable[str]) -> list[BaseTool]:
    """The named tools, confined to `workspace`."""

    def list_files(path: str = ".") -> str:
        return "\n".join(workspace.list(path)) or "(nothing)"

    def read_file(path: str, offset: int = 0) -> str:
        return workspace.read(path, offset)

    def write_file(path: str, text: str) -> str:
        return f"{workspace.write(path, text)} bytes are in {path}"

    there: dict[str, tuple[Callable[..., str], str]] = {
        "list": (
            list_files,
            "List what is in a directory of the workspace. `path` is relative to the workspace; . is all of it.",
        ),
        "read": (
            read_file,
            "Read a text file of the workspace. `path` is relative to the workspace. "
            f"At most {MAX_READ} characters are given; with `offset` the text is read from that character on.",
        ),
        "write": (
            write_file,
            "Write a text file in the workspace, in the place of what it held. `path` is relative to the workspace; "
            "directories are made as needed.",
        ),
    }
    return [StructuredTool.from_function(there[name][0], name=name, description=there[name][1]) for name in names]


def told(failed: BaseTool, error: Exception) -> str:
    """What the model is told of a tool that failed, so that it can do better."""
    if isinstance(error, ValidationError):
        wrong = "; ".join(_wrong(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in error.errors())
        return f"{wrong}. {failed.name} takes: {', '.join(failed.args) or 'nothing'}"
    if isinstance(error, (OSError, ValueError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _wrong(argument: str, kind: str, words: str) -> str:
    if kind == "missing":
        return f"the argument {argument!r} is missing"
    return f"the argument {argument!r} is wrong: {words[:1].lower()}{words[1:]}"
