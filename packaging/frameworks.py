"""Writes what a linker needs to know of macOS's frameworks, for a machine that has no Apple SDK.

    python3 packaging/frameworks.py OUT

A library that looks up the system's certificates calls Security and CoreFoundation. To link against a framework one needs its list of
names and nothing else; the crates that declare those functions for Rust have it. Each name is given to the framework whose prefix it has:
at run time it is looked for there and nowhere else. The output is in Apple's text format for such lists (`.tbd`, version 4), in a directory for `-F`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

# The crate that declares a framework's functions, and the prefixes of their names.
FRAMEWORKS = {
    "CoreFoundation": ("core-foundation-sys", ("CF", "kCF")),
    "Security": ("security-framework-sys", ("Sec", "kSec", "SSL")),
}
NAME = re.compile(r"^\s*pub (?:unsafe |safe )?(?:fn|static(?: mut)?) (\w+)", re.MULTILINE)
TARGETS = "[ x86_64-macos, arm64-macos ]"


def sources() -> dict[str, Path]:
    """Where the sources of each crate lie that a build for macOS would use."""
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--format-version=1", "--locked", "--filter-platform=aarch64-apple-darwin"]
    packages = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    return {package["name"]: Path(package["manifest_path"]).parent / "src" for package in packages}


def main() -> None:
    out = Path(sys.argv[1])
    crates = sources()
    for framework, (crate, prefixes) in FRAMEWORKS.items():
        if crate not in crates:
            continue
        text = "\n".join(path.read_text() for path in sorted(crates[crate].rglob("*.rs")))
        names = sorted({name for name in NAME.findall(text) if name.startswith(prefixes)})
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
