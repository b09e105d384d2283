"""What a fork or a rewind is to do, which waits in its project's queue as a question does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cowork.errors import NOT_STARTED, CoworkError

Files = Literal["keep", "preview", "restore"]


@dataclass(frozen=True, slots=True)
class SessionChange:
    """Go on behind the end of turn `turn_id`, None is the last: in project `to`, else in its own.

    `files` is what becomes of those that were edited since.
    """

    turn_id: str | None
    to: str | None = None
    files: Files = "keep"


def frees_key(error: CoworkError | None, change: SessionChange | None) -> bool:
    """Whether the turn that ended so gives its key back: a retry begins anew.

    The CLI was asked nothing, or the session is as it was.
    """
    return isinstance(error, NOT_STARTED) or (change is not None and error is not None)
