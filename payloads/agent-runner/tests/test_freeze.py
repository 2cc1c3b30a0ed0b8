"""The parts of the build that decide what goes in and whether the result may be used."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from conftest import PROJECT
from freeze import freezer, locks, plan, tree
from freeze.ownership import Distribution, Unit

posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for the frozen program is a script")


def test_a_lock_gives_names_and_versions(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text(
        "# made by something==1\nPyYAML==6.0.3 \\\n    --hash=sha256:00\n    # via x==2\n"
        "lang_chain.core==1.0 ; python_version > '3'\n",
        encoding="utf-8",
    )
    assert locks.read_lock(lock) == {"pyyaml": "6.0.3", "lang-chain-core": "1.0"}


def test_an_empty_lock_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="pins nothing"):
        locks.read_lock(lock)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_every_pin_has_a_hash_and_no_host_is_named(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    for block in re.split(r"\n(?=[A-Za-z0-9])", text)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert not re.search(r"https?://|--index|--find-links|--trusted", text)


def test_every_dependency_of_the_project_is_locked() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    product = locks.read_lock(PROJECT / "requirements.lock")
    tools = locks.read_lock(PROJECT / "requirements-build.lock")
    assert set(project["project"]["dependencies"]) <= product.keys()
    assert set(project["dependency-groups"]["build"]) <= tools.keys()


def test_tools_and_product_agree_where_both_lock_a_distribution() -> None:
    product = locks.read_lock(PROJECT / "requirements.lock")
    tools = locks.read_lock(PROJECT / "requirements-build.lock")
    assert {name: product[name] for name in product.keys() & tools.keys()} == {
        name: tools[name] for name in product.keys() & tools.keys()
    }


def test_the_plan_takes_whole_packages_and_keeps_tools_out(tmp_path: Path) -> None:
    files = ("langgraph/graph/__init__.py", "langgraph/graph/state.py", "langgraph/_data.json", "x.dist-info/a.py")
    made = plan.make(
        [Distribution("langgraph", "1", files), Distribution("httpx", "1", ("httpx/__init__.py", "httpx/_main.py"))],
        [Unit("langgraph.graph", "langgraph", "1"), Unit("httpx", "httpx", "1")],
        [Unit("pytest", "pytest", "1")],
        tmp_path / "modules.json",
        tmp_path,
    )
    assert {"langgraph.graph", "langgraph.graph.state", "httpx"} <= set(made.hidden_imports)
    assert "httpx._main" not in made.hidden_imports
    assert "pytest" in made.excludes
    made.save(tmp_path / "plan.json")
    assert plan.Plan.load(tmp_path / "plan.json") == made


def fake_tree(folder: Path, report: object, code: int) -> Path:
    """A tree whose program prints a self-check report that somebody else wrote."""
    folder.mkdir()
    program = folder / "agent-runner"
    program.write_text(
        f"#!{sys.executable}\nprint({json.dumps(report)!r})\nraise SystemExit({code})\n", encoding="utf-8"
    )
    program.chmod(0o755)
    return folder


@posix
def test_a_tree_whose_self_check_fails_is_refused_with_the_module_and_the_reason(tmp_path: Path) -> None:
    entry = {"name": "yaml", "dist": "pyyaml", "ok": False, "error": "no _yaml"}
    with pytest.raises(freezer.BuildError, match=r"yaml \(pyyaml\): no _yaml"):
        freezer.self_check(fake_tree(tmp_path / "tree", {"modules": [entry], "checks": [], "ok": False}, 1))


@posix
def test_a_self_check_that_says_good_but_exits_badly_is_refused(tmp_path: Path) -> None:
    good = {"modules": [{"name": "yaml", "dist": "pyyaml", "ok": True}], "checks": [], "ok": True}
    with pytest.raises(freezer.BuildError, match="exit code 3"):
        freezer.self_check(fake_tree(tmp_path / "tree", good, 3))


@posix
def test_a_good_self_check_is_accepted(tmp_path: Path) -> None:
    good = {"modules": [{"name": "yaml", "dist": "pyyaml", "ok": True}], "checks": [], "ok": True}
    assert freezer.self_check(fake_tree(tmp_path / "tree", good, 0)) == good


def test_a_tree_without_a_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(freezer.BuildError, match="cannot be run"):
        freezer.self_check(tmp_path)


def test_the_digest_sees_content_mode_and_name(tmp_path: Path) -> None:
    seen = set()
    for number, (name, content, mode) in enumerate(
        [("a", "1", 0o644), ("a", "2", 0o644), ("b", "1", 0o644), ("a", "1", 0o755)]
    ):
        root = tmp_path / str(number)
        root.mkdir()
        (root / name).write_text(content, encoding="utf-8")
        (root / name).chmod(mode)
        seen.add(tree.digest(root))
    assert len(seen) == (4 if os.name == "posix" else 3)


def test_differences_are_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        (root / "d").mkdir(parents=True)
        (root / "d" / "same").write_text("x", encoding="utf-8")
    assert tree.differences(one, other) == []
    (one / "d" / "only").write_text("x", encoding="utf-8")
    (other / "d" / "same").write_text("y", encoding="utf-8")
    assert [line.partition(":")[0] for line in tree.differences(one, other)] == ["d/only", "d/same"]


def test_placing_replaces_the_old_tree_and_leaves_nothing_else(tmp_path: Path) -> None:
    for name in ("fresh", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name, encoding="utf-8")
    tree.place(tmp_path / "fresh", tmp_path / "target")
    assert [p.name for p in tmp_path.iterdir()] == ["target"]
    assert [p.name for p in (tmp_path / "target").iterdir()] == ["fresh"]


@posix
def test_modes_do_not_depend_on_who_built(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "run").touch(0o600)
    (tmp_path / "d" / "lib.so").touch(0o777)
    tree.normalize(tmp_path, {"run"})
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*")}
    assert modes == {"d": 0o755, "run": 0o755, "lib.so": 0o644}


def test_project_and_package_have_one_version() -> None:
    assert freezer.version(PROJECT) == "0.1.0"
