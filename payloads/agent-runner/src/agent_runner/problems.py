"""The errors of an execution that are about its model, in words that a person can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.errors import Problem
from agent_runner.models import KEY_VARIABLES

if TYPE_CHECKING:
    from agent_runner.answers import AnswerAssembler
    from agent_runner.models import ModelSpec

_FIRST_RETRY = 1.0
# Characters of a provider's own words.
_MAX_WORDS = 500


def delay(problem: Problem, attempt: int) -> float | None:
    """Seconds to wait before the next attempt, of which `attempt` were made; None: none would help."""
    if problem.retry_after is None:
        return None
    return problem.retry_after if problem.retry_after > 0 else _FIRST_RETRY * 2 ** (attempt - 1)


def no_key(spec: ModelSpec) -> Problem:
    """There is no key for a provider that needs one."""
    return Problem("no_key", f"there is no key for {spec.provider}", set_key(spec))


def in_a_shell(problem: Problem, spec: ModelSpec) -> Problem:
    """The same for `ask`, which has its keys from its own environment and from nowhere else."""
    verb = {"no_key": "set", "key_refused": "check"}.get(problem.kind)
    if verb is not None:
        problem.hint = f"{verb} {KEY_VARIABLES[spec.provider]} in the environment"
    elif problem.hint:
        problem.hint = problem.hint.removesuffix("; then run `stigmer server restart`")
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


def refused(spec: ModelSpec, words: str = "") -> Problem:
    """The model, or a filter in front of it, does not answer."""
    said = f": {in_one_line(words)}" if words.strip() else ""
    return Problem("refused", f"{place(spec)} refuses to answer this{said}", "rephrase the message")


def empty_answer(spec: ModelSpec, answer: AnswerAssembler) -> Problem:
    """The answer is complete and has neither text nor a call of a tool."""
    if answer.is_loading:
        return Problem(
            "empty_answer", f"{place(spec)} loaded {spec.model!r} without answering", "try again", retry_after=0
        )
    if answer.is_truncated:
        what = "in its reasoning" if answer.has_reasoning else "before any text"
        hint = "raise `model.max_tokens` of the agent, or ask for less at once"
        return Problem("empty_answer", f"the answer of {spec.model!r} reached its token limit {what}", hint)
    if answer.has_reasoning:
        return Problem(
            "empty_answer", f"{spec.model!r} reasoned, and gave no answer", "try again, or use another model"
        )
    return Problem("empty_answer", f"{spec.model!r} gave an empty answer", "try again, or use another model")


def too_long(spec: ModelSpec) -> Problem:
    """Instructions, session and message are longer than the model's context."""
    return Problem(
        "context_too_long",
        f"the conversation is longer than the context of {spec.model!r}",
        "start a new session, shorten the message, or use a model with a larger context",
    )


def place(spec: ModelSpec) -> str:
    """The provider, and its address if that can be another than usual. Never with a password."""
    return address_of(spec) if spec.has_own_address or spec.provider == "ollama" else spec.provider


def address_of(spec: ModelSpec) -> str:
    """The provider and its address."""
    return f"{spec.provider} at {shown(spec.address)}"


def shown(url: str) -> str:
    """An address that can be shown: without user and password, and without what follows a `?`, which may be a key."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def in_one_line(text: str) -> str:
    """A provider's own words, as one line that is not too long."""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}…"


def check_key(spec: ModelSpec) -> str:
    """The hint for a key that was refused."""
    variable = KEY_VARIABLES[spec.provider]
    return f"check {variable}, in the environment or in secrets.env; after a change run `stigmer server restart`"


def set_key(spec: ModelSpec) -> str:
    """The hint for a key that is missing."""
    variable = KEY_VARIABLES[spec.provider]
    return f"set {variable} in the environment, or write it into secrets.env, and run `stigmer server restart`"
