"""`agent-runner ask`: one question, one streamed answer. The shortest way to see that a model can be reached."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

from agent_runner import frozen, problems, providers
from agent_runner.errors import Problem
from agent_runner.models import PROVIDERS, ModelSpec
from agent_runner.redact import Redactor

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

# A model that has called tools twelve times is going in circles.
_MAX_STEPS = 12


def main(argv: list[str]) -> int:
    """Runs one turn. The answer, and nothing else, goes to standard output."""
    options = _parser().parse_args(argv)
    spec = ModelSpec.of(options.provider, options.model, options.base_url)
    frozen.install_hooks()
    printer = _Printer()
    try:
        model = providers.chat_model(spec)  # first: a missing key must not wait for the graph library
        asyncio.run(_converse(model, spec, options, printer))
        printer.end_line()
    except BrokenPipeError:
        # The reader has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except Problem as problem:
        printer.end_line()
        raise problems.in_a_shell(problem, spec) from problem
    return 0


async def _converse(model: BaseChatModel, spec: ModelSpec, options: argparse.Namespace, printer: _Printer) -> None:
    from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

    from agent_runner import graph, tools
    from agent_runner.conversation import Conversation

    chosen = tools.select(options.tool)
    preamble: list[BaseMessage] = [SystemMessage(options.system)] if options.system else []
    caller = providers.bound(model, spec, chosen)
    conversation = Conversation(caller, spec, preamble, chosen, _MAX_STEPS, printer)
    await graph.answer(conversation, [HumanMessage(options.message)])


class _Printer:
    """Prints the text of the answer as it comes, and remarks on standard error."""

    def __init__(self) -> None:
        self.redactor = Redactor(())
        self._message: str | None = None
        self._is_at_start = True

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        """Takes an event of the conversation."""
        if kind == "note":
            self.end_line()
            sys.stderr.write(f"agent-runner: {data['text']}\n")
        if kind == "message.delta" and data["text"]:
            if data["message"] != self._message:
                self.end_line()  # a new message, after a tool was called
            self._message = data["message"]
            self._write(data["text"])

    def end_line(self) -> None:
        """Ends a line that has been begun."""
        if not self._is_at_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._is_at_start = text.endswith("\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agent-runner ask",
        description="Put one question to a model and stream the answer.",
        epilog="Keys come from the environment only: ANTHROPIC_API_KEY, OPENAI_API_KEY. OLLAMA_HOST: where Ollama is.",
    )
    parser.add_argument("--provider", required=True, metavar="PROVIDER", help=", ".join(PROVIDERS))
    parser.add_argument("--model", required=True, help="the provider's name for the model")
    parser.add_argument("--base-url", metavar="URL", help="another address of the provider's API")
    parser.add_argument("--system", metavar="TEXT", help="instructions that stand before the question")
    parser.add_argument("--tool", action="append", default=[], metavar="NAME", help="let the model use this tool")
    parser.add_argument("message", metavar="MESSAGE")
    return parser
