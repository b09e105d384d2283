"""A `claude` that plays scenes: what the real CLI cannot be made to do on demand.

`install` puts it into a folder, `configure` says how it starts, `Lifelines` counts what is left of
it and of its children, `read_log` and `overlaps` tell what it did, `driver.py` speaks to it.  A
question steers it by directions at its start, such as `[[delay 50]] [[words 100]]`;
`stage/script.py` lists them.
The events are those of 2.1.332, see `scenes/`.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.fake_claude.stage.config import VERSION
from tests.patience import PATIENCE_S, SOON_S

_PLAYER = Path(__file__).resolve().parent / "player.py"
# What a server asks at its start is answered without Python, in a tenth of the time, where no
# config says anything of it.
_PROBES = f"""config=
[ -z "$FAKE_CLAUDE_CONFIG" ] || IFS= read -r config <"$FAKE_CLAUDE_CONFIG"
case "$# $1 $2 $config" in
*'"start"'* | *'"probe"'* | *'"version"'* | *'"auth"'*) ;;
'1 --version '*)
    echo '{VERSION} (Claude Code)'
    exit
    ;;
'2 auth status '*)
    how='"authMethod": "claude.ai",\n  "apiProvider": "firstParty"'
    [ -z "$ANTHROPIC_API_KEY" ] ||
        how='"authMethod": "api_key",\n  "apiProvider": "firstParty",\n  "apiKeySource": "ANTHROPIC_API_KEY"'
    printf '{{\n  "loggedIn": true,\n  %s\n}}\n' "$how"
    exit
    ;;
esac
"""
_POLL_S = 0.005
_PIPE_FULL_OF_CALLERS = 4096


def install(directory: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Write an executable `claude` into `directory`; it runs under this very Python.

    Needs nothing from the environment: PATH may be empty.  What is in `environment` (such as
    `configure` and `Lifelines.environment` give) is set whoever starts it, so a server under test
    need not be told to pass it on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wrapper = directory / "claude"
    command = shlex.join([sys.executable, "-S", "-E", str(_PLAYER)])
    settings = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in (environment or {}).items()
    )
    wrapper.write_text(f'#!/bin/sh\n{settings}{_PROBES}exec {command} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    return wrapper


def configure(path: Path, **keys: object) -> dict[str, str]:
    """Write a config file; the environment that makes a fake read it.

    The keys are those of `stage/config.py`: start, probe, version, auth, remote_control, log,
    term_kills_tools, drain, asks_always, lifetime_s.
    """
    path.write_text(json.dumps(keys, default=str), encoding="utf-8")
    return {"FAKE_CLAUDE_CONFIG": str(path)}


def read_log(path: Path) -> list[dict[str, Any]]:
    """What the fakes that share this log did, oldest first; nothing before the first start."""
    if not path.exists():
        return []
    # The last line may be on its way.
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    entries = [json.loads(line) for line in lines]
    return sorted(entries, key=lambda entry: entry["at"])


def wait_for_log(path: Path, event: str, count: int = 1, timeout: float = PATIENCE_S) -> bool:
    """Whether the log holds `count` entries of that kind within `timeout` seconds."""
    deadline, pause = time.monotonic() + timeout, _POLL_S
    while sum(entry["event"] == event for entry in read_log(path)) < count:
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(1.2 * pause, 4 * _POLL_S)  # each time it reads the whole log
    return True


def overlaps(path: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of finished turns of one session that ran at the same time.

    A killed turn has no end and is not in here; the log's `overlap` entries tell of those too.
    """
    turns = [entry for entry in read_log(path) if entry["event"] == "turn"]
    turns.sort(key=lambda turn: turn["start"])
    return [
        (first, second)
        for index, first in enumerate(turns)
        for second in turns[index + 1 :]
        if first["session"] == second["session"] and second["start"] < first["end"]
    ]


class Lifelines:
    """Counts the fakes, and the processes they started, that are still there.

    Each holds a connection to a Unix socket in `directory` until it dies.  Works with and without
    gevent's patches: no thread of its own; whoever asks, from any thread, counts.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lifeline"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._held: list[socket.socket] = []
        self._counting = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """What a fake must be given to connect."""
        return {"FAKE_CLAUDE_LIFELINE": str(self.path)}

    @property
    def held(self) -> int:
        """How many processes there are now."""
        with self._counting:
            self._accept()
            for line in [line for line in self._held if not _is_alive(line)]:
                line.close()
                self._held.remove(line)
            return len(self._held)

    def wait_for(self, count: int, timeout: float = SOON_S) -> bool:
        """Whether there were exactly `count` processes at some moment of the next `timeout` s."""
        deadline = time.monotonic() + timeout
        while self.held != count:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def __enter__(self) -> Self:
        self._listener.bind(os.fspath(self.path))
        self._listener.listen(_PIPE_FULL_OF_CALLERS)
        self._listener.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._accept()
        for line in (*self._held, self._listener):
            line.close()
        self._held.clear()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except BlockingIOError:
                return
            line.setblocking(False)
            self._held.append(line)


def _is_alive(line: socket.socket) -> bool:
    try:
        return bool(line.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
