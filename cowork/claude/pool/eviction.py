"""Which process goes when another one needs its slot.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cowork.claude.pool.slot import LeaseRequest, Slot, SlotState


def find_unfit(theirs: Iterable[Slot], wanted: LeaseRequest) -> Slot | None:
    """An idle process of the request's project that is of no use to it any more."""
    idle = (slot for slot in theirs if slot.state == SlotState.IDLE)
    return next((slot for slot in idle if _is_useless(slot, wanted)), None)


def find_lru(idle: Sequence[Slot], has: Mapping[str | None, int], share: int) -> Slot:
    """Of these, at least one, the idle for longest; first of owners with more than their `share`.

    `has` is how many slots each owner would have, idle ones included.  Those of conversations
    without a name go before others: most of them nobody goes on with.
    """
    above = [slot for slot in idle if has[slot.wanted.owner] > share] or idle
    unnamed = [slot for slot in above if slot.project is not None and slot.project.is_unnamed]
    return min(unnamed or above, key=_last_used)


def _is_useless(slot: Slot, wanted: LeaseRequest) -> bool:
    if wanted.session_id is not None and slot.is_prewarmed and slot.usable:
        return False  # the session may turn out to be lost
    return not (slot.fits(wanted) and slot.usable)


def _last_used(slot: Slot) -> float:
    return slot.process.last_used if slot.process is not None else 0.0
