"""The text of one answer while it is written: deltas, until what the CLI confirms replaces them."""

from __future__ import annotations

from io import StringIO

from cowork.events import Event, Replace, Token

SEPARATOR = "\n\n"


class AnswerText:
    """The `value` is the confirmed blocks, separators included, and `live`, the deltas of the
    block that is being written.

    `prefix` is the separator that goes before what is written next, `half` the first half of a
    character whose second one is in the next delta.  `was_replaced` is whether a `Replace` was
    made, so that the tokens joined are not the text.
    """

    def __init__(self) -> None:
        self.live = StringIO()
        self.prefix = self.half = ""
        self.was_replaced = False
        self._settled: list[str] = []
        self._message_from = 0

    @property
    def value(self) -> str:
        """The text so far."""
        return "".join(self._settled) + self.live.getvalue()

    def restore(self, text: str) -> None:
        """Go on behind a text that was confirmed."""
        self._settled = [text] if text else []
        self._message_from = len(self._settled)

    def write(self, text: str) -> Token:
        """More of the block."""
        self.live.write(text)
        return Token(self.take_prefix() + text)

    def take_prefix(self) -> str:
        """The separator, which is part of the text from now on."""
        prefix, self.prefix = self.prefix, ""
        if prefix:
            self._settled.append(prefix)
        return prefix

    def take_half(self) -> str:
        """Half a character whose other half does not come."""
        half, self.half = self.half, ""
        if not half:
            return ""
        self.live.write("\ufffd")
        return "\ufffd"

    def begin_message(self, *, continues: bool) -> None:
        """What follows is another message; one that `continues` goes on in mid-sentence."""
        self.half = ""
        self._settle()
        self.prefix = SEPARATOR if self._settled and not continues else ""
        self._message_from = len(self._settled)

    def drop_message(self) -> list[Event]:
        """The message's text is void: it is asked for again."""
        had_text = bool(self.live.tell()) or len(self._settled) > self._message_from
        del self._settled[self._message_from :]
        self.live = StringIO()
        return self._replace() if had_text else []

    def confirm(self, final: str) -> list[Event]:
        """The whole text of the block that was written, or of one that was not streamed."""
        self.half = ""
        streamed = self.live.getvalue()
        if final.strip() == streamed.strip():
            self._settle()
            return []
        if final.startswith(streamed):
            token = self.write(final[len(streamed) :])
            self._settle()
            return [token]
        self.live = StringIO(final)
        self._settle()
        return self._replace()

    def set(self, text: str) -> list[Event]:
        """All of the answer, whatever was written."""
        if not self.value:
            return [self.write(text)]
        if self.value == text:
            return []
        self._settled, self.live = [text], StringIO()
        return self._replace()

    def clear(self) -> list[Event]:
        """Nothing of what was written is this answer's."""
        had_text = bool(self.value)
        self._settled, self.live, self._message_from = [], StringIO(), 0
        self.prefix = ""
        return self._replace() if had_text else []

    def _settle(self) -> None:
        if streamed := self.live.getvalue():
            self._settled.append(streamed)
            self.live = StringIO()

    def _replace(self) -> list[Event]:
        self.was_replaced = True
        return [Replace(self.value)]
