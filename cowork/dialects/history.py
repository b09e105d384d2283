"""What a client says was said before: its digest, and as text for a session that has to be told."""

from __future__ import annotations

from collections.abc import Sequence

from cowork.dialects.request import HistoryMessage
from cowork.gevent_compat import run_in_native_thread
from cowork.model import Exchange
from cowork.turns.continuation import with_message

# Of what was said before, as a session is told it; characters.
TOLD_LIMIT = 64 * 1024
# A digest of more would hold up others: some milliseconds.
_LONG_CHARACTERS = 256 * 1024
_SEPARATOR = "\n\n"


def with_history(key: str, messages: Sequence[HistoryMessage]) -> str:
    """The digest of a conversation that had `key`, with these messages behind it."""

    def add_all() -> str:
        found = key
        for each in messages:
            data = [attached.get("data", "") for attached in each.attachments]
            found = with_message(found, each.role, each.text, data)
        return found

    is_long = sum(map(_length, messages)) > _LONG_CHARACTERS
    return run_in_native_thread(add_all) if is_long else add_all()


def _length(message: HistoryMessage) -> int:
    return len(message.text) + sum(len(each.get("data", "")) for each in message.attachments)


def told(messages: Sequence[HistoryMessage], limit: int = TOLD_LIMIT) -> tuple[Exchange, ...]:
    """The newest `limit` characters of it, oldest first; of a text that is cut its end.

    What tools gave back stands with the answers.  What was attached is not told.
    """
    newest_first: list[Exchange] = []
    answer = ""
    for message in reversed(messages):
        if limit <= 0:
            break
        text = message.text[-limit:]
        limit -= len(text)
        if message.role == "user":
            newest_first.append(Exchange(text, answer))
            answer = ""
        elif text:
            answer = f"{text}{_SEPARATOR}{answer}" if answer else text
    if answer:
        newest_first.append(Exchange("", answer))
    return tuple(each for each in reversed(newest_first) if each.question or each.answer)
