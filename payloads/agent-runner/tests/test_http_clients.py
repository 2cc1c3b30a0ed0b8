"""The TLS context that all providers share."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from agent_runner import http_clients
from agent_runner.errors import Problem


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    http_clients.tls_context.cache_clear()
    yield
    http_clients.tls_context.cache_clear()


def test_it_is_made_once_and_checks_certificates() -> None:
    context = http_clients.tls_context()
    assert http_clients.tls_context() is context
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_system_without_certificates_gets_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx2, "create_ssl_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert len(http_clients.tls_context().get_ca_certs()) > 50


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named_by_their_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(Problem, match="cannot read the certificates in SSL_CERT_FILE") as raised:
        http_clients.tls_context()
    assert raised.value.kind == "certificates_invalid"
