"""`agent-runner ask` as a process: the real libraries, streaming from stand-ins for the providers."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from support import providers
from support.fake_provider import FakeProvider
from support.process import Runner
from support.server import FakeServer

OLLAMA = ["ask", "--provider", "ollama", "--model", "some-model"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_ollama_answers(runner: Runner) -> None:
    with providers.ollama(lambda _: providers.ollama_text("Grüße", ", ", "world")) as ollama:
        done = runner.run(*OLLAMA, "--base-url", ollama.url, "--system", "be brief", "hello", LC_ALL="C.UTF-8")
    assert (done.returncode, done.stdout) == (0, "Grüße, world\n"), done.stderr
    ((path, body, _),) = ollama.requests
    assert path == "/api/chat"
    assert body["stream"] is True
    assert [(m["role"], m["content"]) for m in body["messages"]] == [("system", "be brief"), ("user", "hello")]
    assert not body.get("tools")


def test_the_place_of_ollama_comes_from_the_environment_and_proxies_are_not_asked(runner: Runner) -> None:
    with providers.ollama(lambda _: providers.ollama_text("hi")) as ollama, FakeServer() as proxy:
        variables = {"OLLAMA_HOST": ollama.url, "HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        done = runner.run(*OLLAMA, "hello", **variables)
        assert proxy.requests == []
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr


def test_the_loop_runs_a_tool_and_goes_back_to_the_model(runner: Runner) -> None:
    def script(body: dict[str, Any]) -> list[dict[str, Any]]:
        if any(message["role"] == "tool" for message in body["messages"]):
            return providers.ollama_text("it is late")
        return providers.ollama_tool_call("current_time")

    with providers.ollama(script) as ollama:
        done = runner.run(*OLLAMA, "--base-url", ollama.url, "--tool", "current_time", "what time is it?")
    assert (done.returncode, done.stdout) == (0, "it is late\n"), done.stderr
    assert [tool["function"]["name"] for tool in ollama.requests[0][1]["tools"]] == ["current_time"]
    result = ollama.requests[1][1]["messages"][-1]
    assert result["role"] == "tool"
    assert result["content"].endswith("+00:00")


def test_a_model_that_never_stops_calling_tools_is_stopped(runner: Runner) -> None:
    with providers.ollama(lambda _: providers.ollama_tool_call("current_time")) as ollama:
        done = runner.run(*OLLAMA, "--base-url", ollama.url, "--tool", "current_time", "what time is it?")
    assert done.returncode == 1
    assert "did not come to an answer" in done.stderr
    assert 5 < len(ollama.requests) < 20


def test_openai_answers(runner: Runner) -> None:
    with providers.openai(lambda _: providers.openai_text("one", " two")) as openai:
        done = runner.run(
            "ask",
            "--provider",
            "openai",
            "--model",
            "m",
            "--base-url",
            f"{openai.url}/v1",
            "hello",
            OPENAI_API_KEY="k-1",
        )
    assert (done.returncode, done.stdout) == (0, "one two\n"), done.stderr
    ((path, body, headers),) = openai.requests
    assert path == "/v1/chat/completions"
    assert body["stream"] is True
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "Bearer k-1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--provider", "anthropic", "--model", "m"], ["no key for anthropic", "set ANTHROPIC_API_KEY"]),
        (["--provider", "openai", "--model", "m"], ["no key for openai", "set OPENAI_API_KEY"]),
        (["--provider", "gpt", "--model", "m"], ["unknown provider 'gpt'", "anthropic, openai, ollama"]),
        (["--provider", "ollama", "--model", ""], ["no model is named", "--model"]),
        (["--provider", "ollama", "--model", "m", "--base-url", "localhost"], ["'localhost' is not an http"]),
        (["--provider", "ollama", "--model", "m", "--tool", "rm"], ["unknown tool 'rm'", "current_time"]),
    ],
)
def test_what_cannot_work_is_said_plainly(runner: Runner, arguments: list[str], says: list[str]) -> None:
    done = runner.run("ask", *arguments, "hello")
    assert (done.returncode, done.stdout) == (1, "")
    for text in says:
        assert text in done.stderr
    for wrong in ("Traceback", "secrets.env", "server restart"):  # `ask` has its environment, and no platform
        assert wrong not in done.stderr


@pytest.mark.parametrize("provider", ["anthropic", "openai", "ollama"])
def test_a_page_is_no_model(runner: Runner, provider: str) -> None:
    with FakeProvider() as page:
        url = f"{page.url}/v1" if provider == "openai" else page.url
        done = runner.run("ask", "--provider", provider, "--model", "web-page", "--base-url", url, "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"what answers at {url} is no model of {provider}" in done.stderr
    assert "check the base URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_listening_names_the_next_step(runner: Runner) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = runner.run(*OLLAMA, "--base-url", url, "hello")
    assert done.returncode == 1
    assert f"cannot reach ollama at {url}" in done.stderr
    assert "ollama serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_there_names_the_next_step(runner: Runner) -> None:
    with providers.ollama(lambda _: (404, {"error": "model 'some-model' not found"})) as ollama:
        done = runner.run(*OLLAMA, "--base-url", ollama.url, "hello")
    assert done.returncode == 1
    assert "ollama pull some-model" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("provider", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
def test_a_refused_key_is_not_repeated(runner: Runner, provider: str, variable: str) -> None:
    error = {"type": "error", "error": {"message": "bad key", "type": "authentication_error"}}
    with providers.openai(lambda _: (401, error)) as service:
        done = runner.run(
            "ask",
            "--provider",
            provider,
            "--model",
            "m",
            "--base-url",
            service.url,
            "hello",
            **{variable: "secret-0815"},
        )
    assert done.returncode == 1
    assert f"check {variable} in the environment\n" in done.stderr
    assert "secret-0815" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
