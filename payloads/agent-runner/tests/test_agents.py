"""Executions from lease to answer: the runner as a process, a strict server, providers that stream."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import pytest

from support.bench import KEYS, PROVIDERS, Bench
from support.fake_provider import FakeProvider
from support.server import Request

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM; there the end of stdin asks for it")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_message_is_answered_and_everything_is_reported(both: Bench, provider: str) -> None:
    execution = both.run("echo", "Grüße, 世界 🌍", provider, instructions="be brief")
    both.start()
    execution.wait()
    assert (execution.phase, execution.error) == ("COMPLETED", None)
    assert execution.output == {"text": "You said: Grüße, 世界 🌍"}
    assert execution.said() == execution.output["text"]
    assert execution.all("message") == [{"id": "m-1", "role": "assistant", "text": execution.output["text"]}]
    counts = [(usage["input_tokens"], usage["output_tokens"]) for usage in execution.all("usage")]
    assert counts == [(11, 7)]
    (asked,) = both.models.requests
    assert asked.provider == provider
    assert asked.messages == [("system", "be brief"), ("user", "Grüße, 世界 🌍")]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tool_is_run_and_its_result_goes_back_to_the_model(both: Bench, provider: str) -> None:
    arguments = {"path": "notes/today.txt", "text": "milk\n"}
    message = f"call write {json.dumps(arguments)}"
    execution = both.run("echo", message, provider, tools=["list", "read", "write"])
    both.start()
    execution.wait()
    assert execution.error is None
    place = both.work / "workspaces" / execution.id
    text = "The tool says: wrote 5 bytes to notes/today.txt"
    assert execution.output == {"text": text, "workspace": str(place)}
    assert (place / "notes" / "today.txt").read_text(encoding="utf-8") == "milk\n"
    (started,), (ended,) = execution.all("tool.started"), execution.all("tool.ended")
    assert (started["name"], started["arguments"]) == ("write", arguments)
    assert ended == {"call": started["call"], "ok": True, "text": "wrote 5 bytes to notes/today.txt"}
    first, second = execution.all("message")
    assert first["text"] == "I call it."
    assert first["tool_calls"] == [{"call": started["call"], "name": "write", "arguments": arguments}]
    assert second == {"id": "m-2", "role": "assistant", "text": text}
    assert [event["type"] for event in execution.events if event["type"] != "message.delta"] == [
        "usage", "message", "tool.started", "tool.ended", "usage", "message",
    ]  # fmt: skip
    assert len(both.models.requests) == 2
    assert len(both.models.requests[0].body["tools"]) == 3


def test_a_tool_that_cannot_says_so_to_the_model(bench: Bench) -> None:
    outside = bench.work.parent / "outside.txt"
    outside.write_text("secret", encoding="utf-8")
    escapes = bench.run("echo", 'call read {"path": "../../outside.txt"}', tools=["read"])
    absolute = bench.run("echo", f"call read {json.dumps({'path': str(outside)})}", tools=["read"])
    wrong = bench.run("echo", 'call read {"file": 1}', tools=["read"])
    mistyped = bench.run("echo", 'call read {"path": "a", "offset": "the middle"}', tools=["read"])
    missing = bench.run("echo", 'call read {"offset": 1}', tools=["read"])
    appending = bench.run("echo", 'call write {"path": "a", "text": "b", "mode": "append"}', tools=["write"])
    unknown = bench.run("echo", 'call fly {"to": "the moon"}', tools=["read"])
    bench.start(settings={"executions": 8, "model": None})
    for execution, says in [
        (escapes, "not inside the workspace"),
        (absolute, "not inside the workspace"),
        (wrong, "unknown argument 'file'. read takes: path, offset"),
        (missing, "missing argument 'path'. read takes: path, offset"),
        (appending, "unknown argument 'mode'. write takes: path, text"),
        (mistyped, "invalid argument 'offset': input should be a valid integer"),
        (unknown, "unknown tool 'fly': the tools are read"),
    ]:
        execution.wait()
        (ended,) = execution.all("tool.ended")
        assert ended["ok"] is False
        assert says in ended["text"]
        assert says in execution.output["text"]
        for inner in ("secret", "https://", "pydantic", "validation error"):
            assert inner not in ended["text"] + execution.output["text"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_trouble_of_a_provider_has_a_word_and_a_next_step(both: Bench, provider: str) -> None:
    pull = (
        "run `ollama pull status-404`, or check the base URL"
        if provider == "ollama"
        else "check the model's name and the base URL"
    )
    key = f"check {provider.upper()}_API_KEY"
    place = both.model("any", provider)["base_url"]
    expected = {
        "status-401": ("key_refused", "refuses the key", key),
        "status-403": ("not_allowed", "Your key may not use this model", "use another key"),
        "status-404": ("model_not_found", "has no model 'status-404'", pull),
        "status-400": ("request_refused", "The request is not valid", None),
        "rich-429": ("quota_exceeded", "plan and billing", "account"),
        "too-long": ("context_too_long", "longer than the context of 'too-long'", "new session"),
        "cut": ("stream_cut", "broke off", "try again"),
        "ends-early": ("stream_cut", "broke off", "try again"),
    }
    no_model = ("provider_failed", f"what answers at {place} is no model of {provider}", "check the base URL")
    expected |= dict.fromkeys(("web-page", "other-json", "whole"), no_model)
    if provider != "ollama":
        expected["refuse"] = ("refused", "refuses to answer", "rephrase")
    word = {"anthropic": "overloaded"}.get(provider, "provider_failed")
    expected["error-midway"] = (word, provider, "try again")
    running = {name: both.run(name, provider=provider) for name in expected}
    both.start(
        settings={"executions": len(expected), "model": None}, environment=KEYS | {"OLLAMA_API_KEY": "ollama-0815-4711"}
    )
    for name, (kind, message, hint) in expected.items():
        execution = running[name].wait()
        assert execution.phase == "FAILED", name
        assert execution.error is not None
        assert execution.error["type"] == kind, (name, execution.error)
        assert message in execution.error["message"], (name, execution.error)
        assert hint is None or hint in execution.error["hint"], (name, execution.error)
        assert "4711" not in json.dumps(execution.error), name
    # What was read by somebody is not said again from the beginning.
    asked = [request.model for request in both.models.requests]
    assert sorted(asked) == sorted(expected)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [429, 529, 500])
def test_what_may_pass_is_asked_again_and_that_is_said(bench: Bench, provider: str, status: int) -> None:
    execution = bench.run(f"flaky-{status}", "hi", provider)
    bench.start()
    execution.wait()
    assert execution.output == {"text": "You said: hi"}
    assert len(bench.models.requests) == 3
    notes = execution.all("note")
    assert len(notes) == 2
    assert "trying again in" in notes[0]["text"]
    assert {note["type"] for note in notes} == {{429: "rate_limited", 529: "overloaded"}.get(status, "provider_failed")}


def test_without_a_model_or_a_key_it_says_where_they_belong(bench: Bench) -> None:
    nameless = bench.server.executions.add({})
    keyless = bench.server.executions.add({"model": {"provider": "anthropic", "name": "m"}})
    bench.start(environment={})
    assert nameless.wait().error == {
        "type": "no_model",
        "message": "the agent names no model, and neither does the configuration",
        "hint": nameless.error["hint"] if nameless.error else "",
    }
    assert nameless.error is not None
    assert "[agent-runner]" in nameless.error["hint"]
    keyless.wait()
    assert keyless.error is not None
    assert keyless.error["type"] == "no_key"
    assert "ANTHROPIC_API_KEY" in keyless.error["hint"]
    assert "secrets.env" in keyless.error["hint"]


def test_nobody_listening_is_said_with_the_next_step(bench: Bench) -> None:
    with FakeProvider() as closed:
        pass
    execution = bench.server.executions.add({"model": {"provider": "ollama", "name": "m", "base_url": closed.url}})
    bench.start()
    execution.wait()
    assert execution.error == {
        "type": "provider_unreachable",
        "message": f"cannot reach ollama at {closed.url}: connection refused",
        "hint": "start it with `ollama serve`",
    }


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_an_address_of_the_environment_is_named_without_its_password(bench: Bench, provider: str) -> None:
    with FakeProvider() as closed:
        pass
    variable = f"{provider.upper()}_BASE_URL"
    address = closed.url.replace("://", "://someone:password-4711@") + "/v1?key=4711"
    execution = bench.server.executions.add({"model": {"provider": provider, "name": "m"}})
    bench.start(environment=KEYS | {variable: address})
    note = execution.wait_for_event("note")
    bench.server.executions.call_off(execution)
    words = f"cannot reach {provider} at {closed.url}/v1: connection refused"
    assert note["type"] == "provider_unreachable"
    assert note["text"].startswith(f"{words}; trying again in")


def test_an_agent_without_a_model_asks_the_one_of_the_configuration(bench: Bench) -> None:
    execution = bench.server.executions.add({}, "hello")
    bench.start(settings={"executions": 1, "model": bench.model("echo", "ollama", max_tokens=5, temperature=0.5)})
    assert execution.wait().output == {"text": "You said: hello"}
    (asked,) = bench.models.requests
    assert (asked.body["options"]["num_predict"], asked.body["options"]["temperature"]) == (5, 0.5)


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
@pytest.mark.parametrize("by_variable", [False, True])
def test_with_an_address_of_ones_own_a_key_is_needed_only_if_it_is_asked_for(
    bench: Bench, provider: str, by_variable: bool
) -> None:
    url = bench.model("any", provider)["base_url"]
    address = {} if by_variable else {"base_url": url}
    answered, refused = (
        bench.server.executions.add({"model": {"provider": provider, "name": name} | address}, "hello")
        for name in ("echo", "wants-key")
    )
    bench.start(environment={f"{provider.upper()}_BASE_URL": url} if by_variable else {})
    assert answered.wait().output == {"text": "You said: hello"}
    refused.wait()
    assert refused.error is not None
    assert refused.error["type"] == "no_key"
    assert refused.error["message"] == f"{provider} at {url} requires a key, and none is set"
    assert f"set {provider.upper()}_API_KEY" in refused.error["hint"]


def test_someone_elses_openai_needs_no_key_and_knows_the_old_name_of_the_limit(bench: Bench) -> None:
    execution = bench.server.executions.add({"model": bench.model("echo", max_tokens=77)})
    bench.start(environment={})
    assert execution.wait().error is None
    (asked,) = bench.models.requests
    assert (asked.body["max_tokens"], asked.key) == (77, "none")
    assert "max_completion_tokens" not in asked.body


def test_what_was_said_before_in_the_session_comes_first(bench: Bench) -> None:
    said = [
        {"role": "user", "text": "my name is Ada"},
        {"role": "assistant", "text": "hello Ada"},
        {"role": "user", "text": "nothing came of this"},
        {"role": "assistant", "text": None},
    ]
    execution = bench.run("history", "who am I?", instructions="be brief", history=said, input={"a": 1})
    bench.start()
    execution.wait()
    assert bench.models.requests[0].messages == [
        ("system", "be brief"),
        ("user", "my name is Ada"),
        ("assistant", "hello Ada"),
        ("user", 'who am I?\n\nInput, as JSON:\n{"a": 1}'),
    ]


def test_a_model_that_goes_in_circles_is_stopped(bench: Bench) -> None:
    execution = bench.run("loop", tools=["list"], limits={"steps": 3})
    bench.start()
    execution.wait()
    assert execution.error is not None
    assert execution.error["type"] == "steps_exceeded"
    assert "limits.steps" in execution.error["hint"]
    assert len(bench.models.requests) == 3
    assert len(execution.all("tool.ended")) == 3


def test_the_time_limit_ends_a_model_that_hangs_while_the_lease_is_kept(bench: Bench) -> None:
    bench.server.executions.lease_ms = 500
    execution = bench.run("hang", limits={"timeout": "2s"})
    bench.start()
    bench.models.wait_for_requests(1)
    execution.wait_for_heartbeats(3)
    execution.wait()
    assert execution.error is not None
    assert execution.error["type"] == "timeout"
    assert "2 seconds" in execution.error["message"]
    bench.models.wait_until_left()


def test_what_is_called_off_stops_the_stream_at_once(both: Bench) -> None:
    execution = both.run("hang-midway")
    both.start()
    execution.wait_for_event("message.delta")
    both.server.executions.call_off(execution)
    both.models.wait_until_left()
    assert execution.wait().phase == "CANCELLED"
    assert execution.all("message") == []


def test_a_lease_that_is_lost_drops_the_work_and_nothing_else(bench: Bench) -> None:
    lost = bench.run("hang-midway")
    process = bench.start()
    lost.wait_for_event("message.delta")
    before = len(lost.events)
    bench.server.executions.expire(lost)
    bench.models.wait_until_left()
    process.wait_for_log("its lease was lost")
    assert bench.run("echo", "next").wait().output == {"text": "You said: next"}
    assert len(lost.events) == before
    assert lost.phase == "IN_PROGRESS"


def test_no_more_is_taken_than_there_are_places(bench: Bench) -> None:
    running = [bench.run("hang-midway") for _ in range(3)]
    bench.start(settings={"executions": 2, "model": None})
    for execution in running[:2]:
        execution.wait_for_event("message.delta")
    running[0].wait_for_heartbeats(2)
    assert running[2].phase == "PENDING"
    bench.server.wait_for(lambda request: request.state == "busy")
    bench.server.executions.call_off(running[1])
    running[2].wait_for_event("message.delta")
    assert running[0].phase == "IN_PROGRESS"


def test_events_arrive_once_and_in_order_though_answers_are_lost(bench: Bench) -> None:
    seen: dict[str, int] = {}

    def unreliable(request: Request) -> tuple[int, Any] | None:
        if not request.path.startswith("/v1/leases/") or not request.body["events"]:
            return None
        place = f"{request.path} {request.body['events'][0]['n']}"
        seen[place] = seen.get(place, 0) + 1
        if seen[place] == 1:
            return 503, {"error": "starting"}
        if seen[place] == 2 and request.path.endswith("/heartbeat"):
            bench.server.answer_work(request)  # it arrives, and its answer does not
            return 500, {"error": "away"}
        return None

    execution = bench.run("slow", "one two three four five six")
    bench.server.override = unreliable
    bench.start()
    execution.wait_for_event("message.delta")
    bench.models.release.set()
    execution.wait()
    assert execution.said() == "You said: one two three four five six"
    assert [event["n"] for event in execution.events] == list(range(1, len(execution.events) + 1))
    assert execution.output == {"text": "You said: one two three four five six"}


def test_a_server_that_restarts_loses_nothing(bench: Bench) -> None:
    execution = bench.run("slow", "one two three")
    bench.start()
    execution.wait_for_event("message.delta")
    bench.server.forget()
    bench.server.wait_for(lambda request: request.path == "/v1/workers/w-2/heartbeat")
    after = bench.run("echo", "after")
    assert after.wait().output == {"text": "You said: after"}
    bench.models.release.set()
    assert execution.wait().output == {"text": "You said: one two three"}


@posix
def test_a_stop_waits_for_what_can_end(bench: Bench) -> None:
    execution = bench.run("slow", "one two three")
    process = bench.start()
    execution.wait_for_event("message.delta")
    process.popen.send_signal(signal.SIGTERM)
    bench.server.wait_for(lambda request: request.state == "draining")
    bench.models.release.set()
    assert process.wait() == 0
    assert execution.output == {"text": "You said: one two three"}
    assert bench.server.workers == set()


@posix
def test_a_stop_gives_back_what_cannot_end(both: Bench) -> None:
    running = [both.run("hang-midway"), both.run("hang")]
    process = both.start()
    running[0].wait_for_event("message.delta")
    both.models.wait_for_requests(2)
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    for execution in running:
        assert execution.error is not None
        assert execution.error["type"] == "interrupted"
        assert f"stigmer execution resume {execution.id}" in execution.error["hint"]
    assert both.server.workers == set()
    assert both.server.requests[-1].method == "DELETE"


def test_without_a_supervisor_work_is_given_back_at_once(bench: Bench) -> None:
    execution = bench.run("hang-midway")
    process = bench.start()
    execution.wait_for_event("message.delta")
    process.cut_lifeline()
    assert process.wait() == 0
    assert execution.error is not None
    assert execution.error["type"] == "interrupted"


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_key_is_not_repeated_wherever_it_turns_up(bench: Bench, provider: str) -> None:
    execution = bench.run("leak", provider=provider)
    process = bench.start()
    execution.wait()
    variable = f"{provider.upper()}_API_KEY"
    assert execution.output == {"text": f"the key is [redacted {variable}] indeed"}
    assert execution.said() == execution.output["text"]
    process.cut_lifeline()
    process.wait()
    for seen in (json.dumps(execution.events), process.log()):
        assert "4711" not in seen


def test_halves_of_characters_are_put_together_or_replaced(bench: Bench) -> None:
    execution = bench.run("halves")
    bench.start()
    execution.wait()
    assert execution.said() == "😀 and \ufffd alone"
    assert execution.output == {"text": "😀 and \ufffd alone"}


def test_an_answer_may_be_long_but_not_without_end(bench: Bench) -> None:
    long, endless = bench.run("size-700000"), bench.run("size-1100000")
    bench.start()
    long.wait()
    assert long.error is None
    assert len(long.output["text"]) == len(long.said()) == 700_000
    assert long.all("message")[0]["text"].endswith("more characters)")
    endless.wait()
    assert endless.error is not None
    assert endless.error["type"] == "answer_too_long"


def test_an_answer_that_ends_at_its_limit_says_so(bench: Bench) -> None:
    execution = bench.run("long", provider="anthropic")
    bench.start()
    assert execution.wait().output == {"text": "once upon a ", "truncated": True}
    assert execution.all("note")[0]["type"] == "max_tokens"


def test_a_definition_of_another_version_is_refused(bench: Bench) -> None:
    execution = bench.server.executions.add({"model": bench.model("echo"), "wings": 2})
    bench.start()
    execution.wait()
    assert execution.error is not None
    assert execution.error["type"] == "bad_definition"
    assert "wings" in execution.error["message"]
