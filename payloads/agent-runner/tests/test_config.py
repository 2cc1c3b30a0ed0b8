"""What the worker accepts as its configuration, and what it says about the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent_runner import config
from agent_runner.errors import ConfigError
from support.process import config_for

URL = "http://127.0.0.1:7234"


def parse(**changes: Any) -> config.Config:
    return config.parse(json.dumps(config_for(URL, Path("work"), **changes)).encode())


def test_a_complete_config_is_read() -> None:
    settings = parse()
    assert (settings.host, settings.port, settings.token) == ("127.0.0.1", 7234, "test-token-4711")
    assert (settings.instance, settings.work_dir, settings.heartbeat_ms) == ("01test", "work", 20)


def test_only_a_shell_may_leave_the_instance_to_the_server() -> None:
    line = json.dumps(config_for(URL, Path("work")) | {"instance": None}).encode()
    with pytest.raises(ConfigError, match="instance must be a text"):
        config.parse(line)


def test_its_text_form_leaves_out_the_secrets() -> None:
    shown = repr(parse(environment={"MY_KEY": "value-4711"}))
    assert "test-token-4711" not in shown
    assert "value-4711" not in shown


def test_a_wrong_variable_is_named_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="MY_KEY") as caught:
        parse(environment={"MY_KEY": "value-4711\0"})
    assert "4711" not in caught.value.render()


def test_the_environment_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "before")
    config.set_environment(parse(environment={"MY_KEY": "value-4711"}))
    assert os.environ["MY_KEY"] == "value-4711"


@pytest.mark.parametrize(
    "key",
    ["schema", "component", "instance", "server_url", "token", "work_dir", "heartbeat_ms", "environment", "settings"],
)
def test_every_key_is_needed(key: str) -> None:
    with pytest.raises(ConfigError, match=f"lacks keys: {key}$"):
        parse(**{key: None})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 1),
        ("schema", 2),
        ("schema", 3),
        ("schema", 5),
        ("schema", True),
        ("schema", "2"),
        ("component", "internal-server"),
        ("instance", ""),
        ("instance", 3),
        ("token", ""),
        ("token", "a b"),
        ("token", "a\r\nHost: elsewhere"),
        ("token", "ü"),
        ("work_dir", ""),
        ("work_dir", "a\0b"),
        ("heartbeat_ms", 0),
        ("heartbeat_ms", -1),
        ("heartbeat_ms", 1.5),
        ("heartbeat_ms", "1000"),
        ("heartbeat_ms", True),
        ("settings", []),
        ("settings", {}),
        ("settings", {"executions": 0, "model": None}),
        ("settings", {"executions": 65, "model": None}),
        ("settings", {"executions": True, "model": None}),
        ("settings", {"executions": 4, "model": "m"}),
        ("settings", {"executions": 4, "model": None, "more": 1}),
        ("environment", []),
        ("environment", "KEY=value"),
        ("environment", {"": "x"}),
        ("environment", {"A=B": "x"}),
        ("environment", {"A\0": "x"}),
        ("environment", {"\ud800": "x"}),
        ("environment", {"A": 1}),
        ("environment", {"A": None}),
        ("environment", {"A": "x\0"}),
        ("environment", {"A": "\ud800"}),
        ("server_url", "https://127.0.0.1:7234"),
        ("server_url", "http://127.0.0.1"),
        ("server_url", "http://127.0.0.1:0"),
        ("server_url", "http://127.0.0.1:99999"),
        ("server_url", "http://127.0.0.1:7234/path"),
        ("server_url", "http://user@127.0.0.1:7234"),
        ("server_url", "http://10.0.0.1:7234"),
        ("server_url", "http://127.0.0.1.example:7234"),
        ("server_url", "http://example:7234"),
    ],
)
def test_a_wrong_value_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError):
        parse(**{key: value})


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:1", ("127.0.0.1", 1)),
        ("http://127.9.9.9:7234/", ("127.9.9.9", 7234)),
        ("http://[::1]:7234", ("::1", 7234)),
        ("http://localhost:7234", ("localhost", 7234)),
    ],
)
def test_loopback_addresses_are_read(url: str, place: tuple[str, int]) -> None:
    assert config.parse_server_url(url) == place


def test_a_key_that_appears_twice_is_refused() -> None:
    line = json.dumps(config_for(URL, Path("w")))[:-1] + ', "schema": 1}'
    with pytest.raises(ConfigError, match="not one line of JSON"):
        config.parse(line.encode())


@pytest.mark.parametrize("line", [b"[]", b'"text"', b"\xff\xfe", b"[" * 50_000])
def test_what_is_not_an_object_is_refused(line: bytes) -> None:
    with pytest.raises(ConfigError, match="JSON"):
        config.parse(line)


def test_an_error_never_repeats_the_line() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(b'{"token": "secret-4711", broken')
    assert "secret-4711" not in caught.value.render()


def test_the_work_directory_is_made_private(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    config.prepare_work_dir(str(place))
    assert place.is_dir()
    if os.name == "posix":
        assert place.stat().st_mode & 0o077 == 0


def test_a_work_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make the work directory"):
        config.prepare_work_dir(str(tmp_path / "file" / "below"))
