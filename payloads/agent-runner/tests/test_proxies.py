"""Which proxy an address is asked through."""

from __future__ import annotations

import pytest

from agent_runner.errors import Problem
from agent_runner.proxies import proxy_for

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"HTTPS_PROXY": PROXY}, "https://host/v1", PROXY),
        ({"https_proxy": PROXY}, "https://host/v1", PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "https://host", PROXY),
        ({"HTTPS_PROXY": PROXY}, "http://host", None),
        ({"HTTP_PROXY": PROXY}, "http://host", PROXY),
        ({"ALL_PROXY": PROXY}, "https://host", PROXY),
        ({"all_proxy": "http://other:1", "HTTPS_PROXY": PROXY}, "https://host", PROXY),
        ({"HTTPS_PROXY": "proxy:3128"}, "https://host", PROXY),
        ({"HTTPS_PROXY": "  "}, "https://host", None),
        ({"ALL_PROXY": "socks5://user:word@proxy:1080"}, "https://host", "socks5://user:word@proxy:1080"),
        ({"ALL_PROXY": "socks5h://proxy"}, "https://host", "socks5h://proxy"),
        ({"ALL_PROXY": "socks://proxy:1080/"}, "https://host", "socks5://proxy:1080/"),
        ({"HTTP_PROXY": PROXY}, "host:11434", PROXY),
        ({"OPENAI_PROXY": PROXY, "HTTPS_PROXY": "http://other:1"}, "https://host", PROXY),
        ({}, "https://host", None),
    ],
)
def test_the_variables_give_a_proxy(variables: dict[str, str], url: str, proxy: str | None) -> None:
    assert proxy_for(url, "OPENAI_PROXY", environment=variables) == proxy


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "api.localhost", "127.0.0.1", "127.8.9.10", "[::1]",
                                  "[::ffff:127.0.0.1]", "0.0.0.0"])  # fmt: skip
def test_this_machine_is_never_asked_through_a_proxy(host: str) -> None:
    variables = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_PROXY"), "nonsense://proxy")
    assert proxy_for(f"http://{host}:11434/v1", "OPENAI_PROXY", environment=variables) is None


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        ("model.internal", "https://model.internal/v1"),
        ("internal", "https://model.internal"),
        (".internal", "https://model.internal"),
        (".internal", "https://internal"),
        ("*.internal", "https://model.internal"),
        ("a, MODEL.Internal ,b", "https://model.internal"),
        ("https://model.internal", "https://model.internal"),
        ("model.internal:443", "https://model.internal"),
        ("model.internal:8080", "http://model.internal:8080"),
        ("*", "https://anything"),
        ("10.0.0.7", "http://10.0.0.7:8000"),
        ("10.0.0.0/8", "http://10.0.0.7:8000"),
        ("fe80::/10", "http://[fe80::1]:8000"),
        ("[fd00::1]", "http://[fd00::1]:8000"),
        ("fd00:0::1", "http://[fd00::1]:8000"),
        ("[fd00::1]:8000", "http://[fd00::1]:8000"),
        ("fe80::/99999,[::1,10.0.0/x,://,model.internal", "https://model.internal"),
    ],
)
@pytest.mark.parametrize("names", [("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")])
def test_an_exception_holds_in_either_variable(entries: str, url: str, names: tuple[str, str]) -> None:
    variables = {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, names[0]: entries, names[1]: "other.example"}
    assert proxy_for(url, environment=variables) is None


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        ("internal", "https://notinternal"),
        ("model.internal", "https://internal"),
        ("model.internal:8443", "https://model.internal"),
        ("10.0.0.0/8", "http://11.0.0.7"),
        ("0.0.7", "http://10.0.0.7"),
        ("", "https://host"),
        (",,.,*.", "https://host"),
        ("[::1,fe80::/10000,10.0.0.0/x", "https://host"),
    ],
)
def test_an_exception_is_about_nothing_else(entries: str, url: str) -> None:
    variables = {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": entries}
    assert proxy_for(url, environment=variables) == PROXY


@pytest.mark.parametrize(
    "value", ["socks4://proxy", "ftp://proxy", "http://", "http://proxy:port", "http://proxy:99999"]
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(value: str) -> None:
    with pytest.raises(Problem) as raised:
        proxy_for("https://host", environment={"all_proxy": value.replace("proxy", "user:secret-4711@proxy")})
    assert raised.value.kind == "proxy_invalid"
    assert "invalid proxy in all_proxy" in raised.value.reason
    assert "4711" not in raised.value.render()
    assert proxy_for("https://host", environment={"all_proxy": value, "NO_PROXY": "host"}) is None
