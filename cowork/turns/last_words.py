"""How an answer ends, for a list of sessions: its last paragraph, or the beginning of that."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cowork.claude.conversation import ConversationMessage

# Characters.
LAST_WORDS_LIMIT = 140
# Of a paragraph's beginning, which is enough for so many characters but where it is nearly empty.
_LOOKED_AT = 20 * LAST_WORDS_LIMIT


def last_words(text: str) -> str:
    """The beginning of the last paragraph that has words in it, as one line; empty for none."""
    for paragraph in reversed(re.split(r"\n\s*\n", text[-_LOOKED_AT * 10 :])):
        if any(map(str.isalnum, paragraph[:_LOOKED_AT])):
            line = " ".join(paragraph[:_LOOKED_AT].split())
            return line if len(line) <= LAST_WORDS_LIMIT else f"{line[: LAST_WORDS_LIMIT - 1]}…"
    return ""


def last_words_in(messages: Sequence[ConversationMessage]) -> str:
    """The last words of the last answer in a conversation."""
    for message in reversed(messages):
        texts = [part["text"] for part in message.parts if part["type"] == "text"]
        if message.role == "assistant" and (found := last_words("\n\n".join(texts))):
            return found
    return ""
