"""Loads the libraries of agents while the worker is idle, so that the first execution does not wait for them.

They take a second of processor time, which no start may wait for: the warm-up begins after the worker has reported that
it is ready. Its thread yields to everything else. Where the system has a priority for each thread it takes a low one,
so that components which are still starting come first; the interpreter hands over every few milliseconds, so
heartbeats go on; and it ends as soon as there is an execution, which loads what it needs by itself.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from agent_runner import imports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent_runner.config import Config

_NICENESS = 5
# In pieces, because an execution that comes in the meantime waits for one of them.
_MODULES = (
    "pydantic",
    "langchain_core.messages",
    "langchain_core.tools",
    "langchain_core.tracers.stdout",
    "langchain_core.messages.block_translators.langchain_v0",
    "langgraph.graph",
    "anyio._backends._asyncio",
    "anyio.streams.memory",
    "httpx",
    "httpx2",
    "agent_runner.execution",
)
_PROVIDER_MODULES = {
    "anthropic": ("anthropic", "langchain_anthropic", "agent_runner.chat_anthropic"),
    "openai": ("openai", "tiktoken", "langchain_openai", "agent_runner.chat_openai"),
    "ollama": ("ollama", "langchain_ollama", "agent_runner.chat_ollama"),
}


def start(config: Config, is_wanted: Callable[[], bool], log: Callable[[str], None]) -> threading.Thread:
    """Begins in a thread of its own. `is_wanted` is asked before each step; once it says no, the rest is left out."""

    def run() -> None:
        begin = time.monotonic()
        try:
            _lower_priority()
            for step in _steps(config):
                if not is_wanted():
                    return
                with imports.lock:
                    step()
        except Exception as error:  # the first execution meets the same error, and reports it
            log(f"cannot load the libraries of agents in advance: {error!r}")
        else:
            log(f"loaded the libraries of agents in {time.monotonic() - begin:.1f} s")

    thread = threading.Thread(target=run, name="warm-up", daemon=True)
    thread.start()
    return thread


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere this would be about the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _steps(config: Config) -> Iterator[Callable[[], object]]:
    from agent_runner import frozen

    yield frozen.install_hooks
    for name in _MODULES:
        yield partial(importlib.import_module, name)
    for provider in _in_order(config):
        for name in _PROVIDER_MODULES[provider]:
            yield partial(importlib.import_module, name)
        yield partial(_rehearse, provider)


def _in_order(config: Config) -> list[str]:
    """The providers, those first that are most likely to be asked."""
    from agent_runner.models import KEY_VARIABLES

    chosen = (config.model or {}).get("provider")
    return sorted(KEY_VARIABLES, key=lambda name: (name != chosen, not os.environ.get(KEY_VARIABLES[name])))


def _rehearse(provider: str) -> None:
    from agent_runner import rehearsal

    rehearsal.run(provider)
