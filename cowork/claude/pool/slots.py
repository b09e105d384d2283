"""The pool's slots (`slot.py`): how many there may be, who gets the next, which goes first."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.pool.eviction import find_lru, find_unfit
from cowork.claude.pool.slot import LeaseRequest, PoolCounts, Slot, SlotState, Waiter
from cowork.claude.process.process import ClaudeProcess
from cowork.model import Project
from cowork.runtime.fair_queue import FairQueue


class Slots:
    """All slots, at most `limit`; whoever calls holds `changed`, but for `end`.

    Who needs a slot stands in a queue in which owners take turns.  While several owners wait, none
    that has its `share` of slots (0: half of them) gets another before those that have not.
    `spares_due` is set when the spares thread should check; `spare_options` is what spares have.
    """

    def __init__(self, limit: int, share: int = 0, spare_options: LaunchOptions = DEFAULT) -> None:
        self.limit = limit
        self.share = share or -(-limit // 2)
        self.changed = threading.Condition()
        self.spares_due = threading.Event()
        self.spare_options = spare_options
        self.closed = False
        # Called without the lock when a process has ended.
        self.on_end: Callable[[], None] = lambda: None
        # As `on_end`, with the slot and whether its process lived when it was begun to be ended.
        self.on_ended: Callable[[Slot, bool], None] = lambda _slot, _was_alive: None
        # Called without the lock by who waits, when only busy processes are left.
        self.on_shortage: Callable[[], None] = lambda: None
        # How many requests wait for a slot that a spare cannot serve.
        self.waiters = 0
        self._slots: dict[Slot, None] = {}
        # The same by project, so that a turn need not look at everybody's; None is nobody's yet.
        self._of: dict[Project | None, dict[Slot, None]] = {}
        self._queue: FairQueue[Waiter] = FairQueue()
        self._numbers = count()
        self._held: dict[Project | None, list[Waiter]] = {}
        self._making_room: set[Waiter] = set()

    def __iter__(self) -> Iterator[Slot]:
        return iter(list(self._slots))

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def room(self) -> bool:
        return len(self._slots) < self.limit

    def add(self, wanted: LeaseRequest) -> Slot:
        """A new slot, for a process that will be started."""
        slot = Slot(SlotState.STARTING, wanted)
        self._slots[slot] = None
        self._of.setdefault(slot.project, {})[slot] = None
        return slot

    def free(self, slot: Slot) -> None:
        """Nothing is left of the slot's process."""
        self._drop(slot)
        self._settle(slot.project)

    def _drop(self, slot: Slot) -> None:
        if slot in self._slots:
            del self._slots[slot]
            self._give_up(slot)

    def _give_up(self, slot: Slot) -> None:
        """The slot is not its project's any more."""
        mine = self._of[slot.project]
        del mine[slot]
        if not mine:
            del self._of[slot.project]

    def _theirs(self, project: Project | None) -> Iterable[Slot]:
        return self._of.get(project, ())

    def begun(self, slot: Slot, state: SlotState) -> None:
        """The slot's process is ready, for a turn, as a spare, or for whoever comes next."""
        slot.state = state
        self._settle(slot.project)

    def end(self, slot: Slot, new_owner: Waiter | None = None) -> None:
        """End the process of a slot that was marked as ending; takes as long as its escalation.

        The slot is the `new_owner`'s then, where it was ended for one.
        """
        was_alive = slot.process is not None and slot.process.alive
        try:
            if slot.process is not None:
                slot.process.end()
        finally:
            with self.changed:
                self._drop(slot)
                if new_owner is not None:
                    self._hand_over(new_owner)
                self._settle(slot.project)
            self.on_ended(slot, was_alive)
            self.on_end()

    def of(self, process: ClaudeProcess) -> Slot | None:
        return next((slot for slot in self._slots if slot.process is process), None)

    def is_held(self, wanted: LeaseRequest) -> bool:
        """Whether the project is being readied, or the session's former process still ends.

        Another process now would be a second writer to the session, or a second new session.
        """
        return any(self._holds(slot, wanted) for slot in self._theirs(wanted.project))

    @staticmethod
    def _holds(slot: Slot, wanted: LeaseRequest) -> bool:
        if slot.state == SlotState.ENDING:
            return slot.is_of(wanted.session_id)
        return wanted.project is not None and slot.state in (SlotState.STARTING, SlotState.BUSY)

    def retire(self) -> None:
        """Keep no process for another turn; those that are at one end after it."""
        for slot in self._slots:
            slot.discard_on_return = True
            slot.end_why = slot.end_why or "stale"
        self.spares_due.set()

    # -- the queue

    @property
    def waiting(self) -> int:
        """How many are queued."""
        return len(self._queue)

    def enqueue(self, wanted: LeaseRequest) -> Waiter:
        """Stand in the queue; whoever is served at once has its slot already."""
        waiter = Waiter(wanted, next(self._numbers))
        self._place(waiter)
        self._serve()
        if waiter.slot is None:
            waiter.woken = threading.Event()
        return waiter

    def withdraw(self, waiter: Waiter) -> None:
        """It needs no slot any more; one that it has is free again."""
        if waiter.queued:
            self._unqueue(waiter)
        if waiter.held:
            waiter.held = False
            self._held[waiter.wanted.project].remove(waiter)
        self._making_room.discard(waiter)
        if waiter.slot is not None and waiter.slot.process is None:
            self.free(waiter.slot)
        else:
            self._settle(waiter.wanted.project)

    def recheck(self, waiter: Waiter) -> None:
        """Whether what it is held by is gone; whoever ends that says so, and this is in case."""
        if waiter.held:
            self._settle(waiter.wanted.project)

    def close(self) -> None:
        """Nobody gets a slot from now on."""
        self.closed = True
        for waiter in [*self._queue, *(each for held in self._held.values() for each in held)]:
            waiter.wake()
        self.changed.notify_all()

    def _settle(self, project: Project | None) -> None:
        """Something about the project's slots has changed: see who can go on."""
        for waiter in self._held.pop(project, ()):
            self._place(waiter)
        self._serve()
        self.changed.notify_all()
        self.spares_due.set()

    def _place(self, waiter: Waiter) -> None:
        """Find it what is its project's own; else it is held by that, or queued for a slot."""
        wanted = waiter.wanted
        waiter.held = self.is_held(wanted)
        if waiter.held:
            self._held.setdefault(wanted.project, []).append(waiter)
        elif (own := self.take_own(wanted)) is not None:
            waiter.get(own)
        elif (old := self.evict_unfit(wanted)) is not None:
            self._making_room.add(waiter)
            waiter.make_room(old)
        else:
            waiter.queued = True
            self._queue.put(waiter)
            self.waiters += not self._suits_spare(wanted)

    def _unqueue(self, waiter: Waiter) -> None:
        waiter.queued = False
        self._queue.remove(waiter)
        self.waiters -= not self._suits_spare(waiter.wanted)

    def _suits_spare(self, wanted: LeaseRequest) -> bool:
        return wanted.begins_session and wanted.options == self.spare_options

    def _serve(self) -> None:
        """Give what there is to those who wait, in their order."""
        while self._queue and not self.closed:
            if not self._offer(self._queue.first(self._next_owner())):
                return

    def _next_owner(self) -> str | None:
        """Whose turn it is: the next with less than its share at work, else who has least.

        Idle processes are no reason to pass over their owner: they go first, for it or another.
        """
        owners = self._queue.owners()
        if len(owners) == 1:
            return owners[0]
        has = self._by_owner(SlotState.STARTING, SlotState.BUSY)
        has[None] = 0  # a process that is asked for skills now and then
        below = [owner for owner in owners if has[owner] < self.share]
        return below[0] if below else min(owners, key=lambda owner: has[owner])

    def _offer(self, waiter: Waiter) -> bool:
        """Give it a slot, or the process that goes for it; False where there is neither."""
        wanted = waiter.wanted
        if self.is_held(wanted):
            self._unqueue(waiter)
            self._place(waiter)
            return True
        slot = self._take_spare(wanted) or (self.add(wanted) if self.room else None)
        victim = self.evict_lru(waiter.owner) if slot is None else None
        if slot is None and victim is None:
            return False
        self._unqueue(waiter)
        self._queue.served(waiter.owner)
        if slot is not None:
            waiter.get(slot)
        elif victim is not None:
            self._making_room.add(waiter)
            waiter.make_room(victim)
        return True

    def _hand_over(self, new_owner: Waiter) -> None:
        """There is room for the one that made it, whoever came meanwhile."""
        new_owner.victim = None
        self._making_room.discard(new_owner)
        if self.closed:
            return
        self._place(new_owner)
        if new_owner.queued and self.room:
            self._unqueue(new_owner)
            new_owner.get(self.add(new_owner.wanted))

    def _by_owner(self, *states: SlotState) -> Counter[str | None]:
        """How many slots in these states each owner has, with those that are being made free."""
        has = Counter(slot.wanted.owner for slot in self._slots if slot.state in states)
        has.update(waiter.owner for waiter in self._making_room)
        return has

    def take_own(self, wanted: LeaseRequest) -> Slot | None:
        """The project's own idle process, now busy, if it fits and nothing holds it; else None."""
        own = None
        for slot in self._theirs(wanted.project):
            if self._holds(slot, wanted):
                return None
            if own is None and slot.state == SlotState.IDLE and slot.fits(wanted) and slot.usable:
                own = slot
        if own is not None:
            own.state, own.wanted = SlotState.BUSY, wanted
        return own

    def _take_spare(self, wanted: LeaseRequest) -> Slot | None:
        """A spare that fits, now the project's and busy; None where there is none."""
        for slot in self._theirs(None):
            if slot.state == SlotState.SPARE and slot.fits(wanted) and slot.usable:
                self._give_up(slot)
                slot.state, slot.wanted = SlotState.BUSY, wanted
                self._of.setdefault(slot.project, {})[slot] = None
                self.spares_due.set()
                return slot
        return None

    def evict_unfit(self, wanted: LeaseRequest) -> Slot | None:
        """An idle process of the project that is of no use to it any more, now ending."""
        mine = () if wanted.project is None else self._theirs(wanted.project)
        unfit = find_unfit(mine, wanted)
        has_other = unfit is not None and unfit.wanted.options != wanted.options
        return self.ending(unfit, "options" if has_other else "stale")

    def evict_lru(self, owner: str | None) -> Slot | None:
        """The process that makes room for another of the owner's, now ending.

        A spare, or the one idle for longest, of the owners first that would have too many.
        """
        spare = next((slot for slot in self._theirs(None) if slot.state == SlotState.SPARE), None)
        if spare is not None:
            return self.ending(spare, "evicted")
        idle = [slot for slot in self._slots if slot.state == SlotState.IDLE]
        if not idle:
            return None
        has = self._by_owner(SlotState.STARTING, SlotState.BUSY, SlotState.IDLE)
        has[owner] += 1
        return self.ending(find_lru(idle, has, self.share), "evicted")

    @staticmethod
    def ending(slot: Slot | None, why: str) -> Slot | None:
        """Mark a slot as one whose process is being ended; whoever calls ends it.

        `why` counts where nothing was known before.
        """
        if slot is not None:
            slot.end_why = slot.end_why or why
            slot.state = SlotState.ENDING
        return slot

    def project_count(self) -> int:
        """How many projects have a slot."""
        return len(self._of) - (None in self._of)

    def longest_idle_s(self) -> float:
        """For how long the process has been idle that goes first; 0 where none is."""
        now = time.monotonic()
        idle = [
            slot.process for slot in self._slots if slot.state in {SlotState.IDLE, SlotState.SPARE}
        ]
        return max(
            (now - process.last_used for process in idle if process is not None), default=0.0
        )

    def counts(self) -> PoolCounts:
        """How many processes there are now."""
        found = Counter(slot.state for slot in self._slots)
        return PoolCounts(
            busy=found[SlotState.BUSY] + found[SlotState.ENDING],
            idle=found[SlotState.IDLE],
            spare=found[SlotState.SPARE],
            starting=found[SlotState.STARTING],
            limit=self.limit,
        )
