"""Which files of older releases patches are made from: the code parts of the newest that are offered on a channel.

Prints a line for each, `SHA256 ADDRESS PATH`, where PATH is the place below the directory of the static host. The listing was checked before.
"""

import argparse
import json
import re
from pathlib import Path
from urllib.parse import urljoin

# As many as `stigmer bundle publish` makes patches from, unless told otherwise.
MOST = 3
CODE = re.compile(r"stigmer-(?P<version>.+)-(?P<target>[a-z]+-[a-z0-9]+)\.code\.zst")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listing", type=Path, required=True)
    parser.add_argument("--base", required=True, help="where the listing was fetched from")
    parser.add_argument("--version", required=True, help="the new one, which is not older")
    parser.add_argument("--channel", required=True)
    args = parser.parse_args()
    releases = [
        release
        for release in json.loads(args.listing.read_text())["releases"]
        if release["channel"] in (args.channel, "stable") and release["version"] != args.version
    ]
    for release in releases[:MOST]:
        for asset in release["assets"]:
            if found := CODE.fullmatch(asset["name"]):
                digest = asset["digest"].removeprefix("sha256:")
                path = f"{found['version']}/{found['target']}/{asset['name']}"
                print(digest, urljoin(f"{args.base}/", asset["url"]), path)


if __name__ == "__main__":
    main()
