"""Reasoning between tags is taken out where it begins an answer, and nowhere else."""

from __future__ import annotations

import pytest

from agent_runner.reasoning import ReasoningFilter

CASES = [
    ("<think>Hm.</think>Hello", "Hello", True),
    ("\n <think>\nHm.\n</think>\n\n Hello\n", "Hello\n", True),
    ("<think></think>Hello", "Hello", True),
    ("<think>a < b </thin> </think>x</think>", "x</think>", True),
    ("<think>never ends", "", True),
    ("<think>Hm.</think>\n", "", True),
    ("Hello <think>tags</think> there", "Hello <think>tags</think> there", False),
    ("<thinking>Hm.</thinking>", "<thinking>Hm.</thinking>", False),
    ("<thin", "<thin", False),
    ("  indented", "  indented", False),
    ("", "", False),
]


@pytest.mark.parametrize(("text", "expected", "has_reasoning"), CASES)
def test_reasoning_is_taken_out_however_a_stream_is_cut(text: str, expected: str, has_reasoning: bool) -> None:
    for size in range(1, len(text) + 2):
        reasoning = ReasoningFilter()
        pieces = [reasoning.feed(text[start : start + size]) for start in range(0, len(text), size)]
        assert ("".join(pieces) + reasoning.end(), reasoning.has_reasoning) == (expected, has_reasoning), size


def test_text_is_not_held_back_without_need() -> None:
    reasoning = ReasoningFilter()
    assert reasoning.feed("<") == ""
    assert reasoning.feed("b>bold") == "<b>bold"
    assert reasoning.feed(" <think>") == " <think>"
