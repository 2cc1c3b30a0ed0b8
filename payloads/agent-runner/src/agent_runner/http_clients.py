"""HTTP clients for the providers' libraries: one TLS context for all, and the proxy that each address needs.

A TLS context takes tens of milliseconds to make, because it reads every certificate; the libraries would make one for
each client, and several clients for each execution.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from agent_runner import proxies
from agent_runner.errors import Problem

if TYPE_CHECKING:
    import ssl

    import httpx
    import httpx2

    from agent_runner.models import ModelSpec

# Seconds until a connection stands, and between two signs of life. A model that is loaded first can be silent for long.
CONNECT_TIMEOUT = 20.0
SILENCE_TIMEOUT = 300.0
_MAX_CONNECTIONS = 1000
_MAX_IDLE_CONNECTIONS = 100
# A router that forgets an idle connection is noticed within minutes.
_KEEPALIVE_SECONDS = 60
_KEEPALIVE_PROBES = 5
# What sets a proxy for one provider alone.
_PROXY_VARIABLES: dict[str, tuple[str, ...]] = {
    "openai": ("OPENAI_PROXY",),
    "anthropic": ("ANTHROPIC_PROXY",),
    "ollama": (),
}


@cache
def tls_context() -> ssl.SSLContext:
    """The certificates of the system, or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name; without any, certifi's."""
    import ssl

    import certifi
    import httpx2

    try:
        context = httpx2.create_ssl_context()
    except OSError as error:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        reason = f"cannot read the certificates in {name}: {error.strerror or error}"
        raise Problem("certificates_invalid", reason, f"correct {name}; then run `stigmer server restart`") from error
    if type(context) is ssl.SSLContext and not context.get_ca_certs():  # a small container has none
        context.load_verify_locations(certifi.where())
    return context


def async_client(spec: ModelSpec) -> httpx2.AsyncClient:
    """A client for the libraries of Anthropic and OpenAI, which take one of `httpx2`. Its connections are shared."""
    return _httpx2_client(_proxy(spec))


def ollama_settings(spec: ModelSpec) -> dict[str, Any]:
    """Settings for Ollama's client, which makes one of `httpx`."""
    import httpx

    timeout = httpx.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT)
    return {
        "async_client_kwargs": {"transport": _httpx_transport(_proxy(spec)), "timeout": timeout},
        # It makes one that is never used as well, and that must not look for a proxy.
        "sync_client_kwargs": {"verify": tls_context(), "trust_env": False},
    }


def forget() -> None:
    """Forgets the clients, which belong to the event loop that has used them. The TLS context stays."""
    _httpx2_client.cache_clear()
    _httpx_transport.cache_clear()


@cache
def _httpx2_client(proxy: str | None) -> httpx2.AsyncClient:
    import httpx2

    transport = httpx2.AsyncHTTPTransport(
        verify=tls_context(),
        proxy=proxy,
        limits=httpx2.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_IDLE_CONNECTIONS),
        socket_options=_socket_options(),
    )
    timeout = httpx2.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT)
    return httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=True)


@cache
def _httpx_transport(proxy: str | None) -> httpx.AsyncHTTPTransport:
    import httpx

    return httpx.AsyncHTTPTransport(verify=tls_context(), proxy=proxy, socket_options=_socket_options())


def _proxy(spec: ModelSpec) -> str | None:
    return proxies.proxy_for(spec.address, *_PROXY_VARIABLES[spec.provider])


def _socket_options() -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    idle = getattr(socket, "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE", None)
    seconds = (idle, getattr(socket, "TCP_KEEPINTVL", None))
    options += [(socket.IPPROTO_TCP, option, _KEEPALIVE_SECONDS) for option in seconds if option is not None]
    if (probes := getattr(socket, "TCP_KEEPCNT", None)) is not None:
        options.append((socket.IPPROTO_TCP, probes, _KEEPALIVE_PROBES))
    return options
