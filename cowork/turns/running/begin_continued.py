"""Decides, under the claim on its project, with which session a question goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cowork.model import ConversationNode, Exchange, Session, with_earlier
from cowork.turns.running.forks import Forks
from cowork.turns.running.result_wait import TurnRun


@dataclass(frozen=True, slots=True)
class Begun:
    """The session to ask in, None for a new one, which is told what was said `earlier`.

    `given_up` are the ids of the project's sessions before that; `told` is what is told to a new
    session where this one turns out to be lost, if the client has said it.
    """

    session: Session | None
    earlier: Sequence[Exchange] = ()
    given_up: tuple[str, ...] = ()
    told: Sequence[Exchange] = ()


def begin_continued(run: TurnRun, found: Session | None, forks: Forks) -> Begun:
    """What the turn's question goes on with, `found` being the project's session.

    The node that it was to go on behind may be in the past by now: another turn was quicker.
    Raises what `Forks.branch` does.
    """
    turn, continuation = run.turn, run.turn.question.continuation
    given_up = () if found is None else found.earlier
    if continuation is None:
        return Begun(found, given_up=given_up)
    if continuation.goes_on:
        turn.session_state = "new" if found is None else "continued"
        return Begun(found, given_up=given_up)
    told = continuation.earlier
    behind = continuation.behind
    if behind is not None and found is not None and is_head(found, behind):
        turn.session_state = "continued"
        return Begun(found, given_up=given_up, told=told)
    if found is not None:
        given_up = with_earlier(*found.earlier, found.id)
    session = None if behind is None else forks.branch(run, behind, found)
    if session is not None:
        turn.session_state = "forked"
        return Begun(session, given_up=given_up, told=told)
    turn.session_state = "rebuilt" if told else "new"
    return Begun(None, told, given_up, told)


def is_head(session: Session, node: ConversationNode) -> bool:
    """Whether nothing was said in the session since."""
    is_its = session.project == node.project and session.id == node.session_id
    return is_its and session.last_turn == node.turn_id
