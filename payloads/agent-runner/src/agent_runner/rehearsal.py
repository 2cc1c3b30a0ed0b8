"""One turn of an agent without a provider: to see that it works, and to build what is built once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableGenerator

from agent_runner.conversation import Conversation
from agent_runner.graph import answer
from agent_runner.models import ModelSpec
from agent_runner.redact import Redactor

TEXT = "it works"


class _Listener:
    redactor = Redactor(())

    def say(self, kind: str, data: dict[str, object]) -> None:
        """Drops the event."""


async def _model(_messages: object) -> AsyncIterator[AIMessageChunk]:
    yield AIMessageChunk(content=TEXT[:3])
    yield AIMessageChunk(content=TEXT[3:], response_metadata={"finish_reason": "stop"})


def run() -> str:
    """The answer, which is always `TEXT`."""
    conversation = Conversation(RunnableGenerator(_model), ModelSpec.of("openai", "none"), [], [], 1, _Listener())
    return str(asyncio.run(answer(conversation, [HumanMessage("hello")])).text)
