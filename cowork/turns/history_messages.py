"""What the chat history is told of a turn, and what the session remembers of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from cowork.model import ChatMessage, Exchange
from cowork.turns.outcome import TurnOutcome, TurnState
from cowork.turns.steers import Steer
from cowork.turns.turn import Turn

# Of an answer in the chat history, by how its turn ended.
_STATUSES = {
    TurnState.SUCCEEDED: None,
    TurnState.INTERRUPTED: "partial",
    TurnState.FAILED: "failed",
}


class HistoryMessages:
    """Makes the messages of any turn; none where there is no chat history (`is_enabled`)."""

    def __init__(self, *, is_enabled: bool) -> None:
        self._is_enabled = is_enabled

    def at_end(self, turn: Turn, outcome: TurnOutcome) -> tuple[ChatMessage, ...]:
        """What a turn's end adds to the chat history."""
        if not self.is_told(turn):
            return ()
        found = []
        question = self.question(turn)
        if question is not None:
            found.append(question)
        found += [said_in(turn, each) for each in turn.steers.untold()]
        text = outcome.done.message
        if text.strip():
            found.append(_message(turn, "answer", text, "agent", _STATUSES[outcome.state]))
        return tuple(found)

    def question(self, turn: Turn) -> ChatMessage | None:
        """Its question; None where the chat history has it, or is not told."""
        if turn.question_in_outbox or not self.is_told(turn):
            return None
        return _message(turn, "question", turn.question.text, turn.question.message_type)

    def is_told(self, turn: Turn) -> bool:
        """Whether what is said in the turn goes to the chat history."""
        is_told = turn.question.change is None and not turn.project.is_unnamed
        return self._is_enabled and is_told


def _message(
    turn: Turn, role: str, text: str, kind: str | None, status: str | None = None
) -> ChatMessage:
    return ChatMessage(
        id=f"{turn.id}-{role}",
        project=turn.project,
        user_id=turn.question.user_id,
        message=text,
        type=kind,
        status=status,
        created=turn.created if role == "question" else datetime.now(UTC),
    )


def said_in(turn: Turn, steer: Steer) -> ChatMessage:
    """Something that was said to the turn while it ran."""
    message = _message(turn, "question", steer.text, turn.question.message_type)
    return replace(message, id=f"{steer.id}-question", created=datetime.now(UTC))


def exchange_of(turn: Turn, outcome: TurnOutcome) -> Exchange | None:
    """What is remembered of a turn that has answered: all that it was asked, and what it said."""
    if outcome.error is not None or turn.question.change is not None:
        return None
    asked = [turn.question.text, *[each.text for each in turn.steers.joined()]]
    return Exchange("\n".join(asked), outcome.done.message)
