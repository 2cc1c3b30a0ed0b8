"""Streams in the shapes that servers really send: what is run, what is said, what is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.bench import KEYS, PROVIDERS, Bench
from support.leases import Execution

CUT = "cut at its token limit"
TEXT = "# Report\nAll 40 pages begin here"


def files(bench: Bench, execution: Execution) -> dict[str, str]:
    place = bench.work / "workspaces" / execution.id
    return {path.name: path.read_text(encoding="utf-8") for path in place.rglob("*") if path.is_file()}


def start(bench: Bench, count: int) -> None:
    bench.start(settings={"executions": count, "model": None}, environment=KEYS)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_call_of_a_truncated_answer_is_not_run(bench: Bench, provider: str) -> None:
    whole = json.dumps({"path": "report.md", "text": TEXT})
    # Ollama sends a call only as an object: one that was cut it has completed itself.
    sent = [whole] if provider == "ollama" else [whole, whole[:45], whole[: whole.index("# ")], '{"path', ""]
    running = [bench.run("raw-call-cut", f"call write {text}", provider, tools=["write"]) for text in sent]
    start(bench, len(running))
    for execution in running:
        execution.wait()
        assert execution.error is None
        (ended,) = execution.all("tool.ended")
        assert ended["ok"] is False
        assert CUT in ended["text"]
        assert CUT in execution.output["text"]
        assert "workspace" not in execution.output
        assert files(bench, execution) == {}
        assert execution.all("note")[0]["type"] == "max_tokens"


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_call_whose_arguments_are_no_object_is_not_run(bench: Bench, provider: str) -> None:
    expected = {
        '{"path": "report.md", "text": "# Report\\nAll 40 pages beg': "the JSON object is incomplete",
        '{"path": "a.txt", "offset": 65': "the JSON object is incomplete",
        '{"path": "a.txt", text: hi': "invalid JSON at character 18",
        '{"path": "a", "text": "b"}{"path": "c", "text": "d"}': "there are several JSON values",
        '["a", "b"]': "they are a list",
    }
    running = {text: bench.run("raw-call", f"call write {text}", provider, tools=["write"]) for text in expected}
    start(bench, len(running))
    for text, reason in expected.items():
        execution = running[text].wait()
        assert execution.error is None
        (started,), (ended,) = execution.all("tool.started"), execution.all("tool.ended")
        assert started["arguments"] == text
        assert ended["ok"] is False
        assert reason in execution.output["text"]
        assert files(bench, execution) == {}
    # What goes back to the server is JSON all the same: many refuse a conversation in which it is not.
    for request in bench.models.requests:
        for message in request.body["messages"]:
            for call in message.get("tool_calls") or []:
                assert json.loads(call["function"]["arguments"]) == {}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_arguments_stay_as_the_model_gave_them(bench: Bench, provider: str) -> None:
    arguments = {"path": "data.json", "text": '{"a": [1, 2]}'}
    execution = bench.run("echo", f"call write {json.dumps(arguments)}", provider, tools=["write"])
    bench.start()
    execution.wait()
    assert execution.error is None
    assert files(bench, execution) == {"data.json": '{"a": [1, 2]}'}


def test_every_shape_of_a_call_is_understood(bench: Bench) -> None:
    arguments = {"path": "a.txt", "text": "hi"}
    once = ("object-arguments", "name-repeated", "name-in-pieces", "name-growing", "changing-ids")
    twice = ("no-index", "one-index", "one-index-without-ids", "no-ids")
    empty = ("empty-arguments", "null-arguments", "null-text-arguments", "no-arguments")
    writing = {
        name: bench.run(f"shape-{name}", f"call write {json.dumps(arguments)}", tools=["write", "list"])
        for name in once + twice
    }
    listing = {name: bench.run(f"shape-{name}", "go", tools=["write", "list"]) for name in empty}
    start(bench, len(writing) + len(listing))
    for name, execution in (writing | listing).items():
        execution.wait()
        assert execution.error is None, (name, execution.error)
        started, ended = execution.all("tool.started"), execution.all("tool.ended")
        count, expected = (2 if name in twice else 1), ("write", arguments) if name in writing else ("list", {})
        assert [(each["name"], each["arguments"]) for each in started] == [expected] * count, name
        assert [each["ok"] for each in ended] == [True] * count, name
        assert len({each["call"] for each in started}) == count, name
        assert files(bench, execution) == ({"a.txt": "hi"} if name in writing else {}), name


EMPTY = {
    "openai": {
        "empty": ("empty_answer", "gave an empty answer"),
        "blank": ("empty_answer", "gave an empty answer"),
        "only-reasoning": ("empty_answer", "reasoned, and gave no answer"),
        "only-reasoning-cut": ("empty_answer", "reached its token limit in its reasoning"),
        "only-think": ("empty_answer", "reasoned, and gave no answer"),
        "only-refusal": ("refused", "refuses to answer this: I cannot do that."),
    },
    "anthropic": {
        "empty": ("empty_answer", "gave an empty answer"),
        "only-reasoning": ("empty_answer", "reasoned, and gave no answer"),
    },
    "ollama": {
        "empty": ("empty_answer", "gave an empty answer"),
        "only-reasoning": ("empty_answer", "reasoned, and gave no answer"),
    },
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_empty_answer_is_an_error_that_says_what_it_was(bench: Bench, provider: str) -> None:
    running = {name: bench.run(f"shape-{name}", "hi", provider) for name in EMPTY[provider]}
    start(bench, len(running))
    for name, (kind, words) in EMPTY[provider].items():
        execution = running[name].wait()
        assert execution.phase == "FAILED", name
        assert execution.error is not None
        assert execution.error["type"] == kind, name
        assert words in execution.error["message"], (name, execution.error)
        assert execution.error["hint"], name
    assert len(bench.models.requests) == len(running)  # it costs, so it is not asked again


def test_after_its_tools_an_agent_may_have_nothing_to_add(bench: Bench) -> None:
    execution = bench.run("silent-after", 'call write {"path": "a.txt", "text": "hi"}', tools=["write"])
    failing = bench.run("silent-after", 'call write {"path": "../a.txt", "text": "hi"}', tools=["write"])
    bench.start()
    execution.wait()
    assert execution.error is None
    assert execution.output["text"] == ""
    assert files(bench, execution) == {"a.txt": "hi"}
    assert [note["type"] for note in execution.all("note")] == ["empty_answer"]
    failing.wait()
    assert failing.error is not None
    assert failing.error["type"] == "empty_answer"


@pytest.mark.parametrize(
    ("provider", "name", "counts"),
    [
        ("openai", "usage-everywhere", [(100, 4)]),
        ("anthropic", "usage-halves", [(15, 7)]),
        ("anthropic", "usage-nowhere", []),
        ("ollama", "usage-half", [(0, 7)]),
    ],
)
def test_tokens_are_counted_once(bench: Bench, provider: str, name: str, counts: list[Any]) -> None:
    execution = bench.run(f"shape-{name}", "hi", provider)
    bench.start()
    execution.wait()
    assert execution.error is None
    assert [(each["input_tokens"], each["output_tokens"]) for each in execution.all("usage")] == counts


def test_an_answer_is_complete_when_the_server_says_so(bench: Bench) -> None:
    whole = {"no-reason": "all of it", "null-delta": "all of it", "text-in-parts": "all of it"}
    running = {name: bench.run(f"shape-{name}") for name in whole}
    limited = bench.run("shape-reason-twice")
    start(bench, 4)
    for name, text in whole.items():
        execution = running[name].wait()
        assert (execution.error, execution.output) == (None, {"text": text}), name
    assert limited.wait().output == {"text": "all of it", "truncated": True}


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_reasoning_between_tags_is_no_part_of_an_answer(bench: Bench, provider: str) -> None:
    execution = bench.run("shape-think", "hi", provider)
    bench.start()
    execution.wait()
    assert execution.output == {"text": "Hello <think> you."}
    assert execution.said() == "Hello <think> you."
    assert execution.all("message")[0]["text"] == "Hello <think> you."


def test_a_model_that_was_only_loaded_is_asked_again(bench: Bench) -> None:
    execution = bench.run("shape-load", "hi", "ollama")
    bench.start()
    execution.wait()
    assert execution.output == {"text": "You said: hi"}
    assert [note["type"] for note in execution.all("note")] == ["empty_answer"]
    assert len(bench.models.requests) == 2


@pytest.mark.parametrize(
    ("provider", "name", "kind", "words"),
    [
        ("openai", "error-event", "provider_failed", "failed with status 500: out of memory"),
        ("openai", "error-event-text", "provider_failed", "out of memory"),
        ("openai", "error-text", "provider_failed", "out of memory"),
        ("openai", "error-too-long", "context_too_long", "longer than the context"),
        ("anthropic", "error-event", "context_too_long", "longer than the context"),
    ],
)
def test_an_error_in_a_stream_is_what_it_says(bench: Bench, provider: str, name: str, kind: str, words: str) -> None:
    execution = bench.run(f"shape-{name}", "hi", provider)
    bench.start()
    if name == "error-text":  # nothing was shown, so it is asked again, which this test does not wait for
        note = execution.wait_for_event("note")
        assert (note["type"], words in note["text"]) == (kind, True)
        return
    execution.wait()
    assert execution.error is not None
    assert (execution.error["type"], words in execution.error["message"]) == (kind, True), execution.error


def test_anthropics_address_may_have_its_version(bench: Bench) -> None:
    url = f"{bench.models.url}/v1"
    addresses = (url, f"{url}/", bench.models.url, f"{bench.models.url}/")
    running = [
        bench.server.executions.add({"model": {"provider": "anthropic", "name": "echo", "base_url": each}})
        for each in addresses
    ]
    bench.start()
    for execution in running:
        assert execution.wait().output == {"text": "You said: hi"}
    assert {request.path for request in bench.models.requests} == {"/v1/messages"}
