"""Errors that a provider answers with, as problems; and when asking again may help.

The status alone does not say what is wrong: servers send 400 for a conversation that is too long and for a key that is
wrong, and 429 both for too many requests and for an empty account. So the error's `type`, its `code` and its words are
read too. What a provider says itself is repeated only where it says more than we know, and never in full length.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

from agent_runner import connection_errors, problems
from agent_runner.connection_errors import NotAModel
from agent_runner.errors import Problem
from agent_runner.models import KEY_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.models import ModelSpec

__all__ = ["MAX_RETRY_AFTER", "NotAModel", "explain"]

# Seconds that are waited because a provider asks for it; beyond that a person decides.
MAX_RETRY_AFTER = 60.0
# The conversation is too long, in the words of Anthropic, Bedrock, Cohere, Gemini, Groq, llama.cpp, LM Studio, Mistral,
# Ollama, OpenAI, TGI, vLLM, xAI and Z.ai; they come with the statuses 400, 413, 422 and 500, and in streams.
_TOO_LONG_CODES = frozenset((
    "context_length_exceeded", "context_window_exceeded", "exceed_context_size_error", "model_context_window_exceeded",
    "request_too_large",
))  # fmt: skip
_TOO_LONG_WORDS = (
    "prompt is too long",
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "maximum model length",
    "maximum prompt length",
    "available context size",
    "exceed context limit",
    "exceeds the maximum number of tokens",
    "tokens exceed the configured limit",
    "contextwindowexceeded",
    "context window",
    "context length",
    "too many tokens",
    "input is too long",
    "request too large",
    "entity too large",
    "payload too large",
    "exceeds max length",
    "reduce the length of the messages",
    "`inputs` tokens + `max_new_tokens`",
)
_TOO_LONG_STATUSES = frozenset((None, 400, 413, 422, 500))
_NO_QUOTA_CODES = frozenset((
    "insufficient_quota", "insufficient_balance", "insufficient_funds", "insufficient_credits", "billing_error",
    "billing_hard_limit_reached", "payment_required",
))  # fmt: skip
_NO_QUOTA_WORDS = (
    "insufficient_quota",
    "insufficient balance",
    "insufficient credit",
    "insufficient funds",
    "credit balance",
    "available credits",
    "billing",
    "exceeded your current quota",
)
_WRONG_KEY_CODES = frozenset(("invalid_api_key", "api_key_invalid"))
_WRONG_KEY_WORDS = ("api key not valid", "incorrect api key", "invalid api key")
# What comes in the middle of a stream has no status of its own; these words have the status's meaning.
_STATUSES = {
    "invalid_request_error": 400, "invalid_argument": 400, "failed_precondition": 400,
    "authentication_error": 401, "unauthenticated": 401,
    "billing_error": 402,
    "permission_error": 403, "permission_denied": 403,
    "not_found_error": 404, "not_found": 404, "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "resource_exhausted": 429, "too_many_requests": 429,
    "api_error": 500, "server_error": 500, "internal": 500, "internal_server_error": 500,
    "unavailable": 503, "service_unavailable": 503,
    "timeout_error": 504, "deadline_exceeded": 504,
    "overloaded_error": 529, "overloaded": 529,
}  # fmt: skip
_RETRY_WORDS = re.compile(r"(?:retry|try again) in (\d+(?:\.\d+)?) ?(ms|s)\b", re.IGNORECASE)


def explain(error: BaseException, spec: ModelSpec) -> Problem | None:
    """The error of a provider's library as a problem; None when it is not the provider's."""
    for cause in connection_errors.chain(error):
        if isinstance(cause, Problem):
            return cause
        problem = connection_errors.explain(cause, spec)
        if problem is None and (answer := _ErrorAnswer.of(cause)) is not None:
            problem = _classified(answer, spec)
        if problem is not None:
            return problem
    return connection_errors.not_a_model(spec) if connection_errors.is_about_the_answer(error) else None


@dataclass(frozen=True)
class _ErrorAnswer:
    """An error as the provider reported it."""

    status: int | None  # None: in the middle of a stream
    codes: frozenset[str]  # its `type`, `code` and `status`, in small letters
    words: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, error: BaseException) -> _ErrorAnswer | None:
        """What the libraries keep of an error; None for an exception that is none of a provider."""
        status = getattr(error, "status_code", None)
        names = {kind.__name__ for kind in type(error).__mro__}
        is_status = isinstance(status, int) and status >= 400
        if not is_status and not names & {"APIError", "ResponseError"}:
            return None
        content = _content(error)
        codes = frozenset(
            str(content[name]).lower() for name in ("type", "code", "status") if content.get(name) is not None
        )
        if "ContextOverflowError" in names:
            codes |= {"context_length_exceeded"}
        words = _words(content) or str(getattr(error, "message", None) or error)
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        return cls(status if is_status else _implied_status(codes), codes, problems.in_one_line(words), headers)

    def has(self, codes: frozenset[str], words: tuple[str, ...]) -> bool:
        """Whether the error is of a kind, by its codes or by its words."""
        lower = self.words.lower()
        return bool(self.codes & codes) or any(mark in lower for mark in words)

    def retry_after(self) -> float:
        """Seconds that the provider asks to wait (RFC 9110 section 10.2.3, or its form in milliseconds); 0 if none."""
        try:
            if (text := self.headers.get("retry-after-ms")) is not None:
                return max(float(text) / 1000, 0.0)
            if (text := self.headers.get("retry-after")) is not None:
                if text.strip().isdigit():
                    return float(text)
                return max(parsedate_to_datetime(text).timestamp() - time(), 0.0)
        except (ValueError, TypeError, OverflowError):
            return 0.0
        match = _RETRY_WORDS.search(self.words)
        return float(match[1]) / (1000 if match[2].lower() == "ms" else 1) if match else 0.0


def _classified(answer: _ErrorAnswer, spec: ModelSpec) -> Problem:
    where, status = problems.place(spec), answer.status
    if status in _TOO_LONG_STATUSES and answer.has(_TOO_LONG_CODES, _TOO_LONG_WORDS):
        return problems.too_long(spec)
    if _has_no_quota(answer):
        return Problem(
            "quota_exceeded", f"{where} reports an exhausted account: {answer.words}", "see your account there"
        )
    if status == 401 or (status in (400, 403) and answer.has(_WRONG_KEY_CODES, _WRONG_KEY_WORDS)):
        if not os.environ.get(KEY_VARIABLES[spec.provider], "").strip():
            return Problem("no_key", f"{where} requires a key, and none is set", problems.set_key(spec))
        return Problem("key_refused", f"{where} refuses the key", problems.check_key(spec))
    if "content_filter" in answer.codes:
        return problems.refused(spec, answer.words)
    if status == 403:
        hint = "use another key, or allow it in your account there"
        return Problem("not_allowed", f"{where} does not allow this: {answer.words}", hint)
    if status == 404 or "model_not_found" in answer.codes or _is_ollama_without_model(answer, spec):
        return _not_found(answer, spec)
    if status == 408:
        return Problem("provider_timeout", f"{where} timed out: {answer.words}", "try again", retry_after=0)
    after = answer.retry_after()
    retry_after = after if after <= MAX_RETRY_AFTER else None
    if status == 429:
        hint = f"it asks to wait for {after:.0f} seconds: try again then" if retry_after is None else "try again later"
        return Problem("rate_limited", f"{where} reports too many requests", hint, retry_after=retry_after)
    if status in (503, 529) or "overloaded" in answer.words.lower():
        return Problem("overloaded", f"{where} is overloaded", "try again later", retry_after=retry_after)
    if status is None:
        return Problem("provider_failed", f"{where} failed: {answer.words}", "try again", retry_after=retry_after)
    if status >= 500:
        reason = f"{where} failed with status {status}: {answer.words}"
        return Problem("provider_failed", reason, "try again", retry_after=retry_after)
    return Problem("request_refused", f"{where} refuses the request with status {status}: {answer.words}")


def _has_no_quota(answer: _ErrorAnswer) -> bool:
    if answer.status == 402 or answer.codes & _NO_QUOTA_CODES:
        return True
    # Gemini has the same words for a limit per minute, and says when it ends.
    is_for_now = answer.status == 429 and answer.retry_after() > 0
    return answer.status in (400, 403, 429) and answer.has(frozenset(), _NO_QUOTA_WORDS) and not is_for_now


def _is_ollama_without_model(answer: _ErrorAnswer, spec: ModelSpec) -> bool:
    return spec.provider == "ollama" and answer.status is None and "not found" in answer.words.lower()


def _not_found(answer: _ErrorAnswer, spec: ModelSpec) -> Problem:
    if spec.provider == "ollama" and "model" not in answer.words.lower():
        return connection_errors.not_a_model(spec)  # the path is unknown, not the model
    hint = f"run `ollama pull {spec.model}`" if spec.provider == "ollama" else "check the model's name"
    if spec.has_own_address:
        hint += f", or check {spec.address_source}" if spec.provider == "ollama" else f" and {spec.address_source}"
    return Problem("model_not_found", f"{problems.place(spec)} has no model {spec.model!r}", hint)


def _content(error: BaseException) -> dict[str, Any]:
    """The error's object, however deep the library or the server has put it."""
    value: Any = getattr(error, "body", None)
    if value is None:
        value = getattr(error, "error", None)
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(value)
        except ValueError:
            return {"message": value}
    while True:
        if isinstance(value, list) and value and isinstance(value[0], dict) and "error" in value[0]:
            value = value[0]
        if isinstance(value, dict) and value.get("error"):
            value = (
                value["error"]
                if isinstance(value["error"], dict)
                else value | {"message": value["error"], "error": None}
            )
        else:
            break
    return value if isinstance(value, dict) else {"message": value}


def _words(content: Mapping[str, Any]) -> str:
    """The words of an error: in `message`, in `detail` (a text, or FastAPI's list), or in something like it."""
    for name in ("message", "detail", "details", "error_description", "title", "msg", "reason"):
        value = content.get(name)
        if isinstance(value, list):
            value = "; ".join(filter(None, map(_detail, value)))
        if isinstance(value, dict):
            value = _words(value)
        if isinstance(value, str) and value.strip():
            return _without_markup(value)
    return ""


def _detail(entry: Any) -> str:
    if isinstance(entry, dict):
        place = ".".join(str(each) for each in entry.get("loc") or ())
        return f"{place}: {entry.get('msg')}" if place and entry.get("msg") else _words(entry)
    return str(entry)


def _without_markup(text: str) -> str:
    """The title of a page; what is no page stays as it is."""
    if not text.lstrip().startswith("<"):
        return text
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return title[1].strip() if title and title[1].strip() else "a web page"


def _implied_status(codes: frozenset[str]) -> int | None:
    for code in codes:
        if code.isdecimal() and 400 <= int(code) < 600:
            return int(code)
    return next((_STATUSES[code] for code in sorted(codes) if code in _STATUSES), None)
