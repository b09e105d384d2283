"""Ends every process of the pool at once, when the server ends."""

from __future__ import annotations

import threading

from cowork.claude.pool.slot import Slot, SlotState
from cowork.claude.pool.slots import Slots

CLOSE_TIMEOUT_S = 5.0


def end_all(slots: Slots) -> None:
    """Give nobody a slot from now on, and end all processes with the short timeouts.

    Returns when nothing is left of them, in about two seconds; each is waited for
    `CLOSE_TIMEOUT_S` at most.
    """
    with slots.changed:
        slots.close()
        ends = [_ending(slots, slot) for slot in slots if slot.process]
    for end in ends:
        end.start()
    for end in ends:
        end.join(CLOSE_TIMEOUT_S)
    with slots.changed:
        slots.changed.wait_for(lambda: not len(slots), CLOSE_TIMEOUT_S)


def _ending(slots: Slots, slot: Slot) -> threading.Thread:
    """A thread, not begun yet, that ends the slot's process."""
    process = slot.process
    assert process is not None  # noqa: S101 - the caller has looked
    process.shorten_timeouts()
    if slot.state in (SlotState.IDLE, SlotState.SPARE):
        slots.ending(slot, "shutdown")
        return threading.Thread(target=slots.end, args=(slot,), daemon=True)
    # Whoever leased it gives it back when its turn has ended, and frees the slot.
    return threading.Thread(target=process.end, daemon=True)
