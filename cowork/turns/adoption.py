"""Going on with turns that wait for a person, and that nobody runs any more."""

from __future__ import annotations

from cowork.errors import ShuttingDown
from cowork.log import logger
from cowork.model import TurnRecord
from cowork.stores.protocol import Store
from cowork.turns.queues import ProjectQueues
from cowork.turns.recorder import TurnRecorder
from cowork.turns.records import adopted_turn
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.commands import RemoteTurns
from cowork.turns.remote.publisher import LogPublisher

log = logger(__name__)


class Adoption:
    """Takes parked turns of our projects out of the store, and queues them."""

    def __init__(
        self,
        store: Store,
        queues: ProjectQueues,
        *,
        recorder: TurnRecorder,
        registry: TurnRegistry,
        remote: RemoteTurns | None,
        publisher: LogPublisher | None,
    ) -> None:
        self._store = store
        self._queues = queues
        self._recorder = recorder
        self._registry = registry
        self._remote = remote
        self._publisher = publisher

    def adopt_parked(self) -> None:
        """Go on with turns that wait for a person, and that nobody runs any more.

        Raises `StoreUnavailable`.
        """
        for record in self._store.parked_turns():
            if self._remote is None or self._remote.is_ours(record.project):
                self._adopt(record)

    def _adopt(self, parked: TurnRecord) -> None:
        found = self._store.adopt_turn(parked.project.owner, parked.id)
        if found is None:
            return
        # One that was given up has all of its log, one whose process was lost may not.
        turn = adopted_turn(*found, is_cut=bool(parked.holder))
        log.info("turn adopted", turn_id=turn.id)
        try:
            place = self._queues.adopt(turn)
        except ShuttingDown:
            self._recorder.record_waiting(turn, turn.waiting.ids, is_given_up=True)
            return
        self._registry.adopt(turn)
        if self._publisher is not None:
            self._publisher.add(turn)
        self._queues.start(place)
