#!/usr/bin/env python3
"""Checks what the schema of workflows cannot know: that every step is something that a person can run, and every action is pinned.

    build/lint/bin/python packaging/lint-workflows.py .github/workflows/*.yml

A step runs one command: a script of ours, with a step that the script has; a target of the Makefile; or cargo. So nothing happens in a
workflow that was not run, and tested, elsewhere. An action is named by its commit, with its version as a remark.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
PINNED = re.compile(r"^\s*(?:-\s+)?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
USES = re.compile(r"^\s*(?:-\s+)?uses:")
IMAGE = re.compile(r"^[a-z0-9./:-]+@sha256:[0-9a-f]{64}$")


def main(files: list[str]) -> int:
    """Prints every finding; 1 if there is one."""
    found = [f"{file}: {finding}" for file in files for finding in findings(Path(file))]
    print("\n".join(found) or f"{len(files)} workflows: every step is a command of ours, every action is pinned")
    return 1 if found else 0


def findings(file: Path) -> list[str]:
    """What is wrong with one workflow."""
    text = file.read_text(encoding="utf-8")
    found = [f"not pinned: {line.strip()}" for line in text.splitlines() if USES.match(line) and not PINNED.match(line)]
    workflow = YAML(typ="safe").load(text)
    if workflow.get("permissions") != {}:
        found.append("`permissions: {}` is missing: each job says what it may")
    for name, job in workflow["jobs"].items():
        if "permissions" not in job or "timeout-minutes" not in job:
            found.append(f"{name}: it has no permissions or no timeout")
        if "container" in job and not IMAGE.match(str(job["container"])):
            found.append(f"{name}: its image is not pinned")
        for step in job["steps"]:
            if (command := step.get("run")) and (why := wrong(command)):
                found.append(f"{name}: `{command}`: {why}")
    return found


def wrong(command: str) -> str | None:
    """Why `command` is none that a step may run; nothing if it is one."""
    if "\n" in command or "${{" in command or re.search(r"[|&;<>`]", command):
        return "it is more than one command, or takes something out of an expression"
    words = command.split()
    if words[0] == "sudo":
        words = words[1:]
    if words[0] == "sh":
        words = words[1:]
    program, *arguments = words
    if program == "cargo":
        return None if arguments[0] in ("build", "test", "deny", "install") else "this is no command of cargo that is known here"
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        missing = [target for target in arguments if target not in targets]
        return f"the Makefile has no {missing[0]}" if missing else None
    script = ROOT / program
    if not script.is_file() or not script.stat().st_mode & 0o100:
        return "there is no such script"
    if program == "packaging/release.sh" and f"#   {program} {arguments[0]} " not in script.read_text(encoding="utf-8"):
        return "the script has no such step"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
