"""Text of others, made harmless for a terminal.

What a model writes may be what somebody else wrote into a file or a web page: an escape sequence in
it could retitle the window, move the cursor over what was printed, or have the terminal type for
its user.  So characters that are to be seen are let through, with line ends and tabs, and every
other one is shown as a sign.
"""

from __future__ import annotations

import re
import unicodedata

# Joiners within a word or an emoji, which show nothing and do nothing by themselves.
_KEPT = {"\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}
_TO_LOOK_AT = re.compile(r"[^\x20-\x7e\n\t]")
_PICTURES = 0x2400
_DELETE = 0x7F


def clean(text: str) -> str:
    """The text without control characters; of any length, in any pieces."""
    return _TO_LOOK_AT.sub(_shown, text.replace("\r\n", "\n"))


def one_line(text: str, most: int = 200) -> str:
    """The text in one line of at most so many characters."""
    words = " ".join(clean(text).split())
    return words if len(words) <= most else words[: most - 1] + "…"


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable() or character in _KEPT or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if code < ord(" "):
        return chr(_PICTURES + code)
    return "\N{SYMBOL FOR DELETE}" if code == _DELETE else "\N{REPLACEMENT CHARACTER}"
