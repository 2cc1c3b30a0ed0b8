"""Errors of a provider's library that are about the connection, or about bytes which are no answer of a model.

The libraries share no base class, so they are recognized by the names of their classes.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from agent_runner import problems
from agent_runner.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.models import ModelSpec

# The libraries' words for a stream in which nothing was understood, and where each of them reads what came.
_NOTHING_CAME = ("No generation chunks were returned", "No generations found in stream")
_READERS = (("anthropic._streaming", None), ("openai._streaming", None), ("ollama._client", "inner"))
_TIMEOUTS = frozenset(("APITimeoutError", "TimeoutException", "ModelTimeoutError", "StreamChunkTimeoutError"))
_CUTS = frozenset(("RemoteProtocolError", "ReadError", "StreamError", "IncompleteRead"))
_FAILURES = frozenset(("APIConnectionError", "ConnectError", "ModelConnectionError", "ConnectionError", "ProxyError"))


class NotAModel(Problem):
    """Something answers that is not a model: a web page, or another interface."""


def chain(error: BaseException) -> list[BaseException]:
    """The error and its causes, the nearest first."""
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def explain(error: BaseException, spec: ModelSpec) -> Problem | None:
    """An error that is about the connection, as a problem; None for any other."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _TIMEOUTS:
        reason = f"{problems.address_of(spec)} does not answer in time"
        if any(type(each).__name__ == "ConnectTimeout" for each in _with_groups(error)):
            reason = f"cannot reach {problems.address_of(spec)} in time"
        return Problem("provider_timeout", reason, _if_silent(spec), retry_after=0)
    if names & _CUTS:
        return problems.cut(spec)
    if names & _FAILURES:
        local = spec.provider == "ollama"
        source = spec.address_source
        hint = f"check the network, the proxy and {source}" if source else "check the network and the proxy"
        if local:
            hint = "start it with `ollama serve`"
        causes = (_cause(each) for each in _with_groups(error))
        cause = next((f": {words}" for words in causes if words), "")
        return Problem(
            "provider_unreachable",
            f"cannot reach {problems.address_of(spec)}{cause}",
            hint,
            retry_after=None if local else 0,
        )
    return None


def _with_groups(error: BaseException) -> Iterator[BaseException]:
    """The error and all of its causes. A host with several addresses fails once for each of them."""
    for step in chain(error):
        yield step
        if isinstance(step, BaseExceptionGroup):
            for inner in step.exceptions:
                yield from _with_groups(inner)


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
        return f"the proxy says: {problems.in_one_line(str(error))}"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror.lower()
    return None


def is_about_the_answer(error: BaseException) -> bool:
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


def not_a_model(spec: ModelSpec) -> NotAModel:
    """The error for an address at which something else answers."""
    source = spec.address_source
    hint = (
        f"check {source}: expected a server that streams its answers as {spec.provider} does"
        if source
        else "check what answers in its place: a proxy, or the sign-in page of a network"
    )
    return NotAModel(
        "provider_failed", f"what answers at {problems.shown(spec.address)} is no model of {spec.provider}", hint
    )


def _if_silent(spec: ModelSpec) -> str:
    return "a model that is being loaded can take a while: try again" if spec.provider == "ollama" else "try again"
