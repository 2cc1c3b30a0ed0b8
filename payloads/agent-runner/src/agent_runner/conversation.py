"""The two things an agent does in turn: it asks the model, and it runs the tools that the model calls.

Both are reported as they happen. Asking again after an error is decided here, because only here it is known whether
a part of the answer has been shown already.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.messages import AIMessage, ToolMessage

from agent_runner import problems, provider_errors, tools
from agent_runner.answers import AnswerAssembler
from agent_runner.errors import Problem
from agent_runner.redact import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

    from agent_runner.models import ModelSpec
    from agent_runner.redact import Redactor
    from agent_runner.tool_calls import ToolCall

MAX_ATTEMPTS = 4
# Characters of a tool's arguments and of its result that are reported; the model gets all of it.
_MAX_REPORTED = 4096
# Characters of text in one event; with every one of them escaped it still fits (`reporter.MAX_EVENT`).
_MAX_EVENT_TEXT = 30 * 1024


class Listener(Protocol):
    """Receives the events of a conversation, as `reporter.Reporter` does."""

    redactor: Redactor

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        """Takes an event."""


class Conversation:
    """The calls of the agent's graph. `steps`: how many answers of the model may be asked for."""

    def __init__(
        self,
        caller: Runnable[Any, Any],
        spec: ModelSpec,
        preamble: list[BaseMessage],
        tools: Sequence[BaseTool],
        steps: int,
        listener: Listener,
    ) -> None:
        self._caller = caller
        self._spec = spec
        self._preamble = preamble
        self._tools = {tool.name: tool for tool in tools}
        self.steps = steps
        self._listener = listener
        # Whether the last answer ends where its limit of tokens was reached.
        self.is_truncated = False
        self._asked = 0
        self._calls: list[ToolCall] = []
        self._has_run_tools = False

    async def ask_model(self, messages: Sequence[BaseMessage]) -> AIMessage:
        """The model's next message, reported while it comes."""
        if self._asked >= self.steps:
            raise Problem(
                "steps_exceeded",
                f"the model did not come to an answer within {self.steps} steps",
                "ask for less at once, or raise `limits.steps` of the agent",
            )
        self._asked += 1
        answer = await self._ask_with_retries([*self._preamble, *messages])
        self._report_message(answer)
        return answer

    async def run_tools(self, answer: AIMessage) -> list[ToolMessage]:
        """Runs the calls of the last answer, one after the other, and gives their results."""
        if [call.id for call in self._calls] != [call["id"] for call in answer.tool_calls]:
            raise ValueError("these are not the calls of the last answer")
        return [await self._run_tool(call) for call in self._calls]

    async def _ask_with_retries(self, messages: list[BaseMessage]) -> AIMessage:
        attempt = 1
        while True:
            text = _TextReporter(f"m-{self._asked}", self._listener)
            try:
                return await self._ask_once(messages, text)
            except Exception as error:
                problem = provider_errors.explain(error, self._spec)
                if problem is None:
                    raise
                if text.has_text and (
                    problem.kind == "provider_unreachable" or isinstance(problem, provider_errors.NotAModel)
                ):
                    problem = problems.cut(self._spec)  # it was there, and then it was lost
                wait = problems.delay(problem, attempt)
                if wait is None or attempt >= MAX_ATTEMPTS or text.has_text:
                    raise problem from error
            wait *= 1 + random.random() / 10
            note = f"{problem.reason}; trying again in {wait:.1f} s ({attempt} of {MAX_ATTEMPTS - 1})"
            self._listener.emit("note", {"text": note, "type": problem.kind})
            await asyncio.sleep(wait)
            attempt += 1

    async def _ask_once(self, messages: list[BaseMessage], text: _TextReporter) -> AIMessage:
        # Anthropic's interface has a field for reasoning, and what imitates it has too.
        assembler = AnswerAssembler(text.id, has_tags=self._spec.provider != "anthropic")
        async for chunk in self._caller.astream(messages):
            text.add(assembler.feed(chunk))
        text.add(assembler.end())
        text.flush()
        self._report_usage(assembler.usage)
        if not assembler.is_complete:
            raise problems.cut(self._spec)
        if assembler.is_refusal:
            raise problems.refused(self._spec, assembler.refusal)
        answer, self._calls = assembler.finish(self._tools)
        if not self._calls and not assembler.text.strip():
            self._check_empty(assembler)
        self.is_truncated = assembler.is_truncated
        if self.is_truncated:
            note = "the answer ends where its limit of tokens was reached"
            self._listener.emit("note", {"text": note, "type": "max_tokens"})
        return answer

    def _check_empty(self, assembler: AnswerAssembler) -> None:
        """An answer without text is an error, unless the work was done by tools: then there may be nothing to add."""
        problem = problems.empty_answer(self._spec, assembler)
        if not self._has_run_tools or assembler.is_truncated or assembler.is_loading:
            raise problem
        self._listener.emit("note", {"text": problem.reason, "type": problem.kind})

    def _report_message(self, answer: AIMessage) -> None:
        text = str(answer.text)
        data: dict[str, Any] = {"id": answer.id, "role": "assistant", "text": _shortened(text, _MAX_EVENT_TEXT)}
        if self._calls:
            data["tool_calls"] = [
                {"call": call.id, "name": call.name, "arguments": _reported_arguments(call)} for call in self._calls
            ]
        self._listener.emit("message", data)

    def _report_usage(self, usage: tuple[int, int] | None) -> None:
        if usage is not None:
            counts = {"input_tokens": usage[0], "output_tokens": usage[1]}
            self._listener.emit("usage", counts | {"model": self._spec.model, "provider": self._spec.provider})

    async def _run_tool(self, call: ToolCall) -> ToolMessage:
        tool = self._tools.get(call.name)
        arguments = _reported_arguments(call)
        self._listener.emit("tool.started", {"call": call.id, "name": call.name, "arguments": arguments})
        if call.rejection is not None:
            return self._result(call, call.rejection, is_ok=False)
        if tool is None:
            names = ", ".join(self._tools) or "none"
            return self._result(call, f"unknown tool {call.name!r}: the tools are {names}", is_ok=False)
        try:
            tools.check_names(tool, call.arguments)
            text, is_ok = str(await asyncio.to_thread(tool.invoke, call.arguments)), True
            self._has_run_tools = True
        except Exception as error:  # the model learns what it did wrong, and may do better
            text, is_ok = tools.error_text(tool, error), False
        return self._result(call, text, is_ok=is_ok)

    def _result(self, call: ToolCall, text: str, *, is_ok: bool) -> ToolMessage:
        self._listener.emit("tool.ended", {"call": call.id, "ok": is_ok, "text": _shortened(text, _MAX_REPORTED)})
        return ToolMessage(text, tool_call_id=call.id, name=call.name, status="success" if is_ok else "error")


class _TextReporter:
    """Reports the text of one message piece by piece, without secrets."""

    def __init__(self, identity: str, listener: Listener) -> None:
        self.id = identity
        self.has_text = False
        self._listener = listener
        self._stream = Stream(listener.redactor)

    def add(self, text: str) -> None:
        """Reports a piece, but for what may be the beginning of a secret."""
        if text:
            self.has_text = True
            self._send(self._stream.feed(text))

    def flush(self) -> None:
        """Reports what was held back."""
        self._send(self._stream.end())

    def _send(self, text: str) -> None:
        for start in range(0, len(text), _MAX_EVENT_TEXT):
            piece = text[start : start + _MAX_EVENT_TEXT]
            self._listener.emit("message.delta", {"message": self.id, "text": piece})


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def _reported_arguments(call: ToolCall) -> Any:
    return _shortened_values(call.text if call.rejection else call.arguments)


def _shortened_values(arguments: Any) -> Any:
    if isinstance(arguments, str):
        return _shortened(arguments, _MAX_REPORTED)
    if isinstance(arguments, dict):
        values = {name: _shortened_values(value) for name, value in arguments.items()}
        text = json.dumps(values)
        return values if len(text) <= 4 * _MAX_REPORTED else _shortened(text, _MAX_REPORTED)
    return arguments
