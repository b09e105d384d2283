"""What a test decides about a fake before it starts, and what the fake writes down for it."""

# pathlib costs 10 ms at a start that takes 20.
# ruff: noqa: PTH123

from __future__ import annotations

import os
import time

from . import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "2.1.332"


class Config:
    """The JSON file that FAKE_CLAUDE_CONFIG names; each key may be absent.

    start: how a resident process begins: "ok", "exit" or "exit:CODE", "hang", "slow:MS",
        "not_logged_in".
    probe: the same for `claude --version` and `claude auth status`: "ok", "exit", "hang", "slow:MS".
    version: what `--version` says, in full, or just the number.
    auth: keys that replace those of `auth status`; its exit code follows `loggedIn`.
    remote_control: what `initialize` says of it.
    log: a file that gets one JSON line per event, see `Log`.
    term_kills_tools: whether SIGTERM ends the running tool too (2.1.330 does, 2.1.197 did not).
    drain: false loses what stdout has not taken when the process ends at stdin's end, as the
        real CLI does.
    rewind: what a request to restore files meets: "ok", "none" (no checkpoint), "fail" (its backups
        are gone), "exit".
    asks_always: answer even what the model is not to be asked about.
    lifetime_s: a fake that a test forgot ends by SIGALRM after so long.
    """

    def __init__(self) -> None:
        path = os.environ.get("FAKE_CLAUDE_CONFIG")
        values: dict[str, Any] = {}
        if path:
            with open(path, encoding="utf-8") as file:
                values = json_text.loads(file.read())
        self.start: str = values.get("start", "ok")
        self.probe: str = values.get("probe", "ok")
        self.version_line: str = values.get("version", VERSION)
        if self.version_line.replace(".", "").isdigit():
            self.version_line += " (Claude Code)"
        self.version = self.version_line.partition(" ")[0]
        self.auth: dict[str, Any] = values.get("auth", {})
        self.remote_control: bool = values.get("remote_control", False)
        self.log = Log(values.get("log"))
        self.term_kills_tools: bool = values.get("term_kills_tools", False)
        self.drain: bool = values.get("drain", True)
        self.asks_always: bool = values.get("asks_always", False)
        self.rewind: str = values.get("rewind", "ok")
        self.lifetime_s: int = values.get("lifetime_s", 900)

    @property
    def logged_in(self) -> bool:
        """Whether turns are answered."""
        return self.start != "not_logged_in" and bool(self.auth.get("loggedIn", True))

    @property
    def key_source(self) -> str:
        """`apiKeySource` as the CLI names it."""
        has_key = self.logged_in and bool(os.environ.get("ANTHROPIC_API_KEY"))
        return "ANTHROPIC_API_KEY" if has_key else "none"


class Log:
    """Appends lines to a file that many fakes share; does nothing without a path.

    Every line holds `event`, `pid` and `at` (monotonic seconds, one clock for the machine).
    start: argv, session, cwd.  asked: uuid, text.  told: the same, of what the model is not asked.
    turn: uuid, text, start, end, outcome
    ("completed", "cancelled" or "interrupted").  overlap: what ("message" while a turn ran, or
    "process" when another one was in a turn of the session).  control: request.  child: kind
    ("tool", then also child, its pid; or "background"), once it runs.  deaf: from now on.
    exit: code.
    """

    def __init__(self, path: str | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._fd = os.open(path, flags, 0o600) if path else None

    def add(self, event: str, **fields: object) -> None:
        """One line, in one write, so that lines of two processes never mix."""
        if self._fd is not None:
            line = {"event": event, "pid": os.getpid(), "at": time.monotonic(), **fields}
            os.write(self._fd, f"{json_text.dumps(line)}\n".encode())
