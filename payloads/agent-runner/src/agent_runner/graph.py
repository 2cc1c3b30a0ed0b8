"""The agent: a model that may call tools until it has an answer, as a LangGraph graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import END, START, MessagesState, StateGraph

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from agent_runner.conversation import Conversation


async def answer(conversation: Conversation, messages: Sequence[BaseMessage]) -> AIMessage:
    """Continues a conversation until a message of the model calls no tool, and gives that message."""

    async def ask_model(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [await conversation.ask_model(state["messages"])]}

    async def run_tools(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [*await conversation.run_tools(_last(state))]}

    def next_step(state: MessagesState) -> str:
        return "tools" if _last(state).tool_calls else END

    graph = StateGraph(MessagesState)
    graph.add_node("model", ask_model)
    graph.add_node("tools", run_tools)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", next_step, {"tools": "tools", END: END})
    graph.add_edge("tools", "model")
    # The conversation counts its own steps, and says what to do when there are too many.
    limit = 2 * conversation.steps + 3
    compiled: CompiledStateGraph[Any, Any, Any, Any] = graph.compile()
    return _last(await compiled.ainvoke({"messages": [*messages]}, {"recursion_limit": limit}))


def _last(state: Any) -> AIMessage:
    last = state["messages"][-1]
    if not isinstance(last, AIMessage):
        raise TypeError(f"the last message is a {type(last).__name__}")
    return last
