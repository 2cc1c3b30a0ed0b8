"""Writes what a linker needs to know of macOS's frameworks, for a machine that has no Apple SDK.

    python3 packaging/frameworks.py OUT

The libraries that look up the system's certificates and watch files call Security, CoreFoundation and CoreServices. To link against a framework one
needs its list of names and nothing else; the crates that declare those functions for Rust have it. Each name is given to the framework whose
prefix it has: at run time it is looked for there and nowhere else. The output is in Apple's text format for such lists (`.tbd`, version 4), in a directory for `-F`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

# The crates that declare functions of frameworks.
CRATES = ("core-foundation-sys", "objc2-core-foundation", "objc2-core-services", "security-framework-sys")
# The prefixes of the names that a framework exports, itself or on behalf of those in it.
FRAMEWORKS = {
    "CoreFoundation": ("CF", "kCF"),
    "CoreServices": ("FSEvent", "kFSEvent"),
    "Security": ("Sec", "kSec", "SSL"),
}
NAME = re.compile(r"^\s*(?:pub )?(?:unsafe |safe )?(?:fn|static(?: mut)?) (\w+)", re.MULTILINE)
TARGETS = "[ x86_64-macos, arm64-macos ]"


def sources() -> dict[str, Path]:
    """Where the sources of each crate lie that a build for macOS would use."""
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--format-version=1", "--locked", "--filter-platform=aarch64-apple-darwin"]
    packages = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    return {package["name"]: Path(package["manifest_path"]).parent / "src" for package in packages}


def main() -> None:
    out = Path(sys.argv[1])
    crates = sources()
    found = [path for crate in CRATES if crate in crates for path in sorted(crates[crate].rglob("*.rs"))]
    declared = set(NAME.findall("\n".join(path.read_text() for path in found)))
    for framework, prefixes in FRAMEWORKS.items():
        names = sorted(name for name in declared if name.startswith(prefixes))
        if not names:
            continue
        directory = out / f"{framework}.framework"
        directory.mkdir(parents=True, exist_ok=True)
        lines = [
            "--- !tapi-tbd",
            "tbd-version:     4",
            f"targets:         {TARGETS}",
            f"install-name:    '/System/Library/Frameworks/{framework}.framework/Versions/A/{framework}'",
            "exports:",
            f"  - targets:         {TARGETS}",
            "    symbols:         [ " + ",\n                       ".join(f"_{name}" for name in names) + " ]",
            "...",
            "",
        ]
        (directory / f"{framework}.tbd").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
