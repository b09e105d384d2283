"""The command `xo-cowork`, and `python -m cowork`: serve, try out, make a key, operate, ask."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from cowork import __version__
from cowork.runtime import address
from cowork.terminal import COMMANDS, COMPLETE

# With their own help, in `operations/cli.py`.
OPERATIONS = {
    "backup": "copy everything that a server keeps to a folder, of a running one too",
    "restore": "put a backup where the settings say",
    "doctor": "say what is wrong with this set-up, and the cure",
}
PACKAGE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the first word says (none: `serve`); the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if COMPLETE in os.environ or (given and given[0] in COMMANDS):
        from cowork.terminal import cli  # noqa: PLC0415 - a server needs none of it

        return cli.main(given)
    if not given or (given[0].startswith("-") and given[0] not in {"-h", "--help", "--version"}):
        given.insert(0, "serve")
    if given[0] == "serve":
        serve(given[1:])
    if given[0] in OPERATIONS:
        from cowork.operations.cli import main as operate  # noqa: PLC0415 - as above

        return operate(given)
    asked = _parser().parse_args(given)
    if asked.word == "key":
        print(f"{asked.name}={secrets.token_urlsafe(32)}")
        return 0
    from cowork.demo import launch  # noqa: PLC0415 - `key` needs nothing but Python

    return launch.main(_checkout())


def serve(arguments: Sequence[str] = ()) -> None:
    """Become gunicorn with our configuration and these arguments; `.env` is read from here."""
    _check_environment(arguments)
    configuration = PACKAGE / "server" / "gunicorn_conf.py"
    command = [sys.executable, "-m", "gunicorn", "-c", str(configuration)]
    environ = dict(os.environ)
    if (checkout := _checkout()) is not None:
        # Our configuration imports the package before gunicorn's own --pythonpath would count.
        environ["PYTHONPATH"] = os.pathsep.join(
            [str(checkout), *filter(None, [environ.get("PYTHONPATH")])]
        )
    os.execve(  # noqa: S606
        sys.executable, [*command, *arguments, "cowork.server.wsgi:app"], environ
    )


def _check_environment(arguments: Sequence[str]) -> None:
    """End with one line where gunicorn would end with a traceback, or try a taken port five times.

    An address that is given to gunicorn itself is gunicorn's to try.
    """
    from cowork.settings import settings  # noqa: PLC0415 - `key` needs nothing but Python

    workers = os.environ.get("WEB_CONCURRENCY", "1")
    if not re.fullmatch(r"\s*[0-9]{1,4}\s*", workers or "1"):
        sys.exit(f"WEB_CONCURRENCY: expected a number of workers, got {workers!r}")
    given = [*arguments, *os.environ.get("GUNICORN_CMD_ARGS", "").split()]
    try:
        loaded = settings.load()
        if not any(word.startswith(("-b", "--bind")) for word in given):
            address.check_free(loaded.host, loaded.port)
    except (settings.SettingsError, ValueError) as fault:
        sys.exit(str(fault))


def _checkout() -> Path | None:
    """The checkout that this is part of, which Python may not know of; None where installed."""
    return PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").exists() else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xo-cowork",
        description="REST and server-sent events for the local claude CLI, a session per project.",
        epilog="Settings are environment variables, or lines of `.env` in the current folder.",
    )
    parser.add_argument("--version", action="version", version=f"xo-cowork {__version__}")
    words = parser.add_subparsers(dest="word", metavar="COMMAND", required=True)
    words.add_parser(
        "serve",
        help="run the server (the default); further arguments are gunicorn's",
        add_help=False,
    )
    words.add_parser("demo", help="run it on a demo model, which needs no account, and ask it")
    key = words.add_parser("key", help="print a new API key, a line for a file of keys")
    key.add_argument("name", nargs="?", default="me", type=_name, help="whose it is (me)")
    for word, said in {**OPERATIONS, **COMMANDS}.items():  # they never come here
        words.add_parser(word, help=said, add_help=False)
    return parser


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise argparse.ArgumentTypeError("expected letters, digits and . _ -, at most 64")
    return text


if __name__ == "__main__":
    sys.exit(main())
