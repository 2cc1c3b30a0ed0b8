"""The tools an agent may be given. Only harmless ones: nothing here reads files, runs commands or opens connections."""

from __future__ import annotations

from datetime import UTC, datetime

from langchain_core.tools import BaseTool, tool

from agent_runner.errors import RunnerError


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
