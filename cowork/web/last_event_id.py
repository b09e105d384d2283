"""`Last-Event-ID`: behind which frame of which turn a client goes on reading."""

from __future__ import annotations

import re

from cowork.errors import TurnExpired, TurnNotFound
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.turn import Turn
from cowork.web.problems import InvalidBody

# Why it failed, and that it is over.
_END_EVENTS = 2
_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.[0-9]{1,12}")


def find_turn(registry: TurnRegistry, owner: str, given: str | None) -> Turn | None:
    """The caller's turn that the id is of; None for what is no id of ours.

    Raises `TurnExpired` where it is one and nothing is kept for this caller, and
    `StoreUnavailable`.
    """
    found = _ID.fullmatch(given.strip()) if given is not None else None
    if found is None:
        return None
    try:
        return registry.get(owner, found[1])
    except TurnNotFound as fault:
        raise TurnExpired("the turn is not kept; nothing was asked") from fault


def _wait_event(turn: RemoteTurn, number: int) -> None:
    """Its own worker's readers are ahead of us: wait until we have what the client has."""
    turn.add_reader()
    try:
        turn.wait_event(number)
    finally:
        turn.remove_reader()


def number_of(turn: Turn, given: str | None, place: list[str]) -> int:
    """The number of the last frame the client has: `<turn id>.<n>`, or just n.

    Raises `InvalidBody`, which names the `place` in the request, for what is no frame of the turn.
    """
    if given is None or not given.strip():
        return 0
    found = re.fullmatch(rf"(?:{re.escape(turn.id)}\.)?([0-9]{{1,12}})", given.strip())
    if found is not None and int(found[1]) > turn.event_count and isinstance(turn, RemoteTurn):
        _wait_event(turn, int(found[1]))
    if found is not None and int(found[1]) > turn.event_count and turn.is_cut:
        return turn.event_count - _END_EVENTS  # the last events are lost, but for how it ended
    if found is not None and int(found[1]) > turn.event_count and not turn.log_is_complete:
        return 0  # what it has read is lost, and it is to learn how the turn ended
    if found is None or int(found[1]) > turn.event_count:
        sentence = "Input should be the id of a frame of this turn"
        raise InvalidBody([{"type": "value_error", "loc": place, "msg": sentence}])
    return int(found[1])
