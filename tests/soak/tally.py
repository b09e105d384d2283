"""What happened in a load, and what its failures are owed to."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from cowork.web.problems import STATUS

SERVER_ERROR = 500
FAILS = {kind.code for kind, status in STATUS.items() if status >= SERVER_ERROR}
# What a question may be told whose process was killed, so shortly before or during its turn.
KILLED = {"claude_failed", "claude_unavailable"}
KILL_IS_FELT_S = 2.0


@dataclass(slots=True)
class Tally:
    """What happened, to be judged when it is over."""

    kills: list[tuple[str | None, float]] = field(default_factory=list)
    failures: list[tuple[str, float, float, str]] = field(default_factory=list)
    said: dict[tuple[str, float, float, str], str] = field(default_factory=dict)
    answers: list[tuple[float, str]] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def failed(self, project: str, begun: float, code: str, said: str = "") -> None:
        failure = project, begun, time.monotonic(), code
        with self.lock:
            self.failures.append(failure)
            self.said[failure] = said

    def answered(self, begun: float, session: str) -> None:
        with self.lock:
            self.answers.append((time.monotonic() - begun, session))

    def explanation(self, project: str, begun: float, ended: float, code: str) -> str | None:
        """The fault of ours that a failure of the server's is owed to."""
        felt = any(
            of in {project, None} and begun - KILL_IS_FELT_S <= at <= ended for of, at in self.kills
        )
        return "a kill" if code in KILLED and felt else None
