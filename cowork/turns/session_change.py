"""What a fork or a rewind is to do, which waits in its project's queue as a question does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cowork.errors import NOT_STARTED, CoworkError, ShuttingDown

Files = Literal["keep", "preview", "restore"]


@dataclass(frozen=True, slots=True)
class SessionChange:
    """Go on behind the end of turn `turn_id`, None is the last: in project `to`, else in its own.

    `files` is what becomes of those that were edited since.
    """

    turn_id: str | None
    to: str | None = None
    files: Files = "keep"


def frees_key(
    error: CoworkError | None, change: SessionChange | None, *, was_asked: bool = False
) -> bool:
    """Whether the turn that ended so gives its key back: a retry begins anew.

    The CLI was asked nothing, or the session is as it was.  One that `was_asked` may have done its
    work when the server's end interrupted it.
    """
    if change is not None and error is not None:
        return True
    is_cut_off = was_asked and isinstance(error, ShuttingDown)
    return isinstance(error, NOT_STARTED) and not is_cut_off
