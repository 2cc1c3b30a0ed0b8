"""The tools of a workspace do not lead out of it, whatever they are asked for and whatever lies in it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent_runner import workspace
from agent_runner.workspace import Workspace, WorkspaceError

posix = pytest.mark.skipif(os.name != "posix", reason="needs links, pipes and modes")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret.txt").write_text("secret", encoding="utf-8")
    return place


@pytest.fixture(params=["by descriptor", "by path"])
def space(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Both ways of walking; the second is the one of Windows."""
    if request.param == "by path":
        monkeypatch.setattr(workspace, "_HAS_STEPS", False)
    elif not workspace._HAS_STEPS:
        pytest.skip("this system has no such calls")
    return Workspace(tmp_path / "work" / "x1")


def test_what_is_written_is_listed_and_read(space: Workspace) -> None:
    assert space.list(".") == []
    assert space.write("notes/today.txt", "milk, Brötchen\n") == 16
    assert space.write("a.txt", "") == 0
    assert space.list("") == space.list("./") == ["a.txt (0 bytes)", "notes/"]
    assert space.list("notes") == ["today.txt (16 bytes)"]
    assert space.read("notes/./today.txt") == "milk, Brötchen\n"
    space.write("notes/today.txt", "less")
    assert space.read("notes//today.txt") == "less"
    assert sorted(path.name for path in (space.root / "notes").iterdir()) == ["today.txt"]


def test_nothing_is_made_before_it_is_needed(space: Workspace) -> None:
    space.list(".")
    with pytest.raises(WorkspaceError):
        space.read("a.txt")
    assert not space.root.exists()
    assert not space.is_used()
    space.write("a.txt", "x")
    assert space.is_used()


@pytest.mark.parametrize(
    "path",
    [
        "..", "../outside/secret.txt", "a/../../outside/secret.txt", "a/../b", "/etc/passwd", "//etc/passwd", "\\etc",
        "..\\outside\\secret.txt", "C:\\secret.txt", "C:secret.txt", "c:/secret.txt", "~/secret.txt", "~root/x",
        "a\0b", "a\nb", "file:///etc/passwd", "a.txt::$DATA", "con", "NUL.txt", "aux", "COM1", "lpt9.log", "a?", "a*",
        "a.", "a ", "x" * 201, "/".join(["d"] * 17), "\ud800",
    ],
)  # fmt: skip
def test_a_path_that_leads_out_or_means_something_else_is_refused(space: Workspace, outside: Path, path: str) -> None:
    for action in (lambda: space.read(path), lambda: space.write(path, "x"), lambda: space.list(path)):
        with pytest.raises(WorkspaceError):
            action()
    assert sorted(entry.name for entry in outside.iterdir()) == ["secret.txt"]
    assert not space.root.exists() or list(space.root.iterdir()) == []


def test_a_file_needs_a_name(space: Workspace) -> None:
    for path in ("", ".", "./", "/"):
        with pytest.raises(WorkspaceError):
            space.write(path, "x")


@posix
def test_no_link_is_followed(space: Workspace, outside: Path) -> None:
    space.write("inner/a.txt", "mine")
    (space.root / "file").symlink_to(outside / "secret.txt")
    (space.root / "folder").symlink_to(outside)
    (space.root / "up").symlink_to("..")
    (space.root / "dangling").symlink_to(outside / "new.txt")
    (space.root / "within").symlink_to("inner")
    for path in ("file", "folder/secret.txt", "up/x1/inner/a.txt", "within/a.txt"):
        with pytest.raises(WorkspaceError, match="link"):
            space.read(path)
    for path in ("file", "folder/new.txt", "up/new.txt", "dangling", "within/a.txt"):
        with pytest.raises(WorkspaceError, match="link"):
            space.write(path, "overwritten")
    for path in ("folder", "up", "within"):
        with pytest.raises(WorkspaceError, match="link"):
            space.list(path)
    assert space.list(".") == ["inner/"]
    assert sorted(entry.name for entry in outside.iterdir()) == ["secret.txt"]
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret"
    assert (space.root / "inner" / "a.txt").read_text(encoding="utf-8") == "mine"


@posix
def test_a_workspace_that_is_a_link_is_none(space: Workspace, outside: Path) -> None:
    space.root.parent.mkdir(parents=True)
    space.root.symlink_to(outside)
    for action in (lambda: space.read("secret.txt"), lambda: space.write("x", "y"), lambda: space.list(".")):
        with pytest.raises(WorkspaceError):
            action()
    assert sorted(entry.name for entry in outside.iterdir()) == ["secret.txt"]


@posix
def test_a_second_name_of_a_file_elsewhere_is_neither_read_nor_changed(space: Workspace, outside: Path) -> None:
    space.write("a.txt", "mine")
    os.link(outside / "secret.txt", space.root / "hard")
    with pytest.raises(WorkspaceError, match="not a file of its own"):
        space.read("hard")
    space.write("hard", "new")
    assert space.read("hard") == "new"
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret"


@posix
def test_what_is_no_file_neither_blocks_nor_is_read(space: Workspace) -> None:
    space.write("a.txt", "mine")
    os.mkfifo(space.root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.chdir(space.root)  # the path of a socket may not be long
        listener.bind("socket")
    finally:
        os.chdir("/")
    for name in ("pipe", "socket"):
        with pytest.raises(WorkspaceError):
            space.read(name)
    with pytest.raises(WorkspaceError, match="directory"):
        space.write("a.txt/b", "x")
    space.write("d/e", "x")
    for action in (lambda: space.read("d"), lambda: space.write("d", "x")):
        with pytest.raises(WorkspaceError, match="is a directory"):
            action()
    listener.close()


@posix
@pytest.mark.parametrize("swapped", ["d", "mine.txt"])
def test_what_is_swapped_for_a_link_after_it_was_looked_at_leads_nowhere(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    """The race that looking first and opening afterwards loses, lost every time."""
    space = Workspace(tmp_path / "work" / "x1")
    space.write("d/mine.txt", "mine")
    looks = workspace._Steps._refuse_links
    place = space.root / "d" / "mine.txt" if swapped == "mine.txt" else space.root / "d"
    target = outside / "secret.txt" if swapped == "mine.txt" else outside

    def look_and_swap(steps: workspace._Steps, name: str, *, missing_ok: bool = False) -> None:
        looks(steps, name, missing_ok=missing_ok)
        if name == swapped:
            place.rename(space.root / "aside")
            place.symlink_to(target)

    monkeypatch.setattr(workspace._Steps, "_refuse_links", look_and_swap)
    for path in ("d/mine.txt", "d/secret.txt"):
        with pytest.raises(WorkspaceError):
            space.read(path)
        if place.is_symlink():
            place.unlink()
            (space.root / "aside").rename(place)
    if swapped == "d":
        with pytest.raises(WorkspaceError):
            space.write("d/written.txt", "x")
    else:
        space.write("d/mine.txt", "x")  # in the place of the link
    assert sorted(entry.name for entry in outside.iterdir()) == ["secret.txt"]
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret"


def test_sizes_are_limited(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "MAX_FILE", 100)
    monkeypatch.setattr(workspace, "MAX_TOTAL", 250)
    monkeypatch.setattr(workspace, "MAX_ENTRIES", 4)
    with pytest.raises(WorkspaceError, match="101 bytes; a file may have 100"):
        space.write("a", "x" * 101)
    space.write("a", "x" * 100)
    space.write("b", "x" * 100)
    with pytest.raises(WorkspaceError, match="may hold 250"):
        space.write("c", "x" * 100)
    space.write("c", "x")
    space.write("d", "x")
    with pytest.raises(WorkspaceError, match="may hold 4"):
        space.write("e", "x")
    assert space.list(".") == [f"{name} ({size} bytes)" for name, size in zip("abcd", (100, 100, 1, 1), strict=True)]
    (space.root / "a").write_text("x" * 101, encoding="utf-8")
    with pytest.raises(WorkspaceError, match="too large"):
        space.read("a")


def test_a_long_file_is_read_in_parts(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "MAX_READ", 4)
    space.write("a", "äbcdefghi")
    assert space.read("a") == "äbcd\n(5 more characters; read on with offset 4)"
    assert space.read("a", 4) == "efgh\n(1 more characters; read on with offset 8)"
    assert space.read("a", 8) == "i"
    assert space.read("a", 99) == ""
    with pytest.raises(WorkspaceError):
        space.read("a", -1)


def test_what_is_no_text_is_not_read_as_one(space: Workspace) -> None:
    space.write("a", "x")
    (space.root / "a").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkspaceError, match="not a text"):
        space.read("a")
    with pytest.raises(WorkspaceError, match="surrogate"):
        space.write("b", "\ud800")


@posix
def test_others_cannot_look_in(space: Workspace) -> None:
    space.write("d/a", "x")
    modes = [(space.root / name).stat().st_mode & 0o077 for name in (".", "d", "d/a")]
    assert modes == [0, 0, 0]
