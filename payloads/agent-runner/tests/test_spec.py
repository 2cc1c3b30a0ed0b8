"""A definition as the runner reads it, and how much of a session it remembers."""

from __future__ import annotations

from typing import Any

import pytest

from agent_runner import execution
from agent_runner.errors import Problem, RunnerError
from agent_runner.spec import AgentSpec, seconds


def test_little_is_needed_and_the_rest_has_defaults() -> None:
    spec = AgentSpec.of({})
    assert (spec.model, spec.instructions, spec.tools, spec.steps, spec.timeout) == (None, "", (), 50, 600.0)


def test_everything_is_read() -> None:
    model = {"provider": "openai", "name": "m", "base_url": "http://x", "max_tokens": 9, "temperature": 0.0}
    spec = AgentSpec.of(
        {
            "description": "d",
            "model": model,
            "instructions": "i",
            "tools": ["write"],
            "limits": {"steps": 2, "timeout": "90s"},
        }
    )
    assert spec.model is not None
    assert (spec.model.provider, spec.model.model, spec.model.base_url) == ("openai", "m", "http://x")
    assert (spec.model.max_tokens, spec.model.temperature) == (9, 0.0)
    assert (spec.tools, spec.steps, spec.timeout) == (("write",), 2, 90.0)


@pytest.mark.parametrize(
    "definition",
    [
        {"x": 1},
        {"limits": {"x": 1}},
        {"limits": {"timeout": "soon"}},
        {"limits": {"timeout": "10"}},
        {"limits": {"timeout": ""}},
        {"tools": ["shell"]},
        {"model": {"provider": "openai", "name": "m", "x": 1}},
        {"model": {"provider": "acme", "name": "m"}},
        {"model": {"provider": "openai"}},
    ],
)
def test_what_it_does_not_know_is_refused(definition: dict[str, Any]) -> None:
    with pytest.raises((Problem, RunnerError)):
        AgentSpec.of(definition)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", 600),
        ("1h 30m", 5400),
        ("90s", 90),
        ("1h30m", 5400),
        ("1day 2h", 93_600),
        ("500ms", 0.5),
        ("2months", 5_260_032),
    ],
)
def test_durations_are_those_of_the_server(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


def test_of_a_long_session_the_newest_exchanges_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [{"role": role, "text": f"{role} {number}"} for number in range(10) for role in ("user", "assistant")]
    assert [message.text for message in execution.history(said)] == [entry["text"] for entry in said]
    monkeypatch.setattr(execution, "MAX_HISTORY", 2 * len("user 9assistant 9"))
    told = execution.history(said)
    assert [message.text for message in told] == ["user 8", "assistant 8", "user 9", "assistant 9"]
    assert [message.type for message in told] == ["human", "ai", "human", "ai"]
    # One that does not fit ends it: what is older would stand there without what came between.
    said[-3]["text"] = "x" * 1000
    assert [message.text for message in execution.history(said)] == ["user 9", "assistant 9"]
