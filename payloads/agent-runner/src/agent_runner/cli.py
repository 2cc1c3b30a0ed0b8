"""The command line. Parsed by hand where the worker starts, because a parser library costs more than the parsing."""

from __future__ import annotations

import sys

from agent_runner import __version__, frozen
from agent_runner.errors import RunnerError, UsageError

USAGE = """\
agent-runner: the Python agent runtime of stigmer

usage:
  agent-runner --supervised
      run as a component of 'stigmer server': config on standard input, handshake on standard output
  agent-runner --server URL --token-file FILE --work-dir DIR [--heartbeat-ms N]
      run the same worker from a shell, until an interrupt
  agent-runner ask --provider PROVIDER --model MODEL [--base-url URL] MESSAGE
      put one question to a model and stream the answer; 'agent-runner ask --help' says more
  agent-runner --self-check
      import everything this runtime bundles and report it as JSON
  agent-runner --version | --help

exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong config
"""

_WORKER_FLAGS = ("--server", "--token-file", "--work-dir", "--heartbeat-ms")
_HELP_HINT = "see 'agent-runner --help'"


def main(argv: list[str]) -> int:
    """Runs one command and returns its exit code."""
    frozen.clean_environment()
    try:
        return _dispatch(argv)
    except RunnerError as error:
        sys.stderr.write(f"agent-runner: {error.render()}\n")
        return error.exit_code


def _dispatch(argv: list[str]) -> int:
    if argv == ["--supervised"]:
        from agent_runner import stdio

        handshake = stdio.take_stdout()  # before the other imports, so that none of them can write there
        from agent_runner import process

        return process.supervised(handshake)
    if "--help" in argv[:1] or "-h" in argv[:1]:
        return _print(USAGE)
    if argv == ["--version"]:
        return _print(f"agent-runner {__version__}\n")
    if argv == ["--self-check"]:
        from agent_runner import selfcheck

        return selfcheck.main()
    if argv[:1] == ["ask"]:
        from agent_runner import ask

        return ask.main(argv[1:])
    return _standalone(argv)


def _print(text: str) -> int:
    """Prints. A reader that has seen enough (`| head`) is not an error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _standalone(argv: list[str]) -> int:
    flags = _flags(argv)
    missing = [flag for flag in ("--server", "--token-file", "--work-dir") if flag not in flags]
    if missing:
        raise UsageError(f"missing: {', '.join(missing)}", _HELP_HINT)
    heartbeat = flags.get("--heartbeat-ms", "1000")
    if not (heartbeat.isascii() and heartbeat.isdigit()):
        raise UsageError(f"--heartbeat-ms takes a whole number, not {heartbeat!r}", _HELP_HINT)

    import os

    from agent_runner import config, process

    settings = config.Config(
        instance=None,  # the server says it
        server_url=flags["--server"],
        token=_read_token(flags["--token-file"]),
        work_dir=os.path.abspath(flags["--work-dir"]),
        heartbeat_ms=int(heartbeat),
        environment={},  # a shell gives its own
    )
    return process.standalone(settings)


def _flags(argv: list[str]) -> dict[str, str]:
    """`--name VALUE` and `--name=VALUE`, each at most once."""
    flags: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name not in _WORKER_FLAGS:
            raise UsageError(f"unexpected argument {word!r}", _HELP_HINT)
        if name in flags:
            raise UsageError(f"{name} is given twice", _HELP_HINT)
        given = value if equals else next(words, None)
        if given is None:
            raise UsageError(f"{name} needs a value", _HELP_HINT)
        flags[name] = given
    return flags


def _read_token(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UsageError(f"cannot read the token file {path}: {reason}") from error
