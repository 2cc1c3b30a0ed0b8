#!/usr/bin/env python3
"""Makes Homebrew's formula from the template and the checksums that a release was published with.

    packaging/formula.py --version 1.2.3 --listing public/releases.json --base https://releases.stigmer.ai --out formula/stigmer.rb

LISTING is believed: whoever calls this has checked its signature (packaging/release.sh formula does). A release that lacks one of the four
targets makes no formula, because the formula would break for those who have that machine.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from urllib.parse import urljoin

TEMPLATE = Path(__file__).resolve().parents[1] / "formula" / "stigmer.rb.in"
PLACE = re.compile(r"@(VERSION|BASE|URL:[a-z0-9-]+|SHA256:[a-z0-9-]+)@")
# What ends up in Ruby between double quotes.
PLAIN = re.compile(r"^[A-Za-z0-9:/._~+-]+$")


def main() -> int:
    """Fills the template."""
    parser = argparse.ArgumentParser(prog="formula.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", required=True)
    parser.add_argument("--listing", required=True, type=Path)
    parser.add_argument("--base", required=True)
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    listing = json.loads(options.listing.read_text(encoding="utf-8"))
    if listing.get("schema") != 1:
        return refuse(f"{options.listing}: its schema is {listing.get('schema')!r}, not 1")
    release = next((one for one in listing["releases"] if one["version"] == options.version), None)
    if release is None:
        return refuse(f"{options.listing}: there is no version {options.version} in it")
    base = options.base.rstrip("/")
    values = {"VERSION": options.version, "BASE": base}
    for target in ("darwin-arm64", "darwin-amd64", "linux-arm64", "linux-amd64"):
        name = f"stigmer-{options.version}-{target}"
        asset = next((one for one in release["assets"] if one["name"] == name), None)
        if asset is None:
            return refuse(f"{options.listing}: version {options.version} has no {target}, which the formula needs")
        found = re.fullmatch(r"sha256:([0-9a-f]{64})", asset.get("digest") or "")
        if found is None:
            return refuse(f"{options.listing}: {name} has no SHA-256")
        values[f"URL:{target}"] = urljoin(f"{base}/", asset["url"])
        values[f"SHA256:{target}"] = found.group(1)
    odd = [value for value in values.values() if not PLAIN.match(value)]
    if odd:
        return refuse(f"{options.listing}: {odd[0]!r} does not belong into a formula")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = PLACE.sub(lambda found: values[found.group(1)], TEMPLATE.read_text(encoding="utf-8"))
    options.out.write_text(text, encoding="utf-8")
    return 0


def refuse(why: str) -> int:
    """Says why there is no formula."""
    print(f"formula.py: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
