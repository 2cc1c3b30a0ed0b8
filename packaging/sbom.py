#!/usr/bin/env python3
"""Writes the bill of materials of a release, CycloneDX 1.6 in JSON: what is linked into the executable and what the agent-runner holds.

    packaging/sbom.py --version 1.2.3 --commit SHA --issued 2026-03-01T12:00:00Z --out FILE

It is read from what the builds themselves are locked to: Cargo.lock, by way of `cargo metadata`, and the lock files of the agent-runner.
The same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNNER = ROOT / "payloads" / "agent-runner"
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def main() -> None:
    """Reads the locks and writes the document."""
    parser = argparse.ArgumentParser(prog="sbom.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--issued", required=True)
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    crates, graph = rust()
    bundled = python(RUNNER / "requirements.lock", "required")
    builders = python(RUNNER / "requirements-build.lock", "excluded")
    runner = component_of_runner()
    own = f"pkg:github/stigmer/stigmer@{options.version}"
    graph[own] = sorted([*graph.pop("own"), runner["bom-ref"]])
    graph[runner["bom-ref"]] = sorted(part["bom-ref"] for part in bundled)
    known = {part["bom-ref"] for part in bundled}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": options.issued,
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "stigmer",
                "version": options.version,
                "purl": own,
                "licenses": [{"expression": "Apache-2.0"}],
                "properties": [{"name": "stigmer:commit", "value": options.commit}],
            },
            "tools": {"components": [{"type": "application", "name": "packaging/sbom.py", "version": options.commit}]},
        },
        "components": sorted(
            [*crates, runner, *bundled, *(part for part in builders if part["bom-ref"] not in known)],
            key=lambda part: part["bom-ref"],
        ),
        "dependencies": [{"ref": ref, "dependsOn": graph[ref]} for ref in sorted(graph)],
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + digest)}"
    options.out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def rust() -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """What is linked or built from crates.io for any platform, and who needs whom. `own` stands for this project."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "metadata", "--locked", "--format-version", "1", "--manifest-path", str(ROOT / "Cargo.toml")]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    with (ROOT / "Cargo.lock").open("rb") as file:
        locked = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.load(file)["package"]}
    root = metadata["resolve"]["root"]
    # The crates of this workspace are parts of the product and not somebody's who publishes them.
    members = set(metadata["workspace_members"])
    shipped, reached, waiting = set(), set(), [(root, True)]
    # Through the dependencies of a build script nothing gets into the executable.
    while waiting:
        found, linked = waiting.pop()
        if found in shipped or (found in reached and not linked):
            continue
        reached.add(found)
        if linked:
            shipped.add(found)
        for needed in nodes[found]["deps"]:
            kinds = {kind["kind"] for kind in needed["dep_kinds"]}
            if None in kinds:
                waiting.append((needed["pkg"], linked))
            elif "build" in kinds:
                waiting.append((needed["pkg"], False))
    components, graph = [], {}
    for identifier in reached:
        package = packages[identifier]
        ref = "own" if identifier in members else f"pkg:cargo/{package['name']}@{package['version']}"
        needed = [
            packages[dep["pkg"]]
            for dep in nodes[identifier]["deps"]
            if dep["pkg"] in reached and dep["pkg"] not in members and any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"])
        ]
        refs = {f"pkg:cargo/{other['name']}@{other['version']}" for other in needed}
        graph[ref] = sorted(refs.union(graph.get(ref, ())))
        if identifier in members:
            continue
        part = {
            "type": "library",
            "bom-ref": ref,
            "name": package["name"],
            "version": package["version"],
            "purl": ref,
            "scope": "required" if identifier in shipped else "excluded",
        }
        if checksum := locked.get((package["name"], package["version"])):
            part["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if licence := package.get("license"):
            # The form with a slash is older than the expressions.
            part["licenses"] = [{"expression": licence.replace("/", " OR ")}]
        components.append(part)
    return components, graph


def python(lock: Path, scope: str) -> list[dict[str, Any]]:
    """What a lock file of the agent-runner names, with the hashes that its installer accepts."""
    components: list[dict[str, Any]] = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if found := REQUIREMENT.match(line.strip()):
            name, version, marker = found.groups()
            ref = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
            part = {"type": "library", "bom-ref": ref, "name": name, "version": version, "purl": ref, "scope": scope}
            properties = [{"name": "stigmer:marker", "value": marker}] if marker else []
            components.append({**part, "properties": properties})
        elif (found := HASH.search(line)) and components:
            # One for each file that the index has of this version; the installer takes the one for its platform.
            components[-1]["properties"].append({"name": "stigmer:accepted:sha256", "value": found.group(1)})
    return components


def component_of_runner() -> dict[str, Any]:
    """The agent-runner itself."""
    with (RUNNER / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    version = project.get("version", "0")
    return {"type": "application", "bom-ref": f"agent-runner@{version}", "name": "agent-runner", "version": version, "scope": "required"}


if __name__ == "__main__":
    main()
