"""LangChain's model for Anthropic's interface, with the transport that was chosen for its address."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import anthropic
import httpx2
from langchain_anthropic import ChatAnthropic
from langchain_anthropic.chat_models import _create_usage_metadata
from langchain_core.messages import AIMessageChunk
from pydantic import PrivateAttr


class AnthropicChat(ChatAnthropic):
    """Messages, with the tokens that only the beginning of a stream reports."""

    _http_client: httpx2.AsyncClient = PrivateAttr()

    @cached_property
    def _async_client(self) -> anthropic.AsyncClient:
        return anthropic.AsyncClient(**self._client_params, http_client=self._http_client)

    def _make_message_chunk_from_anthropic_event(
        self, event: Any, **settings: Any
    ) -> tuple[AIMessageChunk | None, Any]:
        chunk, start = super()._make_message_chunk_from_anthropic_event(event, **settings)
        if chunk is not None and event.type == "message_start" and getattr(event.message, "usage", None):
            chunk.usage_metadata = _create_usage_metadata(event.message.usage)
        return chunk, start
