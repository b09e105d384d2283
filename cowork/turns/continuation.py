"""How a question goes on with what its client says was said before; and digests of that.

Clients of other APIs send a whole conversation with each question.  Its digest names a node, the
place in a session behind which the question goes on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from sys import getsizeof
from typing import Any

import orjson

from cowork.events import Done
from cowork.model import ConversationNode, Exchange, Project

_WHITE_SPACE = re.compile(r"\s")
# So much of a text is made comparable at once; characters.
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where a question stands in its conversation.

    `asked_key` is the digest of all that was said, the question included.  With `goes_on` the
    client sends only what is new, and the project's session goes on, if there is one.  Else the
    question goes on `behind` that node, or begins a session, which is told what was said `earlier`.
    `tool` is the name of the tool whose call is the answer, empty for none.
    """

    asked_key: str
    goes_on: bool = False
    behind: ConversationNode | None = None
    earlier: tuple[Exchange, ...] = ()
    tool: str = ""

    @property
    def size(self) -> int:
        """Bytes that its texts take in memory."""
        return sum(getsizeof(each.question) + getsizeof(each.answer) for each in self.earlier)

    def kept(self) -> dict[str, Any]:
        """What a turn's record has of it: what its end needs."""
        return {"asked_key": self.asked_key, "tool": self.tool}

    @classmethod
    def of_json(cls, body: Mapping[str, Any] | None) -> Continuation | None:
        """What was kept, or handed to another worker as `asdict` has it."""
        if body is None:
            return None
        behind = body.get("behind")
        if behind is not None:
            behind = ConversationNode(**{**behind, "project": Project(**behind["project"])})
        earlier = tuple(Exchange(**each) for each in body.get("earlier", ()))
        return cls(**{**body, "behind": behind, "earlier": earlier})

    def answered_keys(self, done: Done, streamed: str) -> tuple[str, ...]:
        """The digests with the answer, in each of the forms in which a client may send it back.

        `streamed` are its tokens joined, which are not the answer where that was replaced.
        """
        texts = [done.message, streamed]
        if done.structured_output is not None:
            value = done.structured_output
            texts = [call_text(self.tool, value)] if self.tool else [*texts, _json(value)]
        said = dict.fromkeys(text for text in texts if text.strip())
        return tuple(with_message(self.asked_key, "assistant", text) for text in said)


def with_message(key: str, role: str, text: str, attachments: Iterable[str] = ()) -> str:
    """The digest of a conversation with one more message; `attachments` are its data.

    However its text is laid out: white space and the forms of Unicode do not count.
    """
    said = sha256()
    for piece in _plain(text):
        said.update(piece.encode(errors="replace"))
    attached = [sha256(data.encode(errors="replace")).digest() for data in attachments]
    return _digest(key.encode(), role.encode(), said.digest(), *attached)


def beginning(scope: str | None, name: str | None) -> str:
    """The digest of a conversation in which nothing was said: of that person, with that name."""
    return _digest(*((each or "").encode(errors="replace") for each in (scope, name)))


def _digest(*parts: bytes) -> str:
    """Of the parts, each behind its length: where one ends is not for who writes them to say."""
    digest = sha256()
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    return digest.hexdigest()


def _plain(text: str) -> Iterator[str]:
    """The text in NFC, its words with one blank between them; in pieces, since it may be long."""
    begin, before = 0, ""
    while begin < len(text):
        end = _word_end(text, begin + _PIECE)
        if words := " ".join(text[begin:end].split()):
            yield before + unicodedata.normalize("NFC", words)
            before = " "
        begin = end


def _word_end(text: str, at: int) -> int:
    """The first place from `at` on where no word is cut."""
    found = _WHITE_SPACE.search(text, at) if at < len(text) else None
    return len(text) if found is None else found.start()


def call_text(name: object, arguments: object) -> str:
    """A call of a tool as text: the same for the same call, whoever wrote its JSON."""
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return f"{name} {arguments}"
    return f"{name} {orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()}"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
