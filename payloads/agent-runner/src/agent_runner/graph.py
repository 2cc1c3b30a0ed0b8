"""The agent: a model that may call tools until it has an answer, as a LangGraph graph."""

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
