"""What an agent is made of, as its definition says it. What this version does not know is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent_runner.errors import Problem
from agent_runner.models import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS = 50
TIMEOUT = 600.0
TOOLS = ("list", "read", "write")
_OTHER_VERSION = "stigmer's server and agent-runner are of different versions; run `stigmer server restart`"
_DURATION = re.compile(r"([0-9]+)\s*([a-zµ]+)\s*", re.IGNORECASE)
# The words of the server, which writes durations as `10m` or `1h 30m`.
_UNITS = {
    **dict.fromkeys(("ns", "nsec", "nanos"), 1e-9),
    **dict.fromkeys(("us", "usec", "µs"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millis"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), 604_800.0),
    **dict.fromkeys(("month", "months", "M"), 2_630_016.0),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 31_557_600.0),
}


@dataclass(frozen=True)
class AgentSpec:
    """A definition that was understood. No model: the one of the configuration."""

    model: ModelSpec | None
    instructions: str
    tools: tuple[str, ...]
    steps: int
    timeout: float

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> AgentSpec:
        """Reads a definition strictly."""
        known = {"description", "model", "instructions", "tools", "limits"}
        _only(definition, known, "the agent")
        limits = definition.get("limits") or {}
        _only(limits, {"steps", "timeout"}, "limits")
        tools = tuple(definition.get("tools") or ())
        for tool in tools:
            if tool not in TOOLS:
                raise _unknown(f"the tool {tool!r}")
        model = definition.get("model")
        return cls(
            model=None if model is None else model_spec(model),
            instructions=definition.get("instructions") or "",
            tools=tools,
            steps=int(limits.get("steps", STEPS)),
            timeout=seconds(limits["timeout"]) if "timeout" in limits else TIMEOUT,
        )


def model_spec(model: Mapping[str, Any]) -> ModelSpec:
    """A model, of a definition or of the configuration."""
    _only(model, {"provider", "name", "base_url", "max_tokens", "temperature"}, "model")
    return ModelSpec.of(
        str(model.get("provider")),
        str(model.get("name") or ""),
        model.get("base_url"),
        max_tokens=model.get("max_tokens"),
        temperature=model.get("temperature"),
    )


def seconds(text: str) -> float:
    """A duration such as `10m` in seconds."""
    total, place = 0.0, 0
    while match := _DURATION.match(text, place):
        unit = _UNITS.get(match[2], _UNITS.get(match[2].lower()))
        if unit is None:
            break
        total += int(match[1]) * unit
        place = match.end()
    if place != len(text) or total <= 0:
        raise _unknown(f"the duration {text!r}")
    return total


def _only(value: Mapping[str, Any], known: set[str], what: str) -> None:
    for key in value:
        if key not in known:
            raise _unknown(f"the key {key!r} of {what}")


def _unknown(what: str) -> Problem:
    return Problem(
        "bad_definition", f"the definition has something this agent-runner does not know: {what}", _OTHER_VERSION
    )
