"""Takes secrets out of what is reported. The supervisor does the same with logs; a journal does not pass through it.

The values are found literally: what a provider returns in another encoding is not recognized.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# A shorter value would be found in half of all words, and it protects nothing.
SHORTEST = 8
# Of an address only the user name and the password are secret; of the others nothing is.
_ADDRESSES = frozenset((
    "ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_PROXY", "OLLAMA_HOST",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "ANTHROPIC_PROXY",
))  # fmt: skip
_OPEN = frozenset(("NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "OLLAMA_API_KEY")


class Redactor:
    """Knows the secrets, and shows none of them."""

    def __init__(self, secrets: Iterable[tuple[str, str]]) -> None:
        usable = {value: f"[redacted {name}]" for name, value in secrets if len(value) >= SHORTEST}
        self._secrets = sorted(usable.items(), key=lambda pair: -len(pair[0]))  # one may contain another

    @classmethod
    def of(cls, environment: Mapping[str, str], token: str) -> Redactor:
        """Hides the token, and what is secret in the variables the runner was told, or that its shell has."""
        known = {name: os.environ[name] for name in _KEYS if name in os.environ} | dict(environment)
        secrets = [(name, part) for name, value in known.items() for part in _secret_parts(name, value)]
        return cls([*secrets, ("token", token)])

    def text(self, text: str) -> str:
        """The text with `[redacted NAME]` in the place of every secret, and with nothing that JSON cannot carry."""
        return whole(self.replaced(text))

    def value(self, value: Any) -> Any:
        """The same for everything in a JSON value, names included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner) for inner in value]
        if isinstance(value, float) and not float("-inf") < value < float("inf"):
            return None  # JSON has no such number
        return value

    def replaced(self, text: str) -> str:
        """The text with `[redacted NAME]` in the place of every secret."""
        for value, mark in self._secrets:
            if value in text:
                text = text.replace(value, mark)
        return text

    def unfinished(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a secret whose rest has not come yet."""
        longest = 0
        for value, _ in self._secrets:
            for size in range(min(len(text), len(value) - 1), longest, -1):
                if text.endswith(value[:size]):
                    longest = size
                    break
        return longest


class Stream:
    """Redacts a text that arrives in pieces, so that a secret is found even when it is cut in two."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now."""
        text = self._redactor.replaced(self._held + piece)
        size = self._redactor.unfinished(text)
        if size == 0 and "\ud800" <= text[-1:] <= "\udbff":
            size = 1  # half of a pair: the other half is on its way
        shown, self._held = (text[:-size], text[-size:]) if size else (text, "")
        return whole(shown)

    def end(self) -> str:
        """What was held back, when nothing follows."""
        text, self._held = self._held, ""
        return self._redactor.text(text)


def whole(text: str) -> str:
    """The text without halves of surrogate pairs, which some providers send and no strict reader of JSON accepts."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _secret_parts(name: str, value: str) -> list[str]:
    if name.upper() in _OPEN:
        return []
    if name.upper() in _ADDRESSES:
        who, at, _ = value.rpartition("://")[2].partition("/")[0].rpartition("@")
        user, _, password = who.partition(":")
        return [who, user, password] if at else []
    return [line.strip() for line in value.splitlines()]  # a key of several lines is shown line by line
