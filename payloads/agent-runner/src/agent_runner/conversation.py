"""The two things an agent does in turn: it asks the model, and it runs the tools that the model calls.

Both are reported as they happen. Asking again after an error is decided here, because only here it is known whether
somebody has read a part of the answer already.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage, message_chunk_to_message

from agent_runner import problems, tools
from agent_runner.errors import Problem
from agent_runner.redact import Stream
from agent_runner.reporter import MAX_EVENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

    from agent_runner.models import ModelSpec
    from agent_runner.reporter import Reporter

MOST_ATTEMPTS = 4
# What is shown of a tool's arguments and of its result, in characters; the model gets all of it.
_SHOWN = 4096
_ENOUGH = ("max_tokens", "length", "model_context_window_exceeded")
_REFUSALS = ("refusal", "content_filter")


class Conversation:
    """What the agent's graph calls. `steps`: how many answers of the model may be asked for."""

    def __init__(
        self,
        caller: Runnable[Any, Any],
        spec: ModelSpec,
        preamble: list[BaseMessage],
        tools: Sequence[BaseTool],
        steps: int,
        reporter: Reporter,
    ) -> None:
        self._caller = caller
        self._spec = spec
        self._preamble = preamble
        self._tools = {tool.name: tool for tool in tools}
        self.steps = steps
        self._reporter = reporter
        # Whether the last answer ends where its limit of tokens was reached.
        self.is_truncated = False
        self._asked = 0

    async def ask_model(self, messages: Sequence[BaseMessage]) -> AIMessage:
        """The model's next message, reported while it comes."""
        if self._asked >= self.steps:
            raise Problem(
                "steps_exceeded",
                f"the model did not come to an answer within {self.steps} steps",
                "ask for less at once, or raise `limits.steps` of the agent",
            )
        self._asked += 1
        answer = await self._patiently([*self._preamble, *messages])
        self._report(answer)
        return answer

    async def run_tools(self, answer: AIMessage) -> list[ToolMessage]:
        """Runs what the model calls, one after the other, and gives the results."""
        results = [await self._run_tool(call["id"], call["name"], call["args"]) for call in answer.tool_calls]
        for wrong in answer.invalid_tool_calls:
            text = "the arguments are not understood: they are not a JSON object"
            results.append(
                self._tool_result(wrong.get("id"), wrong.get("name") or "", wrong.get("args"), text, ok=False)
            )
        return results

    async def _patiently(self, messages: list[BaseMessage]) -> AIMessage:
        attempt = 1
        while True:
            stream = _Spoken(f"m-{self._asked}", self._reporter)
            try:
                return await self._once(messages, stream)
            except Exception as error:
                problem = problems.explain(error, self._spec)
                if problem is None:
                    raise
                if stream.has_spoken and (
                    problem.kind == "provider_unreachable" or isinstance(problem, problems.NotAModel)
                ):
                    problem = problems.cut(self._spec)  # it was there, and then it was lost
                wait = problems.delay(problem, attempt)
                if wait is None or attempt >= MOST_ATTEMPTS or stream.has_spoken:
                    raise problem from error
            wait *= 1 + random.random() / 10
            note = f"{problem.reason}; trying again in {wait:.1f} s ({attempt} of {MOST_ATTEMPTS - 1})"
            self._reporter.say("note", {"text": note, "type": problem.kind})
            await asyncio.sleep(wait)
            attempt += 1

    async def _once(self, messages: list[BaseMessage], stream: _Spoken) -> AIMessage:
        chunks: list[AIMessageChunk] = []
        async for chunk in self._caller.astream(messages):
            chunks.append(chunk)
            stream.say(str(chunk.text))
        stream.end()
        if not chunks:
            raise problems.cut(self._spec)
        whole = chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]
        self._report_usage(whole)
        reason = _reason(whole)
        if reason is None:
            raise problems.cut(self._spec)
        if reason in _REFUSALS:
            raise Problem("refused", f"{problems.place(self._spec)} refuses to answer this", "say it in other words")
        answer = message_chunk_to_message(whole)
        if not isinstance(answer, AIMessage):
            raise TypeError(f"the model's message is a {type(answer).__name__}")
        answer.id = stream.id
        self.is_truncated = reason in _ENOUGH
        if self.is_truncated:
            note = "the answer ends where its limit of tokens was reached"
            self._reporter.say("note", {"text": note, "type": "max_tokens"})
        return answer

    def _report(self, answer: AIMessage) -> None:
        text = str(answer.text)
        data: dict[str, Any] = {"id": answer.id, "role": "assistant", "text": _cut(text, MAX_EVENT // 8)}
        if answer.tool_calls:
            data["tool_calls"] = [
                {"call": call["id"], "name": call["name"], "arguments": _shown(call["args"])}
                for call in answer.tool_calls
            ]
        self._reporter.say("message", data)

    def _report_usage(self, whole: AIMessageChunk) -> None:
        if usage := whole.usage_metadata:
            counts = {"input_tokens": usage["input_tokens"], "output_tokens": usage["output_tokens"]}
            self._reporter.say("usage", counts | {"model": self._spec.model, "provider": self._spec.provider})

    async def _run_tool(self, call: str | None, name: str, arguments: dict[str, Any]) -> ToolMessage:
        tool = self._tools.get(name)
        if tool is None:
            there = ", ".join(self._tools) or "none"
            return self._tool_result(call, name, arguments, f"there is no tool {name!r}; there are: {there}", ok=False)
        self._reporter.say("tool.started", {"call": call, "name": name, "arguments": _shown(arguments)})
        try:
            text, ok = str(await asyncio.to_thread(tool.invoke, arguments)), True
        except Exception as error:  # the model learns what it did wrong, and may do better
            text, ok = tools.told(tool, error), False
        return self._ended(call, name, text, ok=ok)

    def _tool_result(self, call: str | None, name: str, arguments: Any, text: str, *, ok: bool) -> ToolMessage:
        self._reporter.say("tool.started", {"call": call, "name": name, "arguments": _shown(arguments)})
        return self._ended(call, name, text, ok=ok)

    def _ended(self, call: str | None, name: str, text: str, *, ok: bool) -> ToolMessage:
        self._reporter.say("tool.ended", {"call": call, "ok": ok, "text": _cut(text, _SHOWN)})
        return ToolMessage(text, tool_call_id=call or "", name=name, status="success" if ok else "error")


class _Spoken:
    """The text of one message on its way to whoever listens."""

    def __init__(self, identity: str, reporter: Reporter) -> None:
        self.id = identity
        self.has_spoken = False
        self._reporter = reporter
        self._stream = Stream(reporter.redactor)

    def say(self, text: str) -> None:
        if text:
            self.has_spoken = True
            self._send(self._stream.feed(text))

    def end(self) -> None:
        self._send(self._stream.end())

    def _send(self, text: str) -> None:
        for start in range(0, len(text), MAX_EVENT // 8):
            self._reporter.say("message.delta", {"message": self.id, "text": text[start : start + MAX_EVENT // 8]})


def _reason(whole: AIMessageChunk) -> str | None:
    """Why the model stopped. Each provider has its own word for it; without one the stream was cut."""
    for name in ("stop_reason", "finish_reason", "done_reason"):
        if reason := whole.response_metadata.get(name):
            return str(reason)
    return "stop" if whole.response_metadata.get("done") else None


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters)"


def _shown(arguments: Any) -> Any:
    """A tool's arguments, with long texts cut."""
    if isinstance(arguments, str):
        return _cut(arguments, _SHOWN)
    if isinstance(arguments, dict):
        shown = {name: _shown(value) for name, value in arguments.items()}
        text = json.dumps(shown)
        return shown if len(text) <= 4 * _SHOWN else _cut(text, _SHOWN)
    return arguments
