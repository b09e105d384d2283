"""`Last-Event-ID`: behind which frame of which turn a client goes on reading."""

from __future__ import annotations

import re

from cowork.errors import TurnExpired, TurnNotFound
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.turn import Turn
from cowork.web.problems import InvalidBody

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


def number_of(turn: Turn, given: str | None, place: list[str]) -> int:
    """The place of the last frame the client has: `<turn id>.<n>`, or just n.

    Raises `InvalidBody`, which names the `place` in the request, for what is no frame of the turn.
    """
    if given is None or not given.strip():
        return 0
    found = re.fullmatch(rf"(?:{re.escape(turn.id)}\.)?([0-9]{{1,12}})", given.strip())
    number = int(found[1]) if found is not None else -1
    if isinstance(turn, RemoteTurn) and number > turn.event_count:
        turn.wait_event(number)  # the readers of its own worker are ahead of us
    number = turn.place_of(number)
    if number > turn.event_count and not turn.log_is_complete:
        return 0  # what it has read is lost, and it is to learn how the turn ended
    if not 0 <= number <= turn.event_count:
        sentence = "Input should be the id of a frame of this turn"
        raise InvalidBody([{"type": "value_error", "loc": place, "msg": sentence}])
    return number
