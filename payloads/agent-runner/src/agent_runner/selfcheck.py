"""The frozen tree examines itself: does everything it claims to carry import, from inside, with nothing from outside?

It runs where a person runs, not where the tree was built: the environment is emptied first, and any attempt to reach
the network fails the module that makes it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from agent_runner import __version__, checks, frozen, stdio
from agent_runner.errors import EXIT_FAILED, RunnerError

SCHEMA = 1
MODULES_FILE = "bundled-modules.json"
# Windows cannot open a socket or find its random numbers without these.
_KEPT_VARIABLES = ("SYSTEMROOT", "WINDIR")


def main() -> int:
    """Prints the report, one JSON object, and nothing else on standard output."""
    output = stdio.take_stdout()
    root = getattr(sys, "_MEIPASS", None)
    if root is None:
        raise RunnerError("only a built tree can check itself", "build one with build.py")
    report = run(Path(__file__).with_name(MODULES_FILE), Path(root))
    stdio.write_all(output, json.dumps(report, indent=1).encode() + b"\n")
    return 0 if report["ok"] else EXIT_FAILED


def run(modules_file: Path, root: Path) -> dict[str, Any]:
    """Imports every module of the list and makes the checks. Changes this process: call it in one of its own."""
    for name in list(os.environ):
        if name.upper() not in _KEPT_VARIABLES:
            del os.environ[name]
    sys.addaudithook(_refuse_network)
    frozen.install_hooks()
    root = root.resolve()
    modules = [
        _attempt({"name": entry["name"], "dist": entry["dist"]}, _import_from(entry["name"], root))
        for entry in json.loads(modules_file.read_text(encoding="utf-8"))["modules"]
    ]
    results = [_attempt({"name": check.__name__}, partial(check, root)) for check in checks.ALL]
    return {
        "schema": SCHEMA,
        "version": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "modules": modules,
        "checks": results,
        "ok": bool(modules) and all(entry["ok"] for entry in modules + results),
    }


def _attempt(entry: dict[str, Any], action: Callable[[], object]) -> dict[str, Any]:
    begin = time.perf_counter()
    try:
        action()
        outcome: dict[str, Any] = {"ok": True}
    except BaseException as error:  # an import may even call sys.exit; the report must say so and go on
        outcome = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return entry | {"ok": outcome.pop("ok"), "ms": round((time.perf_counter() - begin) * 1000, 1)} | outcome


def _import_from(name: str, root: Path) -> Callable[[], None]:
    def action() -> None:
        require_inside(importlib.import_module(name), root)

    return action


def require_inside(module: ModuleType, root: Path) -> None:
    """Refuses a module that came from somewhere else, for example from a Python that happens to be installed."""
    places = [module.__file__] if getattr(module, "__file__", None) else list(getattr(module, "__path__", []))
    if not places:
        raise ImportError(f"{module.__name__} does not say where it was loaded from")
    for place in places:
        if not Path(str(place)).resolve().is_relative_to(root):
            raise ImportError(f"{module.__name__} was loaded from outside the tree: {place}")


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise PermissionError(f"tried to use the network ({event})")
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        raise PermissionError(f"tried to connect to {arguments[1][0]}")
