"""`agent-runner ask`: one question, one streamed answer. The shortest way to see that a model can be reached."""

from __future__ import annotations

import argparse
import os
import sys

from agent_runner import frozen, problems, providers
from agent_runner.errors import Problem, RunnerError
from agent_runner.models import PROVIDERS, ModelSpec


def main(argv: list[str]) -> int:
    """Runs one turn. The answer, and nothing else, goes to standard output."""
    options = _parser().parse_args(argv)
    spec = ModelSpec.of(options.provider, options.model, options.base_url)
    frozen.install_hooks()
    try:
        model = providers.chat_model(spec)  # first: a missing key must not wait for the graph library
    except Problem as problem:
        raise problems.in_a_shell(problem, spec) from None

    from agent_runner import graph, tools

    agent = graph.build_agent(model, tools.select(options.tool), options.system)
    ended = True
    try:
        for text in graph.stream_answer(agent, options.message):
            sys.stdout.write(text)
            sys.stdout.flush()
            ended = text.endswith("\n")
        if not ended:
            sys.stdout.write("\n")
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except RunnerError:
        raise
    except Exception as error:
        if not ended:
            sys.stdout.write("\n")
        explained = problems.explain(error, spec)
        if explained is None:
            raise
        raise problems.in_a_shell(explained, spec) from error
    return 0


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
