"""What is known of how a turn goes, for the log and the metrics alone."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cowork.log import traceparent


@dataclass(slots=True)
class TurnFacts:
    """`created` is monotonic; `start` how it got its process, `""` until it has one.

    `resumes` is how often a client has gone on reading it, `traceparent` its request's trace.
    """

    created: float = field(default_factory=time.monotonic)
    start: str = ""
    cli_pid: int | None = None
    resumes: int = 0
    traceparent: str | None = field(default_factory=traceparent.get)
