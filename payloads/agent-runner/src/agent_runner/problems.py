"""What went wrong with a provider, in words a person can act on; and when asking again may help.

The three libraries classify most of it alike (`langchain_core.exceptions`); Ollama's raises what its HTTP library
raises. What a provider says itself is repeated only where it says more than we know, and never in full length.
"""

from __future__ import annotations

import os
import socket
import ssl
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

from agent_runner.errors import Problem
from agent_runner.models import KEY_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_runner.models import ModelSpec

# An answer may be waited for so long; beyond that a person decides.
LONGEST_RETRY_AFTER = 60.0
_FIRST_RETRY = 1.0
_NOT_ALLOWED = "its own words say why; another key, or your account there, may allow it"
_MOST_OF_A_TEXT = 500
_TOO_LONG = (
    "prompt is too long",
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "context length",
    "too many tokens",
    "input is too long",
    "exceed_context_size",
)
# What the libraries raise when a stream held nothing they know, and where each of them reads what came.
_NOTHING_CAME = ("No generation chunks were returned", "No generations found in stream")
_READERS = (("anthropic._streaming", None), ("openai._streaming", None), ("ollama._client", "inner"))
_NO_QUOTA = ("insufficient_quota", "credit balance", "billing", "exceeded your current quota")


class NotAModel(Problem):
    """Something answers, and it is no model: a web page, or another interface."""


def explain(error: BaseException, spec: ModelSpec) -> Problem | None:
    """The error of a provider's library as a problem; None when it is not the provider's."""
    for cause in _chain(error):
        if isinstance(cause, Problem):
            return cause
        problem = _without_answer(cause, spec) or _by_status(cause, spec)
        if problem is not None:
            return problem
    return _not_a_model(spec) if _is_about_what_came(error) else None


def delay(problem: Problem, attempt: int) -> float | None:
    """How many seconds to wait before the next attempt, of which `attempt` were made; None: none would help."""
    if problem.retry_after is None:
        return None
    return problem.retry_after if problem.retry_after > 0 else _FIRST_RETRY * 2 ** (attempt - 1)


def no_key(spec: ModelSpec) -> Problem:
    """There is no key for a provider that needs one."""
    return Problem("no_key", f"there is no key for {spec.provider}", _set_key(spec))


def in_a_shell(problem: Problem, spec: ModelSpec) -> Problem:
    """The same for `ask`, which has its keys from its own environment and from nowhere else."""
    verb = {"no_key": "set", "key_refused": "check"}.get(problem.kind)
    if verb is not None:
        problem.hint = f"{verb} {KEY_VARIABLES[spec.provider]} in the environment"
    return problem


def no_model() -> Problem:
    """Neither the agent nor the configuration names a model."""
    return Problem(
        "no_model",
        "the agent names no model, and neither does the configuration",
        'add `model: {provider: …, name: …}` to the agent\'s spec, or `model = { provider = "…", name = "…" }` '
        "below [agent-runner] in config.toml and run `stigmer server restart`",
    )


def cut(spec: ModelSpec) -> Problem:
    """The stream ended before the answer did."""
    return Problem("stream_cut", f"{place(spec)} broke off in the middle of its answer", "try again")


def place(spec: ModelSpec) -> str:
    """Who is asked, and where if that can be somewhere else than usual. Never with a password."""
    return _full_place(spec) if spec.has_own_address or spec.provider == "ollama" else spec.provider


def _full_place(spec: ModelSpec) -> str:
    return f"{spec.provider} at {shown(spec.address)}"


def shown(url: str) -> str:
    """An address that can be shown: without user and password, and without what follows a `?`, which may be a key."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the nearest first."""
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def _without_answer(error: BaseException, spec: ModelSpec) -> Problem | None:
    # The libraries share no base class, but they do share these names.
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"APITimeoutError", "TimeoutException", "ModelTimeoutError", "StreamChunkTimeoutError"}:
        reason = f"{_full_place(spec)} does not answer in time"
        if any(type(each).__name__ == "ConnectTimeout" for each in _everything(error)):
            reason = f"cannot reach {_full_place(spec)} in time"
        return Problem("provider_timeout", reason, _if_silent(spec), retry_after=0)
    if names & {"RemoteProtocolError", "ReadError", "StreamError", "IncompleteRead"}:
        return cut(spec)
    if names & {"APIConnectionError", "ConnectError", "ModelConnectionError", "ConnectionError", "ProxyError"}:
        local = spec.provider == "ollama"
        source = spec.address_source
        hint = f"check the network, the proxy and {source}" if source else "check the network and the proxy"
        if local:
            hint = "start it with `ollama serve`"
        causes = (_cause(each) for each in _everything(error))
        cause = next((f": {words}" for words in causes if words), "")
        return Problem(
            "provider_unreachable", f"cannot reach {_full_place(spec)}{cause}", hint, retry_after=None if local else 0
        )
    if "ContextOverflowError" in names:
        return _too_long(spec)
    return None


def _everything(error: BaseException) -> Iterator[BaseException]:
    """The error and all it came from. A host with several addresses fails once for each of them."""
    for step in _chain(error):
        yield step
        if isinstance(step, BaseExceptionGroup):
            for inner in step.exceptions:
                yield from _everything(inner)


def _cause(error: BaseException) -> str | None:
    """Why there is no connection, as far as the system says it."""
    if isinstance(error, socket.gaierror):
        unknown = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return "no such host" if error.errno in unknown else "the host's name cannot be looked up"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {(error.reason or 'unknown').replace('_', ' ').lower()}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionError):
        return "the connection was closed"
    if isinstance(error, TimeoutError):
        return "timed out"
    if type(error).__name__ == "ProxyError" and str(error):
        return f"the proxy says: {_in_one_line(str(error))}"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror.lower()
    return None


def _is_about_what_came(error: BaseException) -> bool:
    """Whether a library failed over what it read, and not over what we gave it."""
    if isinstance(error, ValueError) and str(error).startswith(_NOTHING_CAME):
        return True
    step = error.__traceback__
    while step is not None:
        module, function = step.tb_frame.f_globals.get("__name__"), step.tb_frame.f_code.co_name
        if (module, None) in _READERS or (module, function) in _READERS:
            return True
        step = step.tb_next
    return False


def _not_a_model(spec: ModelSpec) -> Problem:
    source = spec.address_source
    hint = (
        f"check {source}; what is there must stream its answers as {spec.provider} does"
        if source
        else "see what answers in its place: a proxy, or the sign-in page of a network"
    )
    return NotAModel("provider_failed", f"what answers at {shown(spec.address)} is no model of {spec.provider}", hint)


def _if_silent(spec: ModelSpec) -> str:
    return "a model that is being loaded can take a while: try again" if spec.provider == "ollama" else "try again"


def _by_status(error: BaseException, spec: ModelSpec) -> Problem | None:
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or status < 400:
        return _by_name(error, spec)
    said = _said(error)
    lower = said.lower()
    where = place(spec)
    if any(mark in lower for mark in _NO_QUOTA) and status in (400, 402, 403, 429):
        return Problem(
            "quota_exceeded", f"{where} says that nothing is left to pay for it: {said}", "see your account there"
        )
    if status in (400, 413, 422, 500) and any(mark in lower for mark in _TOO_LONG):
        return _too_long(spec)
    if status == 401 and not os.environ.get(KEY_VARIABLES[spec.provider], "").strip():
        return Problem("no_key", f"{where} wants a key, and there is none", _set_key(spec))
    if status == 401:
        return Problem("key_refused", f"{where} refuses the key", _check_key(spec))
    if status == 403:
        return Problem("not_allowed", f"{where} does not allow this: {said}", _NOT_ALLOWED)
    if status == 404:
        hint = f"get it with `ollama pull {spec.model}`" if spec.provider == "ollama" else "check the model's name"
        if spec.has_own_address:
            hint += f", and {spec.address_source}"
        return Problem("model_not_found", f"{where} has no model {spec.model!r}", hint)
    if status == 429:
        asked_for = _retry_after(error)
        hint = "wait a moment and try again"
        if asked_for > LONGEST_RETRY_AFTER:
            hint = f"it asks to wait for {asked_for:.0f} seconds: try again then"
        return Problem(
            "rate_limited", f"{where} says there are too many requests", hint, retry_after=_bounded(asked_for)
        )
    if status in (503, 529) or "overloaded" in lower:
        return Problem(
            "overloaded", f"{where} is overloaded", "try again in a while", retry_after=_bounded(_retry_after(error))
        )
    if status >= 500:
        after = _bounded(_retry_after(error))
        return Problem(
            "provider_failed", f"{where} failed with status {status}: {said}", "try again", retry_after=after
        )
    return Problem("request_refused", f"{where} refuses the request with status {status}: {said}")


def _by_name(error: BaseException, spec: ModelSpec) -> Problem | None:
    """What comes in the middle of a stream has no status of its own."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if not names & {"APIError", "ResponseError"}:
        return None
    said = _said(error)
    lower = said.lower()
    if any(mark in lower for mark in _TOO_LONG):
        return _too_long(spec)
    if "overloaded" in lower:
        return Problem("overloaded", f"{place(spec)} is overloaded", "try again in a while", retry_after=0)
    if "not found" in lower and spec.provider == "ollama":
        return Problem(
            "model_not_found", f"{place(spec)} has no model {spec.model!r}", f"get it with `ollama pull {spec.model}`"
        )
    return Problem("provider_failed", f"{place(spec)} failed: {said}", "try again", retry_after=0)


def _too_long(spec: ModelSpec) -> Problem:
    return Problem(
        "context_too_long",
        f"what was said is longer than {spec.model!r} can take in",
        "begin a new session, say less at once, or take a model with a larger context",
    )


def _said(error: BaseException) -> str:
    """The provider's own words, in one line."""
    body = getattr(error, "body", None)
    inner: Any = body.get("error", body) if isinstance(body, dict) else None
    text = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(text, str):
        text = getattr(error, "message", None) or getattr(error, "error", None) or str(error)
    return _in_one_line(str(text))


def _in_one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_OF_A_TEXT else f"{text[:_MOST_OF_A_TEXT]}…"


def _check_key(spec: ModelSpec) -> str:
    variable = KEY_VARIABLES[spec.provider]
    return f"check {variable}, in the environment or in secrets.env; after a change run `stigmer server restart`"


def _set_key(spec: ModelSpec) -> str:
    variable = KEY_VARIABLES[spec.provider]
    return f"set {variable} in the environment, or write it into secrets.env, and run `stigmer server restart`"


def _bounded(after: float) -> float | None:
    return after if after <= LONGEST_RETRY_AFTER else None


def _retry_after(error: BaseException) -> float:
    """What the provider asks for, in seconds (RFC 9110 section 10.2.3, or its form in milliseconds); 0 if nothing."""
    response = getattr(error, "response", None)
    headers: Mapping[str, str] = getattr(response, "headers", None) or {}
    try:
        if (text := headers.get("retry-after-ms")) is not None:
            return max(float(text) / 1000, 0.0)
        text = headers.get("retry-after")
        if text is None:
            return 0.0
        if text.strip().isdigit():
            return float(text)
        return max(parsedate_to_datetime(text).timestamp() - time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0
