"""When a provider is asked again."""

from __future__ import annotations

import errno
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from agent_runner import problems, provider_errors
from agent_runner.errors import Problem
from agent_runner.models import ModelSpec

SPEC = ModelSpec.of("openai", "m", "http://someone:password@host/v1")


class Refusal(Exception):
    """What the libraries raise for an answer that is an error."""

    def __init__(self, status: int, message: str = "no", **headers: str) -> None:
        super().__init__(message)
        self.status_code = status
        self.response = SimpleNamespace(headers={name.replace("_", "-"): value for name, value in headers.items()})


def explained(error: Exception) -> Problem:
    problem = provider_errors.explain(error, SPEC)
    assert problem is not None
    return problem


def test_what_the_provider_asks_for_is_honoured() -> None:
    assert problems.delay(explained(Refusal(429, retry_after="7")), 1) == 7
    assert problems.delay(explained(Refusal(429, retry_after="7", retry_after_ms="20")), 3) == pytest.approx(0.02)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    wait = problems.delay(explained(Refusal(503, retry_after=soon)), 1)
    assert wait is not None
    assert 20 < wait <= 30


def test_what_takes_too_long_is_left_to_a_person() -> None:
    problem = explained(Refusal(429, retry_after="3600"))
    assert problems.delay(problem, 1) is None
    assert problem.hint is not None
    assert "3600 seconds" in problem.hint


def test_without_a_word_the_pauses_grow() -> None:
    problem = explained(Refusal(500))
    assert [problems.delay(problem, attempt) for attempt in (1, 2, 3)] == [1, 2, 4]
    assert problems.delay(explained(Refusal(429, retry_after="nonsense")), 1) == 1


def test_what_will_not_pass_is_not_asked_again() -> None:
    for status in (400, 401, 403, 404, 422):
        assert problems.delay(explained(Refusal(status)), 1) is None
    assert problems.delay(explained(Refusal(429, "insufficient_quota: check your billing")), 1) is None


def test_what_a_provider_says_is_told_in_one_line_and_not_at_length() -> None:
    problem = explained(Refusal(418, "a\nb\t" + "x" * 5000))
    assert "\n" not in problem.reason
    assert len(problem.reason) < 700


def test_a_password_in_an_address_is_not_told() -> None:
    assert "password" not in explained(Refusal(500)).reason
    assert "openai at http://host/v1" in explained(Refusal(500)).reason


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:pass@host:8/v1", "https://host:8/v1"),
        ("https://host/v1?key=pass", "https://host/v1"),
        ("https://host/#pass", "https://host/"),
        ("user:pass@127.0.0.1:11434", "127.0.0.1:11434"),
        ("http://user@host?to=http://pass", "http://host"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(address: str, shown: str) -> None:
    assert problems.shown(address) == shown


class ConnectError(Exception):
    """What the HTTP libraries raise when there is no connection, by its name."""


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "the host's name cannot be looked up"),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), "timed out"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "network is unreachable"),
        (ExceptionGroup("both", [ConnectionRefusedError(), ConnectionRefusedError()]), "connection refused"),
    ],
)
def test_why_there_is_no_connection_is_said(monkeypatch: pytest.MonkeyPatch, cause: Exception, says: str) -> None:
    for name in ("ANTHROPIC_API_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    error = ConnectError("All connection attempts failed")
    error.__cause__ = cause
    problem = provider_errors.explain(error, ModelSpec.of("anthropic", "m"))
    assert problem is not None
    assert problem.kind == "provider_unreachable"
    assert problem.reason == f"cannot reach anthropic at https://api.anthropic.com: {says}"
    assert problem.hint == "check the network and the proxy"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://host/")
    problem = provider_errors.explain(error, ModelSpec.of("anthropic", "m"))
    assert problem is not None
    assert problem.reason == f"cannot reach anthropic at http://host/: {says}"
    assert problem.hint == "check the network, the proxy and ANTHROPIC_BASE_URL"


def test_the_cause_of_an_error_is_looked_at() -> None:
    error = RuntimeError("it did not work")
    error.__cause__ = Refusal(404)
    assert explained(error).kind == "model_not_found"
    assert provider_errors.explain(ValueError("ours"), SPEC) is None
