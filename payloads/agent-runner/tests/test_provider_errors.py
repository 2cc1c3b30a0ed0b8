"""What providers answer with when something is wrong, as they word it, read through their real libraries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.bench import KEYS, Bench
from support.fake_provider import FakeProvider
from support.socks import SocksProxy


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message} | more}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


TOO_LONG = [
    ("anthropic", 400, anthropic("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum")),
    ("anthropic", 400, anthropic("invalid_request_error",
                                 "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000")),
    ("anthropic", 413, anthropic("request_too_large", "Request exceeds the maximum size")),
    ("openai", 400, error("Your messages resulted in 10010 tokens.", code="context_length_exceeded")),
    ("openai", 400, error("the request exceeds the available context size. try increasing the context size or enable "
                          "context shift", code=400, type="exceed_context_size_error")),
    ("openai", 500, error("the request exceeds the available context size", code=500, type="server_error")),
    ("openai", 400, [error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                           code=400, status="INVALID_ARGUMENT")]),
    ("openai", 400, {"code": "Client specified an invalid argument",
                     "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}),
    ("openai", 422, {"detail": [{"loc": ["body", "messages"], "msg": "Input is too long for requested model"}]}),
    ("openai", 413, "<html><head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>"),
    ("ollama", 400, {"error": "the input length exceeds the context length"}),
]  # fmt: skip
OTHERS = [
    ("openai", 402, error("Insufficient Balance", code="invalid_request_error"), "quota_exceeded", "Insufficient"),
    ("openai", 402, {"error": "pay first"}, "quota_exceeded", "pay first"),
    ("openai", 429, error("Too much.", code="insufficient_quota"), "quota_exceeded", "Too much."),
    ("anthropic", 400, anthropic("invalid_request_error", "Your credit balance is too low to access the API."),
     "quota_exceeded", "credit balance"),
    ("openai", 400, [error("API key not valid. Please pass a valid API key.", code=400, status="INVALID_ARGUMENT")],
     "key_refused", "refuses the key"),
    ("openai", 400, error("Incorrect API key provided", code="x"), "key_refused", "refuses the key"),
    ("openai", 400, error("The model `m` does not exist", code="model_not_found"), "model_not_found", "has no model"),
    ("openai", 400, error("The response was filtered", code="content_filter"), "refused", "The response was filtered"),
    ("openai", 400, {"error": "no such parameter"}, "request_refused", "with status 400: no such parameter"),
    ("openai", 400, {"detail": "no such parameter"}, "request_refused", "with status 400: no such parameter"),
    ("openai", 400, {"message": "no such parameter"}, "request_refused", "with status 400: no such parameter"),
    ("openai", 422, {"detail": [{"loc": ["body", "temperature"], "msg": "too hot", "type": "value_error"}]},
     "request_refused", "with status 422: body.temperature: too hot"),
    ("openai", 418, "I am a teapot", "request_refused", "with status 418: I am a teapot"),
    ("anthropic", 400, {"detail": "no such parameter"}, "request_refused", "with status 400: no such parameter"),
    ("ollama", 400, {"error": "m does not support tools"}, "request_refused", "400: m does not support tools"),
    ("ollama", 404, "404 page not found", "provider_failed", "is no model of ollama"),
]  # fmt: skip


def test_errors_are_what_their_types_codes_and_words_say(bench: Bench) -> None:
    cases = [(*each, "context_too_long", "longer than the context") for each in TOO_LONG] + OTHERS
    running = [
        bench.run("raw-error", json.dumps({"status": status, "body": body}), provider)
        for provider, status, body, _, _ in cases
    ]
    bench.start(settings={"executions": 16, "model": None}, environment=KEYS)
    for execution, (provider, status, body, kind, words) in zip(running, cases, strict=True):
        execution.wait()
        assert execution.error is not None
        assert execution.error["type"] == kind, (provider, status, body, execution.error)
        assert words in execution.error["message"], execution.error
        assert "{" not in execution.error["message"], execution.error  # the words, and not the object around them
    assert len(bench.models.requests) == len(cases)  # none of them passes by itself, so none is asked again


def test_a_limit_that_passes_is_waited_for(bench: Bench) -> None:
    bodies = [
        error("You exceeded your current quota, please check your plan and billing details. Please retry in 20ms.",
              status="RESOURCE_EXHAUSTED"),
        error("Rate limit reached. Please try again in 20ms.", code="rate_limit_exceeded"),
    ]  # fmt: skip
    running = [bench.run("raw-error", json.dumps({"status": 429, "body": body})) for body in bodies]
    bench.start()
    for execution in running:
        execution.wait()
        assert execution.error is not None
        assert execution.error["type"] == "rate_limited"
        assert [note["type"] for note in execution.all("note")] == ["rate_limited"] * 3


def test_a_page_in_place_of_an_answer_is_told_by_its_title(bench: Bench) -> None:
    page = "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
    execution = bench.run("raw-error", json.dumps({"status": 502, "body": page, "type": "text/html"}))
    bench.start()
    note = execution.wait_for_event("note")
    bench.server.executions.call_off(execution)
    assert "failed with status 502: 502 Bad Gateway; trying" in note["text"]


@pytest.mark.parametrize("scheme", ["socks5", "socks", "socks5h"])
def test_a_provider_is_asked_through_a_socks_proxy(bench: Bench, scheme: str) -> None:
    with SocksProxy(bench.models.port) as proxy:
        running = [
            bench.server.executions.add(
                {"model": {"provider": provider, "name": "echo", "base_url": f"http://{provider}.example/v1"}}
            )
            for provider in ("anthropic", "openai")
        ]
        ollama = {"provider": "ollama", "name": "echo", "base_url": "http://ollama.example"}
        running.append(bench.server.executions.add({"model": ollama}))
        bench.start(environment=KEYS | {"ALL_PROXY": f"{scheme}://{proxy.address}", "no_proxy": "[::1,fe80::/10"})
        for execution in running:
            assert execution.wait().output == {"text": "You said: hi"}
        assert sorted(proxy.asked) == [("anthropic.example", 80), ("ollama.example", 80), ("openai.example", 80)]


def test_a_proxy_that_cannot_be_used_harms_nobody_who_needs_none(bench: Bench) -> None:
    variables = {"ALL_PROXY": "socks4://127.0.0.1:1", "HTTPS_PROXY": "http://[::1", "NO_PROXY": "excluded.example"}
    needing = [
        bench.server.executions.add(
            {"model": {"provider": provider, "name": "echo", "base_url": "http://some.example"}}
        )
        for provider in ("anthropic", "openai", "ollama")
    ]
    local = [bench.run("echo", "hi", provider) for provider in ("anthropic", "openai", "ollama")]
    bench.start(settings={"executions": 6, "model": None}, environment=KEYS | variables)
    for execution in needing:
        execution.wait()
        assert execution.error is not None
        assert execution.error["type"] == "proxy_invalid"
        assert "invalid proxy in ALL_PROXY: unsupported scheme `socks4`" in execution.error["message"]
    for execution in local:
        assert execution.wait().output == {"text": "You said: hi"}


def test_an_excluded_host_is_asked_directly_whichever_variable_excludes_it(bench: Bench) -> None:
    with FakeProvider() as proxy:
        excluded, other = (
            [
                bench.server.executions.add(
                    {"model": {"provider": provider, "name": "echo", "base_url": f"http://{host}.invalid/v1"}}
                )
                for provider in ("anthropic", "openai", "ollama")
            ]
            for host in ("excluded", "other")
        )
        names = {"HTTP_PROXY": proxy.url, "NO_PROXY": "excluded.invalid", "no_proxy": "localhost"}
        bench.start(settings={"executions": 6, "model": None}, environment=KEYS | names)
        for execution in other:
            execution.wait()
        for execution in excluded:
            execution.wait_for(lambda one=execution: bool(one.error or one.all("note")), "nothing is said")
            bench.server.executions.call_off(execution)
            execution.wait()
        assert {request.headers["host"] for request in proxy.requests} == {"other.invalid"}
