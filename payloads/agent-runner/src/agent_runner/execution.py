"""One execution of an agent, from what was leased to an answer or a plain error."""

from __future__ import annotations

import asyncio
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from agent_runner import graph, problems, provider_errors, providers, spec, tools
from agent_runner.conversation import Conversation
from agent_runner.errors import Problem, RunnerError
from agent_runner.reporter import MAX_OUTPUT
from agent_runner.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.config import Config
    from agent_runner.models import ModelSpec
    from agent_runner.reporter import Reporter

WORKSPACES = "workspaces"
# What was said before in the session is told as far back as fits into so many characters.
MAX_HISTORY = 200_000


async def execute(leased: dict[str, Any], config: Config, reporter: Reporter, log: Callable[[str], None]) -> None:
    """Works on an execution to its end, which the reporter learns; raises only when it is stopped."""
    name = leased["execution"].get("id")
    try:
        reporter.completed(await _run(leased, config, reporter))
    except Problem as problem:
        reporter.failed(problem.kind, problem.reason, problem.hint)
    except RunnerError as error:
        reporter.failed("bad_definition", error.reason, error.hint)
    except Exception as error:
        log(f"execution {name}: {''.join(traceback.format_exception(error))}")
        hint = "see the log: `stigmer server logs --component agent-runner`"
        reporter.failed("internal", f"internal error: {type(error).__name__}: {error}", hint)


async def _run(leased: dict[str, Any], config: Config, reporter: Reporter) -> dict[str, Any]:
    agent = spec.AgentSpec.of(leased["definition"])
    model = agent.model or (spec.model_spec(config.model) if config.model else None)
    if model is None:
        raise problems.no_model()
    limit = asyncio.timeout(agent.timeout)
    try:
        async with limit:
            return await _converse(leased, agent, model, config, reporter)
    except TimeoutError as error:
        if not limit.expired():
            raise provider_errors.explain(error, model) or error from error
        raise Problem(
            "timeout",
            f"timed out after {agent.timeout:g} seconds",
            "ask for less at once, or raise `limits.timeout` of the agent",
        ) from error


async def _converse(
    leased: dict[str, Any], agent: spec.AgentSpec, model: ModelSpec, config: Config, reporter: Reporter
) -> dict[str, Any]:
    workspace = Workspace(Path(config.work_dir) / WORKSPACES / leased["execution"]["id"])
    given = tools.of_workspace(workspace, agent.tools)
    chat = await asyncio.to_thread(providers.chat_model, model)  # imports the provider's library
    caller = providers.bound(chat, model, given)
    preamble: list[BaseMessage] = [SystemMessage(agent.instructions)] if agent.instructions.strip() else []
    conversation = Conversation(caller, model, preamble, given, agent.steps, reporter)
    answer = await graph.answer(conversation, messages(leased))
    text = reporter.redactor.text(str(answer.text))
    if len(json.dumps(text, ensure_ascii=False).encode()) > MAX_OUTPUT:
        raise Problem("answer_too_long", f"the answer has more than {MAX_OUTPUT} bytes", "ask for less at once")
    output: dict[str, Any] = {"text": text}
    if conversation.is_truncated:
        output["truncated"] = True
    if workspace.is_used():
        output["workspace"] = str(workspace.root)
    return output


def messages(leased: dict[str, Any]) -> list[BaseMessage]:
    """What was said before in the session, and the message of this execution."""
    execution = leased["execution"]
    message = execution.get("message") or ""
    if execution.get("input") is not None:
        message += f"\n\nInput, as JSON:\n{json.dumps(execution['input'], ensure_ascii=False)}"
    return [*history(leased.get("history") or []), HumanMessage(message)]


def history(said: list[dict[str, Any]]) -> list[BaseMessage]:
    """The newest exchanges that fit into `MAX_HISTORY` characters, oldest first; each whole or not at all."""
    exchanges: list[tuple[str, str]] = []
    room = MAX_HISTORY
    for question, answer in zip(reversed(said[::2]), reversed(said[1::2]), strict=False):
        texts = question.get("text"), answer.get("text")
        if (
            not isinstance(texts[0], str)
            or not isinstance(texts[1], str)
            or not texts[0].strip()
            or not texts[1].strip()
        ):
            continue  # an exchange without words, which no provider takes
        room -= len(texts[0]) + len(texts[1])
        if room < 0:
            break
        exchanges.append((texts[0], texts[1]))
    return [message for asked, told in reversed(exchanges) for message in (HumanMessage(asked), AIMessage(told))]
