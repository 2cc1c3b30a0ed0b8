"""Which proxy a provider is asked through, by the standard variables.

The HTTP libraries of the providers read these variables each in its own way: one prefers `no_proxy` to `NO_PROXY`, all
of them fail to start over a proxy or an exception that they cannot read, even where it does not concern the address.
So the choice is made here, for one address, and the libraries are told its result. They do not see the variables
themselves: Ollama's makes a client as soon as it is imported.

`NO_PROXY` has no standard. This follows curl: names match themselves and everything below them, with or without a dot
in front; addresses match by value; networks are written as `10.0.0.0/8`; `*` matches everything.
"""

from __future__ import annotations

import os
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent_runner.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_Address = IPv4Address | IPv6Address
_SCHEMES = ("http", "https", "socks5", "socks5h")
# What desktops write when they mean a SOCKS proxy of any version.
_OTHER_NAMES = {"socks": "socks5"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


# Every variable that the HTTP libraries read.
_VARIABLES = frozenset(("http_proxy", "https_proxy", "all_proxy", "no_proxy", "openai_proxy", "anthropic_proxy"))


@cache
def take_variables() -> dict[str, str]:
    """The proxy variables of this process, which are removed from its environment by the first call."""
    names = [name for name in os.environ if name.lower() in _VARIABLES]
    return {name: os.environ.pop(name) for name in names}


def proxy_for(url: str, *variables: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The proxy for `url`, or None if it is asked directly. `variables`: names that come before the standard ones.

    Raises a `Problem` that names the variable if the proxy which would have to be asked cannot be used.
    """
    known = take_variables() if environment is None else environment
    target = urlsplit(url if "://" in url else f"http://{url}")
    host = target.hostname or ""
    port = target.port or _DEFAULT_PORTS.get(target.scheme)
    if is_loopback(host) or _is_exempt(host, port, known):
        return None
    names = [*variables]
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        names += [name, name.upper()]
    for name in names:
        if value := known.get(name, "").strip():
            return _usable(value, name)
    return None


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine; a proxy could not reach it. An unspecified address means this machine too."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_exempt(host: str, port: int | None, environment: Mapping[str, str]) -> bool:
    entries = f"{environment.get('no_proxy', '')},{environment.get('NO_PROXY', '')}"
    return any(_matches(entry.strip().lower(), host.lower().rstrip("."), port) for entry in entries.split(","))


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of `NO_PROXY` is about this host. One that cannot be read is about none."""
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry and "://" not in entry:
        try:
            return address is not None and address in ip_network(entry, strict=False)
        except ValueError:
            return False
    entry = entry.rpartition("://")[2]
    if _address(entry) is None:  # an IPv6 address has colons of its own
        name, colon, digits = entry.rpartition(":")
        if colon and digits.isdecimal():
            if int(digits) != port:
                return False
            entry = name
    if (wanted := _address(entry)) is not None:
        return address == wanted
    name = entry.removeprefix("*").strip(".")
    return bool(name) and address is None and (host == name or host.endswith(f".{name}"))


def _address(text: str) -> _Address | None:
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _usable(value: str, name: str) -> str:
    scheme, mark, rest = value.partition("://")
    if not mark:
        scheme, rest = "http", value
    scheme = _OTHER_NAMES.get(scheme.lower(), scheme.lower())
    if scheme not in _SCHEMES:
        raise _unusable(name, f"unsupported scheme `{scheme}`: expected {', '.join(_SCHEMES)}")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:  # the value may have a password, so it is not repeated
        raise _unusable(name, "expected an address such as http://HOST:PORT")
    return f"{scheme}://{rest}"


def _unusable(name: str, reason: str) -> Problem:
    return Problem(
        "proxy_invalid",
        f"invalid proxy in {name}: {reason}",
        f"correct {name}, or add the provider's host to NO_PROXY; then run `stigmer server restart`",
    )
