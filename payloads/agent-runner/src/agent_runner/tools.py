"""The tools an agent may be given.

`ask` has harmless ones: they read no files, run no commands and open no connections. An execution has those of its
workspace, and nothing outside of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool, StructuredTool, tool
from pydantic import ValidationError

from agent_runner.errors import RunnerError
from agent_runner.workspace import MAX_READ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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
        raise RunnerError(f"unknown tool {unknown[0]!r}", f"the tools are: {', '.join(sorted(TOOLS))}")
    return [TOOLS[name] for name in names]


def of_workspace(workspace: Workspace, names: Iterable[str]) -> list[BaseTool]:
    """The named tools, confined to `workspace`."""

    def list_files(path: str = ".") -> str:
        return "\n".join(workspace.list(path)) or "(nothing)"

    def read_file(path: str, offset: int = 0) -> str:
        return workspace.read(path, offset)

    def write_file(path: str, text: str) -> str:
        return f"wrote {workspace.write(path, text)} bytes to {path}"

    descriptions: dict[str, tuple[Callable[..., str], str]] = {
        "list": (
            list_files,
            "List the entries of a directory. `path` is relative to the workspace; . is the workspace itself.",
        ),
        "read": (
            read_file,
            "Read a text file. `path` is relative to the workspace. "
            f"At most {MAX_READ} characters are returned; with `offset`, from that character on.",
        ),
        "write": (
            write_file,
            "Write a text file, replacing its content. `path` is relative to the workspace; "
            "missing directories are created.",
        ),
    }
    return [
        StructuredTool.from_function(function, name=name, description=description)
        for name in names
        for function, description in [descriptions[name]]
    ]


def check_names(tool: BaseTool, arguments: Mapping[str, Any]) -> None:
    """Raises for an argument that the tool does not have: left out, it would change what the call means."""
    unknown = [repr(name) for name in arguments if name not in tool.args]
    if unknown:
        kind = "argument" if len(unknown) == 1 else "arguments"
        raise ValueError(f"unknown {kind} {', '.join(unknown)}. {_signature(tool)}")


def error_text(tool: BaseTool, error: Exception) -> str:
    """The error of a tool for the model, so that it can correct its call."""
    if isinstance(error, ValidationError):
        wrong = "; ".join(_wrong(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in error.errors())
        return f"{wrong}. {_signature(tool)}"
    if isinstance(error, (OSError, ValueError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _signature(tool: BaseTool) -> str:
    return f"{tool.name} takes: {', '.join(tool.args) or 'nothing'}"


def _wrong(argument: str, kind: str, words: str) -> str:
    if kind == "missing":
        return f"missing argument {argument!r}"
    return f"invalid argument {argument!r}: {words[:1].lower()}{words[1:]}"
