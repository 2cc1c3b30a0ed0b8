"""Tool calls as a stream delivers them: put together from fragments, and read strictly.

A call runs only if its arguments are one complete JSON object, as the model wrote it. The libraries repair what is
incomplete or broken, and a repaired call does something else than the model meant: a file that was to have forty pages
has the first half of one. So the fragments are collected here, and a call that cannot be read is answered instead of
run: the model learns what was wrong with it.

Servers that imitate OpenAI's interface differ in how they cut calls into fragments. All of these are understood: a name
in the first fragment only, repeated in each, or in pieces; an id in the first only, in each, or nowhere; an index per
call, the same for all, or none; arguments as text or as an object; no arguments as an empty text, `null` or nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

TRUNCATED = (
    "the call was not run: the answer was cut at its token limit, so the call may be incomplete. "
    "Call the tool again with shorter arguments, for example a part of the text at a time"
)


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool. If `rejection` is set it must not run, and `arguments` is empty."""

    id: str
    name: str
    arguments: dict[str, Any]
    text: str
    rejection: str | None = None


@dataclass
class _Draft:
    """A call of which more fragments may come."""

    id: str
    index: Any
    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def is_complete(self) -> bool:
        """Whether the arguments are whole, so that more of them would be another call's."""
        if not self.texts[-1].rstrip().endswith("}"):
            return False  # parsing at every fragment would take quadratic time
        try:
            json.loads(self.text)
        except ValueError:
            return False
        return True


class ToolCallAssembler:
    """Collects the fragments of one message."""

    def __init__(self, id_prefix: str) -> None:
        self._id_prefix = id_prefix
        self._drafts: list[_Draft] = []

    def add(self, fragments: Iterable[Mapping[str, Any]]) -> None:
        """Takes fragments with `name`, `args`, `id` and `index`, each of which may be None."""
        for fragment in fragments:
            name, text = fragment.get("name") or "", fragment.get("args") or ""
            draft = self._continued(fragment.get("id") or "", fragment.get("index"), name, text)
            if draft is None:
                draft = _Draft(fragment.get("id") or "", fragment.get("index"))
                self._drafts.append(draft)
            draft.id = draft.id or fragment.get("id") or ""
            if name:
                draft.names.append(name)
            if text:
                draft.texts.append(text)

    def finish(self, known_names: Collection[str], *, is_truncated: bool) -> list[ToolCall]:
        """The calls in their order. Of a truncated message none may run: nobody knows which of them are whole."""
        calls: list[ToolCall] = []
        for number, draft in enumerate(self._drafts, 1):
            identity = draft.id
            if not identity or any(call.id == identity for call in calls):
                identity = f"{identity or self._id_prefix}-{number}"
            name = _joined(draft.names, known_names)
            arguments, rejection = ({}, TRUNCATED) if is_truncated else _read(draft.text)
            calls.append(ToolCall(identity, name, arguments, draft.text, rejection))
        return calls

    def _continued(self, identity: str, index: Any, name: str, text: str) -> _Draft | None:
        """The call that a fragment belongs to; None if it begins one."""
        if index is None:
            draft = next((each for each in self._drafts if identity and each.id == identity), None)
            if draft is None and not identity and self._drafts:
                draft = self._drafts[-1]
        else:
            draft = next((each for each in reversed(self._drafts) if each.index == index), None)
            if draft is not None and name and identity and draft.id and identity != draft.id:
                return None  # one index for all calls
        if draft is not None and name and text and draft.texts and draft.is_complete():
            return draft if identity and identity == draft.id else None
        return draft


def _joined(fragments: list[str], known_names: Collection[str]) -> str:
    """The name that was meant: in pieces, repeated, or growing."""
    whole = "".join(fragments)
    if whole in known_names or not fragments:
        return whole
    last = fragments[-1]
    is_growing = all(longer.startswith(shorter) for shorter, longer in pairwise(fragments))
    return last if is_growing else whole


def _read(text: str) -> tuple[dict[str, Any], str | None]:
    """The arguments, or why they cannot be used."""
    if not text.strip():
        return {}, None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return {}, _rejected(_explained(error, text))
    except (ValueError, RecursionError) as error:
        return {}, _rejected(str(error))
    if value is None:
        return {}, None
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", bool: "a truth value"}.get(type(value), "a number")
        return {}, _rejected(f"they are {kind}: expected a JSON object")
    return value, None


def _explained(error: json.JSONDecodeError, text: str) -> str:
    if error.msg == "Extra data":
        try:
            json.JSONDecoder().raw_decode(text[error.pos :].lstrip())
        except ValueError:
            return f"text after the end of the JSON object, at character {error.pos}"
        return "there are several JSON values: expected one object; make one call for each"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return "the JSON object is incomplete"
    return f"invalid JSON at character {error.pos}: {error.msg[:1].lower()}{error.msg[1:]}"


def _rejected(reason: str) -> str:
    return f"the call was not run: its arguments cannot be read: {reason}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} appears twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
