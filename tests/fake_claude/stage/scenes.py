"""The recorded material: lines of the real CLI with the changing values taken out.

A scene is a file of `../scenes`, one JSON object a line.  A line is either an event as 2.1.332
prints it, where a string `"$name"` stands for a value filled in at play time (a string or any
other JSON), or a cue `{"cue": NAME, ...}` for `turn.py`: what cannot be recorded, since it depends
on the question.

They were recorded with the official SDK's bundled CLI against a loopback stand-in for the model
API, with the environment the server gives; long lists and statistics are cut.
"""

# pathlib costs 10 ms at a start that takes 20.
# ruff: noqa: PTH100, PTH118, PTH120, PTH123

from __future__ import annotations

import os

from . import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scenes")
_loaded: dict[str, list[Line | dict[str, Any]]] = {}


class Line:
    """One event with its holes."""

    __slots__ = ("_end", "_pieces")

    def __init__(self, text: str) -> None:
        start, *rest = text.split('"$')
        pieces: list[tuple[str, str]] = []
        literal = start
        for part in rest:
            name, _, after = part.partition('"')
            pieces.append((literal, name))
            literal = after
        self._pieces, self._end = pieces, literal

    def fill(self, value: Callable[[str], str]) -> str:
        """The line without its line feed; `value` gives the JSON text of a name."""
        return "".join([text + value(name) for text, name in self._pieces]) + self._end


def load(name: str) -> list[Line | dict[str, Any]]:
    """The lines and cues of a scene, in order."""
    if name not in _loaded:
        with open(os.path.join(_FOLDER, f"{name}.jsonl"), encoding="utf-8") as file:
            _loaded[name] = [
                json_text.loads(text) if text.startswith('{"cue":') else Line(text)
                for text in file.read().split("\n")
                if text
            ]
    return _loaded[name]


def to_json(value: object) -> str:
    """JSON as the CLI writes it: raw UTF-8, but U+2028 and U+2029 escaped."""
    text = json_text.dumps_unescaped(value)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
