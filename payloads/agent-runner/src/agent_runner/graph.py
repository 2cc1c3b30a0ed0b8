"""The agent: a model that may call tools until it has an answer, as a LangGraph graph.

Two of them: `build_agent` for one question on a terminal (`ask`), `answer` for an execution, each step reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from agent_runner.errors import RunnerError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool
    from langgraph.graph.state import CompiledStateGraph

    from agent_runner.conversation import Conversation

# One turn of the loop is two steps of the graph. A model that has called tools twelve times is going in circles.
MAX_STEPS = 25


def build_agent(
    model: BaseChatModel, tools: Sequence[BaseTool] = (), system: str | None = None
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """model → (tools → model)* → answer. Without tools it is one call of the model."""
    # A model is told of tools only when there are any: several refuse even an empty list.
    caller = model.bind_tools(tools) if tools else model
    preamble: list[BaseMessage] = [SystemMessage(system)] if system else []

    def call_model(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [caller.invoke([*preamble, *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call_model)
    graph.add_edge(START, "model")
    if tools:
        graph.add_node("tools", ToolNode(list(tools)))
        graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
        graph.add_edge("tools", "model")
    else:
        graph.add_edge("model", END)
    return graph.compile()


def stream_answer(agent: CompiledStateGraph[Any, Any, Any, Any], message: str) -> Iterator[str]:
    """The model's text as it arrives. What tools return is the model's business and is not part of it."""
    stream = agent.stream({"messages": [HumanMessage(message)]}, {"recursion_limit": MAX_STEPS}, stream_mode="messages")
    said: str | None = None
    try:
        for chunk, _metadata in stream:
            if not isinstance(chunk, (AIMessage, AIMessageChunk)):
                continue
            text = str(chunk.text)
            if text and said is not None and chunk.id != said:
                yield "\n"  # a new message, after a tool was called; glued together they would read as one
            if text:
                said = chunk.id
                yield text
    except GraphRecursionError as error:
        raise RunnerError(
            f"the model did not come to an answer within {MAX_STEPS} steps",
            "ask for less at once, or use another model",
        ) from error


async def answer(conversation: Conversation, messages: Sequence[BaseMessage]) -> AIMessage:
    """What a conversation that begins with `messages` comes to: the first message of the model that calls no tool."""

    async def ask_model(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [await conversation.ask_model(state["messages"])]}

    async def run_tools(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [*await conversation.run_tools(_last(state))]}

    def next_step(state: MessagesState) -> str:
        last = _last(state)
        return "tools" if last.tool_calls or last.invalid_tool_calls else END

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
