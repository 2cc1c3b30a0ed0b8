"""Calls of tools are read strictly, from fragments of every shape."""

from __future__ import annotations

from typing import Any

import pytest

from agent_runner.tool_calls import TRUNCATED, ToolCall, ToolCallAssembler

TOOLS = ("list", "read", "write")


def fragment(name: str | None = None, args: str | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": more.get("id"), "index": more.get("index")}


def calls(*fragments: dict[str, Any], is_truncated: bool = False) -> list[ToolCall]:
    assembler = ToolCallAssembler("call-m-1")
    for each in fragments:
        assembler.add([each])
    return assembler.finish(TOOLS, is_truncated=is_truncated)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"path": "report.md", "text": "# Report\\nAll 40 pages beg', "the JSON object is incomplete"),
        ('{"path": "report.md", "text": "', "the JSON object is incomplete"),
        ('{"path": "a", "offset": 65', "the JSON object is incomplete"),
        ('{"path"', "the JSON object is incomplete"),
        ("{", "the JSON object is incomplete"),
        ('{"path": "a.txt", text: hi', "invalid JSON at character 18"),
        ('{"path": "a", "text": "line\nbreak"}', "invalid JSON at character 27: invalid control character"),
        ("{'path': 'a'}", "invalid JSON at character 1"),
        ('{"path": "a"}{"path": "b"}', "there are several JSON values"),
        ('{"path": "a"}\n{"path": "b"}', "there are several JSON values"),
        ('{"path": "a"} and more', "text after the end of the JSON object, at character 14"),
        ('["a"]', "they are a list: expected a JSON object"),
        ('"{\\"path\\": \\"a\\"}"', "they are a text"),
        ("3", "they are a number"),
        ("true", "they are a truth value"),
        ('{"path": "a", "path": "b"}', "the key 'path' appears twice"),
        ('{"offset": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "maximum recursion depth"),
    ],
)
def test_arguments_that_are_not_one_object_are_rejected(text: str, reason: str) -> None:
    (call,) = calls(fragment("write", text, id="c1", index=0))
    assert call.arguments == {}
    assert call.rejection is not None
    assert call.rejection.startswith("the call was not run: its arguments cannot be read: ")
    assert reason in call.rejection


@pytest.mark.parametrize("text", [None, "", " \n", "{}", "null"])
def test_a_call_may_have_no_arguments(text: str | None) -> None:
    (call,) = calls(fragment("list", text, id="c1", index=0))
    assert (call.arguments, call.rejection) == ({}, None)


def test_no_call_of_a_truncated_answer_runs() -> None:
    found = calls(
        fragment("write", '{"path": "a", "text": "b"}', id="c1", index=0),
        fragment("list", "", id="c2", index=1),
        is_truncated=True,
    )
    assert [(call.name, call.arguments, call.rejection) for call in found] == [
        ("write", {}, TRUNCATED),
        ("list", {}, TRUNCATED),
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["write", None, None], "write"),
        (["write", "write", "write"], "write"),
        (["wri", "te"], "write"),
        (["wri", "write"], "write"),
        (["", "write"], "write"),
        (["fly", "fly"], "fly"),
        ([None], ""),
    ],
)
def test_a_name_comes_once_or_repeated_or_in_pieces(names: list[str | None], expected: str) -> None:
    (call,) = calls(*(fragment(name, index=0) for name in names))
    assert call.name == expected


def test_the_name_of_a_tool_may_be_a_repetition() -> None:
    assembler = ToolCallAssembler("x")
    assembler.add([fragment("to", index=0), fragment("to", index=0)])
    assert assembler.finish(["toto"], is_truncated=False)[0].name == "toto"


@pytest.mark.parametrize(
    "fragments",
    [
        [("c1", 0, "read", '{"a": '), (None, 0, None, "1}"), ("c2", 1, "read", '{"a": 2}')],
        [("c1", 0, "read", '{"a": '), ("c2", 1, "read", '{"a": '), (None, 0, None, "1}"), (None, 1, None, "2}")],
        [("c1", None, "read", '{"a": '), (None, None, None, "1}"), ("c2", None, "read", '{"a": 2}')],
        [("c1", None, "read", '{"a": '), ("c1", None, None, "1}"), ("c2", None, "read", '{"a": 2}')],
        [("c1", 0, "read", '{"a": 1}'), ("c2", 0, "read", '{"a": 2}')],
        [("c1", 0, "read", '{"a": '), ("c9", 0, None, "1}"), ("c2", 0, "read", '{"a": 2}')],
    ],
)
def test_two_calls_are_told_apart(fragments: list[tuple[str | None, int | None, str | None, str]]) -> None:
    found = calls(*(fragment(name, args, id=identity, index=index) for identity, index, name, args in fragments))
    assert [(call.id, call.name, call.arguments) for call in found] == [
        ("c1", "read", {"a": 1}),
        ("c2", "read", {"a": 2}),
    ]


@pytest.mark.parametrize("indexes", [(None, None), (0, 0), (0, 1)])
def test_calls_without_ids_get_some(indexes: tuple[int | None, int | None]) -> None:
    found = calls(*(fragment("read", f'{{"a": {n}}}', index=index) for n, index in enumerate(indexes, 1)))
    assert [(call.id, call.arguments) for call in found] == [("call-m-1-1", {"a": 1}), ("call-m-1-2", {"a": 2})]


def test_calls_with_one_id_can_be_answered_apart() -> None:
    found = calls(fragment("read", "{}", id="c", index=0), fragment("read", "{}", id="c", index=1))
    assert [call.id for call in found] == ["c", "c-2"]
