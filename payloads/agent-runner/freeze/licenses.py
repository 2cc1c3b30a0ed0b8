"""One file with the license of everything in the tree, as the licenses themselves ask for."""

from __future__ import annotations

import sysconfig
from importlib.metadata import distributions
from pathlib import Path

from freeze.locks import normalize

FILE = "THIRD-PARTY-LICENSES.txt"
_RULE = "=" * 100
_NAMES = ("license", "licence", "copying", "notice", "authors")


def text(site_packages: Path, bundled: set[str]) -> str:
    """The licenses of the bundled distributions and of Python, in the order of their names."""
    sections = {"Python": _python_license()}
    for dist in distributions(path=[str(site_packages)]):
        name = normalize(dist.metadata["Name"])
        if name not in bundled:
            continue
        metadata = dist.metadata.json
        declared = str(metadata.get("license_expression") or metadata.get("license") or "see below")
        texts = [
            Path(str(dist.locate_file(file))).read_text(encoding="utf-8", errors="replace").strip()
            for file in sorted(dist.files or [], key=str)
            if ".dist-info" in str(file) and file.name.lower().startswith(_NAMES)
        ]
        sections[f"{name} {dist.version}"] = "\n\n".join([f"License: {declared.strip()}", *texts])
    return "".join(f"{_RULE}\n{name}\n{_RULE}\n\n{body}\n\n" for name, body in sorted(sections.items()))


def _python_license() -> str:
    for folder in (sysconfig.get_path("stdlib"), f"{sysconfig.get_config_var('base')}/LICENSE.txt"):
        for path in (Path(folder) / "LICENSE.txt", Path(folder)):
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace").strip()
    return "License: Python Software Foundation License 2"
