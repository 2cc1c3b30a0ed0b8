#!/usr/bin/env python3
"""Print the dependency graph of the crates and modules, and fail on an upward arrow or a circle.

    packaging/graph.py              print the graph and check it
    packaging/graph.py --write      also write it into ARCHITECTURE.md
    packaging/graph.py --edge A B   list the places in which module A imports module B, such as `cli::run` and `cli::api`

Three things are checked:

1. Crates and the rooms of `src/` import only what stands below them in `ORDER`.
2. Modules that share a parent do not import each other in a circle, at any depth. A module counts with everything below it; a parent
   and its children may import each other, because they are one module in several files.
3. ARCHITECTURE.md shows the graph as it is.

The crates come from `cargo metadata`; the modules from the `use` declarations and the paths in the sources. Tests are left out: a
test may import anything.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- graph: make graph-write -->\n", "<!-- end of graph -->\n"

# From the bottom up. What stands in one line does not import what stands in the same line.
ORDER = [
    ["platform"],
    ["protocol"],
    ["bundle", "workflow"],
    ["store"],
    ["update"],
    ["home"],
    ["config"],
    ["build_info"],
    ["component"],
    ["services"],
    ["supervise"],
    ["components"],
    ["cli"],
    ["stigmer"],
    ["test-support"],
]

# Circles that are known and shall go, each as its modules in alphabetical order. One that is gone must be removed here.
KNOWN: set[tuple[str, ...]] = {
    ("update::headers", "update::http"),
    ("update::older", "update::publish"),
}

Module = tuple[str, ...]
Edges = dict[Module, dict[Module, list[str]]]


class Crate:
    """The modules of one crate: file, imported names and text of each."""

    def __init__(self, name: str, source: Path) -> None:
        self.name = name
        self.source = source
        self.text: dict[Module, str] = {}
        self.file: dict[Module, Path] = {}
        self.names: dict[Module, dict[str, list[str]]] = {}
        self.globs: dict[Module, list[list[str]]] = {}
        self._read((), source / "lib.rs", source)

    def _read(self, module: Module, file: Path, children: Path) -> None:
        code = strip(file.read_text(encoding="utf-8"))
        self.file[module] = file
        declared = re.findall(r"^\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", code, re.MULTILINE)
        paths = dict(re.findall(r'#\[path = "([^"]*)"\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)', file.read_text(encoding="utf-8")))
        paths = {name: path for path, name in paths.items()}
        self.names[module], self.globs[module] = {}, []
        for path, name in uses(code):
            if name == "*":
                self.globs[module].append(path)
            else:
                self.names[module][name] = path
        self.text[module] = code
        for name in declared:
            options = [children / f"{name}.rs", children / name / "mod.rs"]
            if name in paths:
                options = [file.parent / paths[name]]
            found = next((option for option in options if option.is_file()), None)
            if found and (*module, name) not in self.file:
                self._read((*module, name), found, children / name)


def strip(text: str) -> str:
    """The code without comments, string contents and what is compiled for tests only."""
    pattern = r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\''
    text = re.sub(pattern, lambda found: '""' if found[0][-1] in "\"'#" and found[0][0] != "/" else " ", text, flags=re.DOTALL)
    while found := re.search(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]\s*", text):
        rest, depth, at = text[found.end() :], 0, 0
        for at, letter in enumerate(rest):  # noqa: B007
            depth += (letter in "{([") - (letter in "})]")
            if depth == 0 and letter in ";}":
                break
        text = text[: found.start()] + rest[at + 1 :]
    return text


def uses(code: str) -> list[tuple[list[str], str]]:
    """Every path that a `use` imports, and the name that it gets."""
    found: list[tuple[list[str], str]] = []
    for tree in re.findall(r"\buse\s+((?:[\w:]|\{|\}|,|\*|\s)+?)\s*;", code):
        flatten(re.sub(r"\s+as\s+", " as ", tree), [], found)
    return found


def flatten(tree: str, prefix: list[str], found: list[tuple[list[str], str]]) -> None:
    """Split one tree of a `use` into its paths."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    path = prefix + [part.strip() for part in head.split("::") if part.strip()]
    if brace:
        depth, start = 0, 0
        body = rest[: rest.rindex("}")]
        for at, letter in enumerate(body + ","):
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                if body[start:at].strip():
                    flatten(body[start:at], path, found)
                start = at + 1
    elif path:
        *path, last = path
        name, _, alias = last.partition(" as ")
        if name == "self":
            found.append((path, alias or path[-1]))
        else:
            found.append(([*path, name] if name != "*" else path, alias or name))


class Graph:
    """All crates, and which module imports which."""

    def __init__(self) -> None:
        metadata = json.loads(
            subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        )
        self.crates: dict[str, Crate] = {}
        self.imports: dict[str, set[str]] = {}
        names = {package["name"] for package in metadata["packages"]}
        for package in metadata["packages"]:
            name = short(package["name"])
            source = Path(package["manifest_path"]).parent / "src"
            if (source / "lib.rs").is_file():
                self.crates[name] = Crate(name, source)
            used = {one["name"] for one in package["dependencies"] if one["kind"] != "dev"} & names
            self.imports[name] = {short(one) for one in used}
        self.edges: Edges = defaultdict(lambda: defaultdict(list))
        for crate in self.crates.values():
            for module in crate.text:
                self._edges(crate, module)

    def _edges(self, crate: Crate, module: Module) -> None:
        """The arrows that start at one module. What it only hands on (`pub use`) is no import of its own."""
        code = re.sub(r"\bpub(?:\([^)]*\))?\s+use\s[^;]*;", "", crate.text[module])
        paths = [path for path, _ in uses(code)]
        body = re.sub(r"\buse\s[^;]*;", "", code)
        paths += [re.split(r"\s*::\s*", found) for found in re.findall(r"(?<![\w:])\w+(?:\s*::\s*\w+)+", body)]
        here = (crate.name, *module)
        for path in paths:
            target = self._resolve(crate, module, path, 0)
            if target and target != here:
                self.edges[here][target].append("::".join(path))

    def _resolve(self, crate: Crate, module: Module, path: list[str], depth: int) -> Module | None:
        """The module that defines what `path` names when it stands in `module`; nothing if it is no code of ours."""
        if depth > 16 or not path:
            return None
        first, rest = path[0], path[1:]
        if first == "crate":
            return self._descend(crate, (), rest, depth)
        if first == "self":
            return self._descend(crate, module, rest, depth)
        if first == "super":
            return self._resolve(crate, module[:-1], ["self", *rest], depth + 1) if module else None
        if first.startswith("stigmer") and (name := short(first.replace("_", "-"))) in self.crates:
            return self._descend(self.crates[name], (), rest, depth)
        if (*module, first) in crate.file:
            return self._descend(crate, (*module, first), rest, depth)
        if (other := crate.names[module].get(first)) and other != path[: len(other)]:
            return self._resolve(crate, module, other + rest, depth + 1)
        return None

    def _descend(self, crate: Crate, module: Module, path: list[str], depth: int) -> Module | None:
        while path and (*module, path[0]) in crate.file:
            module, path = (*module, path[0]), path[1:]
        if path and path[0] == "super":
            return self._descend(crate, module[:-1], path[1:], depth)
        if path and (other := crate.names[module].get(path[0])):
            return self._resolve(crate, module, other + path[1:], depth + 1) or None
        if path and not defines(crate.text[module], path[0]):
            for other in crate.globs[module]:
                found = self._resolve(crate, module, other + path, depth + 1)
                if found and found != (crate.name, *module):
                    return found
        return (crate.name, *module)

    def rooms(self) -> dict[str, set[str]]:
        """The graph that ARCHITECTURE.md shows: crates, and the rooms of the root package in place of that package."""
        known = {name: set(used) for name, used in self.imports.items()}
        for start, targets in self.edges.items():
            for target in targets:
                a, b = room(start), room(target)
                if start[0] == "stigmer" and a != b and a != "stigmer":
                    known.setdefault(a, set()).add(b)
        known["stigmer"] = {room((name, *module)) for name, crate in self.crates.items() if name == "stigmer" for module in crate.file if module}
        return known

    def circles(self) -> dict[tuple[str, ...], list[tuple[Module, Module]]]:
        """Circles among modules with the same parent, with the arrows that make them."""
        found: dict[tuple[str, ...], list[tuple[Module, Module]]] = {}
        parents = {(name, *module[:-1]) for name, crate in self.crates.items() for module in crate.file if module}
        for parent in sorted(parents):
            level: dict[Module, dict[Module, list[tuple[Module, Module]]]] = defaultdict(lambda: defaultdict(list))
            size = len(parent) + 1
            for start, targets in self.edges.items():
                for target in targets:
                    a, b = start[:size], target[:size]
                    if a != b and len(a) == len(b) == size and a[:-1] == b[:-1] == parent:
                        level[a][b].append((start, target))
            for group in components({node: set(to) for node, to in level.items()}):
                arrows = [arrow for a in group for b in group for arrow in level.get(a, {}).get(b, [])]
                found[tuple(sorted(label(module) for module in group))] = sorted(arrows)
        return found


def components(graph: dict[Module, set[Module]]) -> list[set[Module]]:
    """Groups of nodes that reach each other; those of one node are left out."""

    def reached(start: Module) -> set[Module]:
        seen: set[Module] = set()
        todo = [start]
        while todo:
            for node in graph.get(todo.pop(), set()) - seen:
                seen.add(node)
                todo.append(node)
        return seen

    reach = {node: reached(node) for node in graph}
    groups = {frozenset(other for other in reach[node] if node in reach.get(other, set())) for node in graph if node in reach[node]}
    return [set(group) for group in sorted(groups, key=sorted)]


def defines(code: str, name: str) -> bool:
    """Whether a module's own code declares that name."""
    return bool(re.search(rf"\b(?:fn|struct|enum|union|trait|type|const|static|mod|macro_rules!)\s+(?:mut\s+)?{re.escape(name)}\b", code))


def short(name: str) -> str:
    """A crate's name without the project's."""
    return name.removeprefix("stigmer-")


def room(module: Module) -> str:
    """The crate of a module, or its room if it is of the root package."""
    return module[1] if module[0] == "stigmer" and len(module) > 1 else module[0]


def label(module: Module) -> str:
    """A module as people write it."""
    return "::".join(module[1:] if module[0] == "stigmer" and len(module) > 1 else module)


def picture(graph: Graph) -> str:
    """The graph as text, from the top down."""
    rooms, rank = graph.rooms(), ranks()
    names = sorted(rooms, key=lambda name: (-rank.get(name, 99), name))
    width = max(map(len, names))
    lines = []
    for name in names:
        used = sorted(rooms[name] - {"stigmer"} if name != "test-support" else rooms[name], key=lambda one: (-rank.get(one, 99), one))
        lines.append(f"{name:{width}} -> {' '.join(used)}" if used else name)
    return "\n".join(lines) + "\n"


def ranks() -> dict[str, int]:
    """How high each crate and room stands."""
    return {name: rank for rank, names in enumerate(ORDER) for name in names}


def upward(rooms: dict[str, set[str]]) -> list[str]:
    """Every arrow that does not point down."""
    rank = ranks()
    found = [f"{name} has no place in ORDER" for name in rooms if name not in rank]
    for name, used in sorted(rooms.items()):
        found += [f"{name} -> {one}: not below it in ORDER" for one in sorted(used) if rank.get(one, -1) >= rank.get(name, 99)]
    return found


def main() -> int:
    """Print, check, and write if that is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the graph into ARCHITECTURE.md")
    parser.add_argument("--edge", nargs=2, metavar=("A", "B"), help="list the imports of B in A")
    options = parser.parse_args()
    graph = Graph()
    if options.edge:
        inside = lambda module, name: label(module) == name or label(module).startswith(name + "::")  # noqa: E731
        for start, targets in sorted(graph.edges.items()):
            for target, paths in sorted(targets.items()):
                if inside(start, options.edge[0]) and inside(target, options.edge[1]):
                    print(f"{label(start)} -> {label(target)}: {', '.join(sorted(set(paths)))}")
        return 0
    text = picture(graph)
    print(text, end="")
    problems = upward(graph.rooms())
    circles = graph.circles()
    for circle, arrows in sorted(circles.items()):
        if circle not in KNOWN:
            shown = "".join(f"\n    {label(a)} -> {label(b)}" for a, b in arrows)
            problems.append(f"circle: {' <-> '.join(circle)}{shown}")
    problems += [f"KNOWN has a circle that is gone: {' <-> '.join(circle)}" for circle in sorted(KNOWN - set(circles))]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = f"{before}{BEGIN}```\n{text}```\n{END}{after}"
    if options.write and not problems:
        PAGE.write_text(fresh, encoding="utf-8")
    elif fresh != page:
        problems.append("ARCHITECTURE.md shows another graph: run `make graph-write`")
    for problem in problems:
        print(f"packaging/graph.py: {problem}", file=sys.stderr)
    known = f", {len(KNOWN)} known circles" if KNOWN else ""
    print(f"\n{sum(map(len, graph.edges.values()))} imports between {sum(len(crate.file) for crate in graph.crates.values())} modules{known}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
