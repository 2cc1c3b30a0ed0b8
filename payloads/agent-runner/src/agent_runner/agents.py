"""Where executions are worked on: one event loop in a thread of its own, one task for each execution.

What waits for a provider waits in the loop, so that it can be stopped at any moment, hanging or not.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from agent_runner import frozen, imports

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.config import Config
    from agent_runner.reporter import Reporter


class Agents:
    """The loop. Stays for the life of the process, because the providers' connections belong to it."""

    def __init__(self, config: Config, log: Callable[[str], None]) -> None:
        self._config = config
        self._log = log
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="agents", daemon=True).start()

    def start(self, leased: dict[str, Any], reporter: Reporter) -> Callable[[], None]:
        """Begins to work on what was leased. Gives what stops it; stopping what has ended does nothing."""
        task = asyncio.run_coroutine_threadsafe(self._work(leased, reporter), self._loop)

        def stop() -> None:
            task.cancel()

        return stop

    async def _work(self, leased: dict[str, Any], reporter: Reporter) -> None:
        try:
            # The libraries take seconds to import, and the loop has others to serve.
            execute = await asyncio.to_thread(_import)
            await execute(leased, self._config, reporter, self._log)
        except asyncio.CancelledError:
            reporter.stopped()
            raise
        except BaseException as error:
            reporter.failed("internal", f"internal error: {error!r}", "see its log: `stigmer server logs`")
            raise


def _import() -> Any:
    with imports.lock:
        frozen.install_hooks()
        from agent_runner.execution import execute

        return execute
