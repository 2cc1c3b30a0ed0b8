"""The worker's configuration: one JSON object, read strictly, so that its writer and this reader cannot drift apart."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from agent_runner.errors import ConfigError

if TYPE_CHECKING:  # importing typing costs a tenth of the whole start
    from typing import Any

COMPONENT = "agent-runner"
SCHEMA = 4
MAX_LINE = 64 * 1024
_KEYS = (
    "schema", "component", "instance", "server_url", "token", "work_dir", "heartbeat_ms", "environment", "settings",
)  # fmt: skip
# How many executions are in work at once if nobody says.
EXECUTIONS = 4
_UPGRADE = "the supervisor and agent-runner are of different versions; install stigmer again"
_LOOPBACK = "the server listens on loopback only, for example http://127.0.0.1:7234"


class Config:
    """A checked configuration. Its text form leaves out the token and the environment.

    An instance of None means the one of the server, whatever that is: a worker from a shell has no other.
    """

    __slots__ = (
        "environment", "executions", "heartbeat_ms", "host", "instance", "model", "port", "server_url", "token",
        "work_dir",
    )  # fmt: skip

    def __init__(
        self,
        *,
        instance: str | None,
        server_url: str,
        token: str,
        work_dir: str,
        heartbeat_ms: int,
        environment: dict[str, str],
        settings: object = None,
    ) -> None:
        self.instance = None if instance is None else _text("instance", instance)
        self.server_url = _text("server_url", server_url)
        self.host, self.port = parse_server_url(self.server_url)
        self.token = _token(token)
        self.work_dir = _text("work_dir", work_dir)
        self.heartbeat_ms = _milliseconds(heartbeat_ms)
        self.environment = _environment(environment)
        self.executions, self.model = _settings(settings)

    def __repr__(self) -> str:
        return f"Config(instance={self.instance!r}, server_url={self.server_url!r}, work_dir={self.work_dir!r})"


def parse(line: bytes) -> Config:
    """The configuration in one line of JSON. Nothing of the line is repeated in an error: it holds the token."""
    if not line.strip():
        raise ConfigError(
            "no config arrived on standard input",
            "start it with 'stigmer server', or without --supervised from a shell",
        )
    try:
        value = json.loads(line, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise ConfigError("the config is not one line of JSON", _UPGRADE) from None
    if not isinstance(value, dict):
        raise ConfigError("the config is not a JSON object", _UPGRADE)
    unknown = sorted(set(value) - set(_KEYS))
    missing = [key for key in _KEYS if key not in value]
    if unknown:
        raise ConfigError(f"the config has unknown keys: {', '.join(unknown)}", _UPGRADE)
    if missing:
        raise ConfigError(f"the config lacks keys: {', '.join(missing)}", _UPGRADE)
    if type(value["schema"]) is not int or value["schema"] != SCHEMA:
        raise ConfigError(f"the config has schema {value['schema']!r}, this version reads {SCHEMA}", _UPGRADE)
    if value["component"] != COMPONENT:
        raise ConfigError(f"the config is for {value['component']!r}, this is {COMPONENT}")
    _text("instance", value["instance"])  # a supervisor always knows it, so here null is a mistake
    return Config(**{key: value[key] for key in _KEYS if key not in ("schema", "component")})


def set_environment(settings: Config) -> None:
    """Sets the variables of the config in this process, where the providers' libraries look for their keys.

    They come on standard input because the environment a process is started with can be read by whoever can list
    processes. What is set afterwards cannot.
    """
    os.environ.update(settings.environment)


def prepare_work_dir(path: str) -> None:
    """Makes the work directory, private to its owner, and finds out now whether it can be written to."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the work directory {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write to the work directory {path}", "check who owns it")


def parse_server_url(url: str) -> tuple[str, int]:
    """Host and port of `http://HOST:PORT`. Only loopback: the token travels in clear."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    host, _, port = authority.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if scheme != "http" or path or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ConfigError(f"server_url {url!r} is not of the form http://HOST:PORT", _LOOPBACK)
    if host not in ("localhost", "::1") and not _is_loopback_v4(host):
        raise ConfigError(f"server_url {url!r} is not on this machine", _LOOPBACK)
    return host, int(port)


def _is_loopback_v4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(p.isascii() and p.isdigit() and int(p) < 256 for p in parts)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice")
    return value


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{key} must be a text that is not empty")
    return value


def _token(value: object) -> str:
    """The token becomes part of an HTTP header line, so it must not be able to end that line."""
    if not isinstance(value, str) or not value or not all("!" <= character <= "~" for character in value):
        raise ConfigError("token must be printable ASCII without spaces")
    return value


def _environment(value: object) -> dict[str, str]:
    """The values are secrets: an error names the variable only."""
    if not isinstance(value, dict):
        raise ConfigError("environment must be an object")
    for name, text in value.items():
        if not name or "=" in name or "\0" in name or not _encodable(name):
            raise ConfigError("environment has a name that no variable can have")
        if not isinstance(text, str) or "\0" in text or not _encodable(text):
            raise ConfigError(f"environment has a value for {name} that no variable can have")
    return value


def _settings(value: object) -> tuple[int, dict[str, Any] | None]:
    """How many executions at once, and the model of agents that name none; the model is read when it is needed."""
    if value is None:
        return EXECUTIONS, None
    if not isinstance(value, dict) or set(value) != {"executions", "model"}:
        raise ConfigError("settings must be an object with executions and model, or null", _UPGRADE)
    executions, model = value["executions"], value["model"]
    if type(executions) is not int or not 1 <= executions <= 64:
        raise ConfigError("settings has executions that are not a whole number from 1 to 64")
    if model is not None and not isinstance(model, dict):
        raise ConfigError("settings has a model that is neither an object nor null", _UPGRADE)
    return executions, model


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can express
        return False
    return True


def _milliseconds(value: object) -> int:
    if type(value) is not int or not 10 <= value <= 600_000:
        raise ConfigError("heartbeat_ms must be a whole number from 10 to 600000")
    return value
