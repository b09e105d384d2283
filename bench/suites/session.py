"""Whether a session's later turns stay as fast as its first ones."""

from __future__ import annotations

from statistics import median

from bench.cli import Cli, Model, Resident, Timing, account
from bench.client import await_spare, serve, stream
from bench.figures import Measure
from bench.setup import Report, Setup

QUESTION = "[[words 20]]"
SHOWN = (1, 2, 10, 50, 200)
# One turn says little: each figure is the median of this many from there on.
AROUND = 5
BAR = 1.5


def run(setup: Setup) -> Report:
    """The same session through the server and by hand, turn by turn."""
    turns = setup.pick(max(SHOWN), 20) + AROUND - 1
    with Model() as model:
        cli = Cli(setup.real(), model, setup.folder / "by-hand")
        with (
            serve(setup, "session", setup.real(), **account(model)) as server,
            Resident(cli) as resident,
        ):
            await_spare(server)
            found = [
                (resident.ask(QUESTION), stream(server, "long", QUESTION)) for _ in range(turns)
            ]
    report = Report(details={"turns": found})
    _tell(report, found)
    return report


def _tell(report: Report, found: list[tuple[Timing, Timing]]) -> None:
    rows = [["turn", "server, first token ms", "by hand", "server's overhead"]]
    last = len(found) - AROUND + 1
    shown = [*(turn for turn in SHOWN if turn < last), last]
    for turn in shown:
        by_hand, served = _at(found, turn)
        figures = (f"{served:.1f}", f"{by_hand:.1f}", f"{served - by_hand:.1f} ms")
        rows.append([str(turn), *figures])
    report.show(rows)
    by_hand, served = (
        late / early for late, early in zip(_at(found, last), _at(found, 2), strict=True)
    )
    report.measures = [
        Measure(
            f"first token of turn {last}, of turn 2's (by hand: {by_hand:.2f} x)",
            f"<= {BAR:g} x",
            f"{served:.2f} x",
            served <= BAR,
        )
    ]


def _at(found: list[tuple[Timing, Timing]], turn: int) -> tuple[float, float]:
    """By hand and served: ms to the first token, around that turn (from 1); the first is alone."""
    some = found[turn - 1 : turn - 1 + (AROUND if turn > 1 else 1)]
    return median(hand.first_ms for hand, _ in some), median(srv.first_ms for _, srv in some)
