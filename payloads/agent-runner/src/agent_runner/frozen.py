"""What being frozen changes, and how the runner deals with it. From source, every function here does nothing."""

from __future__ import annotations

import os
import sys

# The freezer's own start-up hooks teach `inspect` and `pkgutil` to look into the archive. Run at every start they cost
# more than the worker itself, so the build stores them as ordinary modules, and whoever is about to import the large
# libraries installs them first.
HOOKS = ("pyi_rth_inspect", "pyi_rth_pkgutil", "pyi_rth_multiprocessing")


def is_frozen() -> bool:
    """Whether this runs from a built tree."""
    return hasattr(sys, "_MEIPASS")


def install_hooks() -> None:
    """Installs the hooks, once."""
    if not is_frozen():
        return
    import importlib

    for hook in HOOKS:
        importlib.import_module(hook)


def clean_environment() -> None:
    """Takes back what the loader put into the environment for itself.

    A program that a tool starts must not find our libraries before its own.
    """
    if not is_frozen():
        return
    for name in [name for name in os.environ if name.startswith("_PYI_")]:
        del os.environ[name]
    os.environ.pop("LD_LIBRARY_PATH", None)
    original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    if original is not None:
        os.environ["LD_LIBRARY_PATH"] = original
