"""Secrets in what is reported."""

from __future__ import annotations

import random

import pytest

from agent_runner.redact import Redactor, Stream, whole

KEY = "sk-ant-0815-4711"


def test_every_secret_is_replaced_by_its_name_wherever_it_stands() -> None:
    redactor = Redactor([("KEY", KEY), ("LONGER", f"{KEY}-and-more"), ("SHORT", "abc"), ("EMPTY", "")])
    assert redactor.text(f"x {KEY} abc {KEY}-and-more") == "x [redacted KEY] abc [redacted LONGER]"
    assert redactor.value({KEY: [KEY, {"a": f"({KEY})"}], "n": 3, "f": 1.5, "b": True, "nan": float("nan")}) == {
        "[redacted KEY]": ["[redacted KEY]", {"a": "([redacted KEY])"}],
        "n": 3,
        "f": 1.5,
        "b": True,
        "nan": None,
    }


def test_of_an_address_only_who_signs_in_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-the-shell-4711")
    environment = {
        "HTTPS_PROXY": "http://somebody:password-1@proxy.example:3128/",
        "NO_PROXY": "localhost,10.0.0.0/8",
        "OLLAMA_HOST": "http://127.0.0.1:11434",
        "MY_PEM": "first-line\nsecond-line\n",
    }
    redactor = Redactor.of(environment, "token-4711")
    assert redactor.text("http://proxy.example:3128 http://127.0.0.1:11434 localhost,10.0.0.0/8") == (
        "http://proxy.example:3128 http://127.0.0.1:11434 localhost,10.0.0.0/8"
    )
    assert redactor.text("somebody:password-1 password-1") == "[redacted HTTPS_PROXY] [redacted HTTPS_PROXY]"
    assert redactor.text("second-line token-4711") == "[redacted MY_PEM] [redacted token]"
    assert redactor.text("of-the-shell-4711") == "[redacted ANTHROPIC_API_KEY]"


def test_a_secret_is_found_however_a_stream_is_cut() -> None:
    redactor = Redactor([("KEY", KEY), ("OTHER", "4711-4711-4712")])
    texts = [
        f"a{KEY}b{KEY}",
        "s sk sk-ant sk-ant-0815-471 4711-4711-4711-4712 done",
        f"{KEY[:-1]}",
        "4711-4711-",
        "😀s",
    ]
    chance = random.Random(4711)
    for text in texts:
        for _ in range(300):
            stream, shown, left = Stream(redactor), "", text
            while left:
                size = chance.randint(1, len(left))
                shown += stream.feed(left[:size])
                left = left[size:]
            assert shown + stream.end() == redactor.text(text)


def test_text_that_cannot_be_a_secret_is_not_held_back() -> None:
    stream = Stream(Redactor([("KEY", KEY)]))
    assert stream.feed("hello ") == "hello "
    assert stream.feed("is") == "i"
    assert stream.feed("it") == "sit"
    assert stream.end() == ""


def test_halves_of_a_character_meet_again() -> None:
    stream = Stream(Redactor([]))
    assert stream.feed("a\ud83d") == "a"
    assert stream.feed("\ude00\ud83d") == "😀"
    assert stream.feed("b") == "\ufffdb"
    assert stream.feed("\ud83d") == ""
    assert stream.end() == "\ufffd"
    assert whole("x\ude00y") == "x\ufffdy"
