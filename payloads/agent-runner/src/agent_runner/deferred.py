"""Adjustments that the frozen libraries need and the worker does not.

The freezer's own start-up hooks teach `inspect` and `pkgutil` to look into the archive. Run at every start they cost
more than the worker itself, so the build stores them as ordinary modules, and whoever is about to import the large
libraries installs them first. From source there is nothing to install.
"""

from __future__ import annotations

import importlib
import sys

HOOKS = ("pyi_rth_inspect", "pyi_rth_pkgutil", "pyi_rth_multiprocessing")


def install() -> None:
    """Installs the hooks, once."""
    if not hasattr(sys, "_MEIPASS"):
        return
    for hook in HOOKS:
        importlib.import_module(hook)
