"""Rows of facts under their names: figures are never cut, names are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

GAP = "  "
LEAST_NAME = 12
Row = Mapping[str, str]


def table(
    columns: Sequence[str],
    rows: Sequence[Row],
    width: int,
    *,
    right: Iterable[str] = (),
    colours: Mapping[str, str] | None = None,
) -> Text:
    """The rows as text.  The first column gives way where the width is short, then the last ones.

    `colours` are of words in the column `state`.
    """
    shown = list(columns)
    widths = {name: max(map(cell_len, [name, *(row[name] for row in rows)])) for name in shown}
    while len(shown) > 1 and _left(shown, widths, width) < min(widths[shown[0]], LEAST_NAME):
        shown.pop()
    widths[shown[0]] = max(1, min(widths[shown[0]], _left(shown, widths, width)))
    made = _line(shown, {name: name for name in shown}, widths, right)
    made.stylize("bold")
    for row in rows:
        line = _line(shown, row, widths, right)
        if colours and (style := colours.get(row.get("state", ""))):
            line.highlight_words([row["state"]], style)
        made.append("\n").append_text(line)
    return made


def _left(shown: Sequence[str], widths: Mapping[str, int], width: int) -> int:
    """What the other columns leave of the width for the first."""
    return width - sum(widths[name] + len(GAP) for name in shown[1:])


def _line(shown: Sequence[str], row: Row, widths: Mapping[str, int], right: Iterable[str]) -> Text:
    cells = [_cell(row[name], widths[name], is_right=name in right) for name in shown]
    return Text(GAP.join(cells).rstrip(), no_wrap=True, overflow="ellipsis")


def _cell(text: str, width: int, *, is_right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if is_right else text + " " * (width - length)
