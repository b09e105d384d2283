"""The command line: `--version`, `auth status`, or a resident process."""

# pathlib costs 10 ms at a start that takes 20.
# ruff: noqa: PTH109

from __future__ import annotations

import _signal as signal
import os
import sys
import time

from . import arguments, children
from .config import Config
from .process import Process
from .wire import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run; never returns.  The process ends without Python's own farewell, which costs time."""
    children.hold_lifeline()
    config = Config()
    signal.alarm(config.lifetime_s)
    argv = sys.argv[1:]
    if argv in (["--version"], ["-v"]):
        _begin(config.probe)
        _say(config.version_line, 0)
    if argv[:2] == ["auth", "status"]:
        _begin(config.probe)
        _say_auth(config)
    try:
        flags = arguments.parse(argv)
    except arguments.BadArguments as error:
        complain(str(error))
        os._exit(1)
    config.log.add(
        "start",
        argv=argv,
        session=flags.get("--session-id") or flags.get("--resume"),
        cwd=os.getcwd(),
    )
    _begin(config.start)
    Process(config, argv, flags).run()


def _begin(manner: str) -> None:
    kind, _, argument = manner.partition(":")
    if kind == "slow":
        time.sleep(float(argument) / 1000)
    elif kind == "hang":
        while True:
            signal.pause()
    elif kind == "exit":
        complain("Error: the fake was told to exit at its start")
        os._exit(int(argument or 1))


def _say_auth(config: Config) -> NoReturn:
    status = {"loggedIn": True, "authMethod": "claude.ai", "apiProvider": "firstParty"}
    if config.key_source != "none":
        status |= {"authMethod": "api_key", "apiKeySource": config.key_source}
    if not config.logged_in:
        status |= {"loggedIn": False, "authMethod": "none"}
    status |= config.auth
    import json  # noqa: PLC0415 - rarely asked for, and costs 10 ms

    _say(json.dumps(status, indent=2), 0 if status["loggedIn"] else 1)


def _say(text: str, code: int) -> NoReturn:
    os.write(1, f"{text}\n".encode())
    os._exit(code)
