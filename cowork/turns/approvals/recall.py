"""What a former process of a turn has asked of a person, until the next one asks it again."""

from __future__ import annotations

import time

from cowork.errors import WorkerLost
from cowork.model import Approval

# How long a process that goes on with a turn has to ask again.
RECALL_TIMEOUT_S = 60.0


class Recall:
    """`approval` is what is to be asked again, None for nothing; `until` is when (monotonic)."""

    def __init__(self, approval: Approval | None = None) -> None:
        self.approval = approval
        self.until = float("inf")

    def begin(self) -> None:
        """There is a process that is to ask again."""
        if self.approval is not None:
            self.until = time.monotonic() + RECALL_TIMEOUT_S

    def check(self) -> None:
        """Raise `WorkerLost` where it is too late."""
        if self.approval is not None and time.monotonic() >= self.until:
            raise WorkerLost("the Claude CLI did not ask again for what had been waited for")

    def take(self, tool_use_id: str) -> Approval | None:
        """The approval, if this is the call that is asked about again."""
        found = self.approval
        if found is None or found.tool_use_id != tool_use_id:
            return None
        self.approval, self.until = None, float("inf")
        return found
