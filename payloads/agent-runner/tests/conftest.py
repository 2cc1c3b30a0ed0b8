"""Where the runner under test comes from: the source, and the frozen tree when AGENT_RUNNER_TREE names one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
for _folder in (PROJECT, PROJECT / "src", PROJECT / "tests"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from support.bench import Bench  # noqa: E402
from support.fake_provider import FakeProvider  # noqa: E402
from support.process import Runner  # noqa: E402
from support.server import FakeServer  # noqa: E402


def frozen_tree() -> Path | None:
    """The built tree, if there is one to test."""
    place = os.environ.get("AGENT_RUNNER_TREE")
    return Path(place) if place else None


def from_source() -> Runner:
    """A way to start agent-runner as it stands here."""
    return Runner([sys.executable, "-m", "agent_runner"], {"PYTHONPATH": str(PROJECT / "src")})


@pytest.fixture(params=["source", "frozen"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """A way to start agent-runner. Whatever a test leaves running is ended."""
    if request.param == "source":
        started = from_source()
    else:
        place = frozen_tree()
        if place is None:
            pytest.skip("AGENT_RUNNER_TREE is not set")
        started = Runner([str(place / "agent-runner")], {})
    yield started
    started.end_all()


@pytest.fixture
def source_runner() -> Iterator[Runner]:
    """The same from source only, for what freezing cannot change."""
    started = from_source()
    yield started
    started.end_all()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that speaks the component protocol on a free port."""
    with FakeServer() as running:
        yield running


@pytest.fixture
def models() -> Iterator[FakeProvider]:
    """The stand-in for the providers."""
    with FakeProvider() as running:
        yield running


@pytest.fixture
def bench(source_runner: Runner, server: FakeServer, models: FakeProvider, tmp_path: Path) -> Bench:
    """A runner from source, a server and models."""
    return Bench(source_runner, server, models, tmp_path / "work")


@pytest.fixture
def both(runner: Runner, server: FakeServer, models: FakeProvider, tmp_path: Path) -> Bench:
    """The same from source, and frozen."""
    return Bench(runner, server, models, tmp_path / "work")
