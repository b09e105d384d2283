"""Which question a message of the CLI belongs to: an answer reaches no other than its own.

The CLI names the question (`user_message_uuids`) in what begins and ends a turn: `init`, the first
message, the result.  What lies between goes by the message it is part of, or by where it stands.
A CLI that names nothing has only that: what comes before a question's own `init` is not its.
"""

from __future__ import annotations

from typing import Any

from cowork.claude.stream_json import billing
from cowork.claude.stream_json.protocol import Message

# Messages of earlier turns that are remembered, for lines that come twice or late.
REMEMBERED = 512
_NOBODY = ""
_MESSAGES = frozenset({"stream_event", "assistant"})


def names_a_question(message: Message) -> bool:
    """Whether a message says whose turn it belongs to."""
    return bool(message.get("user_message_uuids") or message.get("user_message_uuid"))


class EarlierTurns:
    """What one process's turns have shown so far.

    `names` is whether its CLI names questions in `init`, `names_messages` whether in the first
    message; `owners` tells which question a message's id, or a line's uuid, was first seen with.
    `total_cost_usd` is the total of the latest result, None where it may be of other processes.
    """

    def __init__(self, *, resumed: bool = False) -> None:
        self.total_cost_usd: float | None = None if resumed else 0.0
        self.names = self.names_messages = False
        self.owners: dict[str, str] = {}

    def owner(self, name: Any, question: str) -> str:
        """Whose it is: the first question's that it was first seen with."""
        if not isinstance(name, str) or not name:
            return question
        if len(self.owners) > REMEMBERED:
            del self.owners[next(iter(self.owners))]
        return self.owners.setdefault(name, question)

    def cost_of(self, result: Message) -> float | None:
        """The turn's cost in USD, by its result; the total in that is known from now on."""
        told = billing.cost(result)
        total = result.get("total_cost_usd")
        if not isinstance(total, int | float):
            return told
        before, self.total_cost_usd = self.total_cost_usd, float(total)
        return told if told is not None else billing.share(float(total), before, result)

    def see_named(self, message: Message) -> None:
        """A message has named a question."""
        if message["type"] in _MESSAGES:
            self.names_messages = True
        elif message.get("subtype") == "init":
            self.names = True

    def record_unowned(self, message: Message) -> None:
        """Remember a message that begins while no question's turn is under way: it is no one's."""
        if names_a_question(message):
            self.see_named(message)
        event = message.get("event")
        body = event.get("message") if isinstance(event, dict) else message.get("message")
        for name in (_id_of(body), message.get("api_message_id")):
            if name is not None:
                self.owner(name, _NOBODY)


class Pairing:
    """Decides for one question, message by message.

    `line_tag` is what each line of the message that is being written holds (b"" where this CLI
    writes no such thing), or None while there is none of ours.  `open` is whether what comes may
    be ours, `sure` whether the CLI has said so, `self_started` whether it was at a turn of its
    own.  Without a `uuid` it is a turn that an earlier process has begun, and this one goes on with
    by itself: all that it says is ours.  Messages that were slipped into the turn (`add`) are ours
    too, and what the CLI says may name them alone.
    """

    def __init__(self, uuid: str, earlier: EarlierTurns) -> None:
        self.uuid = uuid
        self._uuids = {uuid}
        self.line_tag: bytes | None = None
        self.self_started = False
        self.open = self.sure = not uuid
        self._earlier = earlier
        self._outside_message = True
        self._message_id: str | None = None

    def add(self, uuid: str) -> None:
        """A message of that name is slipped into the turn."""
        self._uuids.add(uuid)

    def takes(self, message: Message) -> bool:
        """Whether the message is part of our turn; a result, whether it ends that."""
        kind = message["type"]
        if not self.uuid:
            return kind != "stream_event" or self._takes_event(message, named=True)
        ours = self._is_named(message)
        if ours is not None:
            self._earlier.see_named(message)
        if kind == "system" and message.get("subtype") == "init":
            self._take_init(message, ours)
        elif kind == "result" and ours is None and not self._is_end(message):
            self.close()
        elif ours:
            self.open = self.sure = True
        elif ours is False and not self.sure:
            self.close()  # we were reading another's turn
        if ours is False or not self.open:
            self._earlier.record_unowned(message)
            if _is_start(message):
                self._lose_message()
            return False
        if kind == "stream_event":
            return self._takes_event(message, named=ours is True)
        return kind != "assistant" or self._knows(_id_of(message.get("message")), named=bool(ours))

    def close(self) -> None:
        """What follows is not ours, until something says that it is."""
        self.open = self.sure = False
        self.line_tag = self._message_id = None
        self._outside_message = True

    def _lose_message(self) -> None:
        """Another message begins; of ours only lines that carry its id can still be told apart."""
        self._outside_message = True
        self.line_tag = self.line_tag or None

    def _is_named(self, message: Message) -> bool | None:
        """Whether the message names our question; None where it names none."""
        uuids = message.get("user_message_uuids")
        if isinstance(uuids, list) and uuids:
            if message["type"] == "result":
                # What was slipped in too late may be answered alone, before the rest of it is.
                return self.uuid in uuids
            return any(isinstance(each, str) and each in self._uuids for each in uuids)
        if message["type"] == "command_lifecycle":
            # Others' may be slipped into our turn, and ours may wait for another's end.
            ours = message.get("command_uuid") in self._uuids
            return True if ours and message.get("state") == "started" else None
        one = message.get("user_message_uuid")
        return one in self._uuids if isinstance(one, str) else None

    def _take_init(self, message: Message, ours: bool | None) -> None:
        if ours:
            self.open = self.sure = True
        elif ours is False:
            self._lose_message()
        elif self._earlier.names:
            self.self_started = True
            self.close()
        else:
            # One that was seen before is an earlier turn's, printed twice.
            self.open = self._earlier.owner(message.get("uuid"), self.uuid) == self.uuid

    def _is_end(self, message: Message) -> bool:
        """Whether a result that names no question is ours, as far as can be told."""
        if "origin" in message:
            self.self_started = True
            return False
        known = self._earlier.owner(message.get("uuid"), self.uuid) == self.uuid
        return known and not self._earlier.names

    def _takes_event(self, message: Message, *, named: bool) -> bool:
        event, written = message.get("event"), message.get("api_message_id")
        if not isinstance(event, dict) or not _is_start(message):
            if not isinstance(written, str):
                return not self._outside_message
            if written != self._message_id:
                # Its beginning was lost, or it is late; what follows of it is of the same turn.
                self._earlier.owner(written, self.uuid)
            return written == self._message_id
        name = _id_of(event.get("message"))
        if not self._knows(name, named=named):
            self._lose_message()
            return False
        self._outside_message = False
        self._message_id, self.line_tag = name, b""
        if isinstance(written, str):
            self._message_id, self.line_tag = written, _line_tag(written)
        return True

    def _knows(self, name: str | None, *, named: bool) -> bool:
        """Whether a message is not one that was first seen with an earlier question.

        Only where this CLI names questions: behind some gateways all messages have one id.
        """
        if named and name is not None:
            self._earlier.owners.pop(name, None)
        return self._earlier.owner(name, self.uuid) == self.uuid or not self._earlier.names_messages


def _is_start(message: Message) -> bool:
    event = message.get("event")
    return isinstance(event, dict) and event.get("type") == "message_start"


def _line_tag(message_id: str) -> bytes:
    return b'"api_message_id":"%b"' % message_id.encode(errors="replace")


def _id_of(body: Any) -> str | None:
    name = body.get("id") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None
