"""What one question may change about a process that runs: by control requests, never in argv."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A full model id: so much of it, in these characters, however a request names it.
MODEL_ID = re.compile(r"claude-[A-Za-z0-9._:\[\]-]{1,93}")
EFFORTS = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """A process takes these on between two questions; the defaults are what it starts with.

    `model` is one of the CLI's names for a model, or a full id; `effort` one of `EFFORTS`;
    `disallowed_tools` are deny rules besides the server's; `mcp_servers` are names in the
    operator's file.
    """

    model: str | None = None
    effort: str | None = None
    disallowed_tools: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()


DEFAULT = TurnOptions()
