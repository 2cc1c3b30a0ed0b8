"""One answer of a model, put together from the chunks of its stream.

The libraries can add chunks up, but what they add up is wrong in places: reasons for stopping are glued together,
tokens that are reported with every chunk are counted with every chunk, and broken tool calls are repaired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage
from langchain_core.messages.base import merge_content

from agent_runner.reasoning import ReasoningFilter
from agent_runner.tool_calls import ToolCall, ToolCallAssembler

if TYPE_CHECKING:
    from collections.abc import Collection

    from langchain_core.messages import AIMessageChunk

# Additional arguments of a chunk that the adapters set (`chat_openai`, `chat_ollama`).
REFUSAL = "refusal"
REASONING = "reasoning"
_LIMIT_REASONS = ("max_tokens", "length", "model_context_window_exceeded")
_REFUSAL_REASONS = ("refusal", "content_filter")
_REASON_NAMES = ("stop_reason", "finish_reason", "done_reason")
_REASONING_BLOCKS = ("thinking", "redacted_thinking", "reasoning")


class AnswerAssembler:
    """Collects the chunks of one answer. `feed` gives the text to show, `finish` the whole.

    `has_tags`: whether reasoning may stand in the text, between tags.
    """

    def __init__(self, identity: str, *, has_tags: bool) -> None:
        self.refusal = ""
        self.usage: tuple[int, int] | None = None
        self.has_reasoning = False
        self._id = identity
        self._contents: list[Any] = []
        self._reasons: list[str] = []
        self._is_done = False
        self._provider: str | None = None
        self._filter = ReasoningFilter() if has_tags else None
        self._text: list[str] = []
        self._calls = ToolCallAssembler(f"call-{identity}")

    def feed(self, chunk: AIMessageChunk) -> str:
        """Takes a chunk; gives the text that came with it."""
        self._contents.append(chunk.content)
        self._calls.add(chunk.tool_call_chunks)
        self._note_metadata(chunk.response_metadata)
        self._note_usage(chunk.usage_metadata)
        self.refusal += str(chunk.additional_kwargs.get(REFUSAL) or "")
        if chunk.additional_kwargs.get(REASONING) or _has_reasoning_block(chunk.content):
            self.has_reasoning = True
        text = str(chunk.text)
        return self._shown(self._filter.feed(text) if self._filter else text)

    def end(self) -> str:
        """The text that was held back, when no chunk follows."""
        if self._filter is None:
            return ""
        self.has_reasoning = self.has_reasoning or self._filter.has_reasoning
        return self._shown(self._filter.end())

    @property
    def text(self) -> str:
        """The text so far, without reasoning."""
        return "".join(self._text)

    @property
    def is_complete(self) -> bool:
        """Whether the server has said that the answer is at its end. Without that, the connection was lost."""
        return bool(self._reasons) or self._is_done

    @property
    def is_truncated(self) -> bool:
        """Whether the answer ends where its limit of tokens was reached."""
        return any(reason in _LIMIT_REASONS for reason in self._reasons)

    @property
    def is_loading(self) -> bool:
        """Whether Ollama says that it has only loaded the model."""
        return "load" in self._reasons

    @property
    def is_refusal(self) -> bool:
        """Whether the model, or a filter in front of it, refuses to answer."""
        return any(reason in _REFUSAL_REASONS for reason in self._reasons) or bool(self.refusal and not self.text)

    def finish(self, tool_names: Collection[str]) -> tuple[AIMessage, list[ToolCall]]:
        """The message for the conversation, and the calls in it.

        A call that must not run stands in the message without arguments: many servers refuse a conversation in which
        the arguments of a call are not JSON.
        """
        calls = self._calls.finish(tool_names, is_truncated=self.is_truncated)
        first, *rest = self._contents or [""]
        content = merge_content(first, *rest)
        message = AIMessage(
            content=self.text if isinstance(content, str) else content,
            id=self._id,
            tool_calls=[{"name": call.name, "args": call.arguments, "id": call.id} for call in calls],
            response_metadata={"model_provider": self._provider} if self._provider else {},
        )
        return message, calls

    def _shown(self, text: str) -> str:
        if text:
            self._text.append(text)
        return text

    def _note_metadata(self, metadata: dict[str, Any]) -> None:
        self._provider = self._provider or metadata.get("model_provider")
        self._is_done = self._is_done or bool(metadata.get("done"))
        self._reasons += [str(metadata[name]) for name in _REASON_NAMES if metadata.get(name)]

    def _note_usage(self, usage: Any) -> None:
        """Reports are totals, whether they come once, with every chunk, or in halves: the largest counts."""
        counts = (usage["input_tokens"] or 0, usage["output_tokens"] or 0) if usage else (0, 0)
        if any(counts):
            before = self.usage or (0, 0)
            self.usage = max(before[0], counts[0]), max(before[1], counts[1])


def _has_reasoning_block(content: Any) -> bool:
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") in _REASONING_BLOCKS for block in content
    )
