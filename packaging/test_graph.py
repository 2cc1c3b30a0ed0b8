"""Tests of packaging/graph.py, with crates that are written for them."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import graph


class GraphTest(unittest.TestCase):
    """Each test writes the sources of a workspace and reads its graph."""

    def graph(self, packages: dict[str, dict[str, str]], dependencies: dict[str, list[str]] | None = None) -> graph.Graph:
        root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        described = []
        for package, files in packages.items():
            for name, text in files.items():
                path = root / package / "src" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            used = [{"name": one, "kind": None} for one in (dependencies or {}).get(package, [])]
            described.append({"name": package, "manifest_path": str(root / package / "Cargo.toml"), "dependencies": used})
        output = mock.Mock(stdout=json.dumps({"packages": described}))
        with mock.patch("subprocess.run", return_value=output):
            return graph.Graph()

    def arrows(self, found: graph.Graph) -> set[tuple[str, str]]:
        return {(graph.label(start), graph.label(target)) for start, targets in found.edges.items() for target in targets}

    def test_finds_imports_and_paths(self) -> None:
        found = self.graph(
            {
                "stigmer": {
                    "lib.rs": "pub mod a;\nmod b;\nmod c;\nmod d;\n",
                    "a/mod.rs": "mod inner;\nuse crate::{b::{self, Thing}, c as other};\nfn f() { other::g() }\n",
                    "a/inner.rs": "fn f() { super::super::d::g(); let x: Vec::<u8> = Vec::new(); }\n",
                    "b.rs": "pub struct Thing;\n",
                    "c.rs": "pub fn g() {}\n",
                    "d.rs": "pub fn g() {}\n",
                }
            }
        )
        self.assertEqual(self.arrows(found), {("a", "b"), ("a", "c"), ("a::inner", "d")})

    def test_follows_what_is_handed_on_to_its_definition(self) -> None:
        found = self.graph(
            {
                "stigmer-low": {"lib.rs": "mod x;\nmod y;\npub use x::*;\npub use y::Y as Why;\n", "x.rs": "pub fn f() {}\n", "y.rs": "pub struct Y;\n"},
                "stigmer": {"lib.rs": "pub mod a;\npub use stigmer_low as low;\n", "a.rs": "use crate::low::{f, Why};\n"},
            },
            {"stigmer": ["stigmer-low"]},
        )
        self.assertEqual(self.arrows(found), {("a", "low::x"), ("a", "low::y")})
        self.assertEqual(found.rooms(), {"low": set(), "stigmer": {"a"}, "a": {"low"}})

    def test_ignores_tests_comments_and_strings(self) -> None:
        found = self.graph(
            {
                "stigmer": {
                    "lib.rs": "mod a;\nmod b;\n",
                    "a.rs": "// crate::b::f\n/// [`crate::b`]\nconst X: &str = \"crate::b::f\";\nconst Y: &str = r#\"a \" crate::b::f\"#;\n"
                    "#[cfg(test)]\nmod tests {\n    use crate::b::f;\n    fn g() { f(); }\n}\n",
                    "b.rs": "use crate::a::X;\npub fn f(c: char) -> bool { c == '\"' || c == '\\'' }\n",
                }
            }
        )
        self.assertEqual(self.arrows(found), {("b", "a")})

    def test_reports_a_circle_at_any_depth(self) -> None:
        found = self.graph(
            {
                "stigmer": {
                    "lib.rs": "mod room;\n",
                    "room/mod.rs": "mod a;\nmod b;\nmod c;\npub struct Shared;\nfn f() { a::f() }\n",
                    "room/a.rs": "use super::{Shared, b::f as g};\npub fn f() {}\n",
                    "room/b.rs": "mod deep;\npub fn f() {}\n",
                    "room/b/deep.rs": "use crate::room::c::X;\n",
                    "room/c.rs": "use super::a::f;\npub struct X;\n",
                }
            }
        )
        self.assertEqual(list(found.circles()), [("room::a", "room::b", "room::c")])

    def test_reports_an_arrow_that_does_not_point_down(self) -> None:
        self.assertEqual(graph.upward({"store": {"bundle"}, "cli": {"store"}}), [])
        self.assertEqual(
            graph.upward({"bundle": {"store"}, "platform": {"protocol"}, "unheard-of": set()}),
            [
                "unheard-of has no place in ORDER",
                "bundle -> store: not below it in ORDER",
                "platform -> protocol: not below it in ORDER",
            ],
        )


if __name__ == "__main__":
    unittest.main()
