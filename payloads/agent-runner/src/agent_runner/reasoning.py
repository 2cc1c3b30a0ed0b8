"""Reasoning that a server leaves in the text of an answer, between `<think>` tags.

Most servers deliver a model's reasoning in a field of its own, which is not part of the answer. Some do not know the
model's format and let the tags through. A block at the very beginning of an answer is such reasoning: it is taken out
of the text, of what is shown, and of what the model is given back (the makers of these models ask for that). Tags
anywhere else are text: an answer may be about them.
"""

from __future__ import annotations

OPENING = "<think>"
CLOSING = "</think>"


class ReasoningFilter:
    """Takes the reasoning out of a text that arrives in pieces."""

    def __init__(self) -> None:
        self.has_reasoning = False
        self._held = ""
        self._state = self._begin

    def feed(self, piece: str) -> str:
        """The part of the answer that is known by now."""
        self._held += piece
        return self._state()

    def end(self) -> str:
        """The rest, when nothing follows. Reasoning that never ended has no rest."""
        text, self._held = self._held, ""
        return "" if self._state == self._skip else text

    def _begin(self) -> str:
        start = self._held.lstrip()
        if len(start) < len(OPENING) and OPENING.startswith(start):
            return ""
        if not start.startswith(OPENING):
            self._state = self._pass
            return self._pass()
        self.has_reasoning = True
        self._held = start[len(OPENING) :]
        self._state = self._skip
        return self._skip()

    def _skip(self) -> str:
        _, mark, rest = self._held.partition(CLOSING)
        if not mark:
            self._held = self._held[-len(CLOSING) :]
            return ""
        self._held = rest
        self._state = self._trim
        return self._trim()

    def _trim(self) -> str:
        """Blank lines between the reasoning and the answer belong to neither."""
        self._held = self._held.lstrip()
        if not self._held:
            return ""
        self._state = self._pass
        return self._pass()

    def _pass(self) -> str:
        text, self._held = self._held, ""
        return text
