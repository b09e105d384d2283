"""One question to the real CLI: through the server, and by hand."""

from __future__ import annotations

from statistics import median

from bench.cli import Cli, Model, Resident, Timing, account
from bench.client import await_spare, serve, stream
from bench.figures import Measure, Spread, short
from bench.server import Server
from bench.setup import Report, Setup

QUESTION = "[[words 20]]"
FRESH = "fresh claude -p"
BY_HAND = "resident, by hand"
LATER = "server, later turn"
SPARE = "server, new session"


def run(setup: Setup) -> Report:
    """Each round has one of each kind, and several of the two that are to be told apart."""
    rounds, later = setup.pick(12, 2), setup.pick(5, 3)
    found: dict[str, list[Timing]] = {kind: [] for kind in (FRESH, BY_HAND, LATER, SPARE)}
    with Model() as model:
        cli = Cli(setup.real(), model, setup.folder / "by-hand")
        with (
            serve(setup, "turns", setup.real(), **account(model)) as server,
            Resident(cli) as resident,
        ):
            resident.ask(QUESTION)
            stream(server, "later", QUESTION)
            for number in range(rounds):
                _round(cli, server, resident, found, number=number, later=later)
    report = Report(details=dict(found))
    _tell(report, found)
    return report


def _round(
    cli: Cli,
    server: Server,
    resident: Resident,
    found: dict[str, list[Timing]],
    *,
    number: int,
    later: int,
) -> None:
    found[FRESH].append(cli.fresh(QUESTION))
    await_spare(server)
    found[SPARE].append(stream(server, f"new {number}", QUESTION))
    await_spare(server)
    for _ in range(later):
        found[BY_HAND].append(resident.ask(QUESTION))
        found[LATER].append(stream(server, "later", QUESTION))


def _tell(report: Report, found: dict[str, list[Timing]]) -> None:
    fresh, by_hand = _first(found[FRESH]), _first(found[BY_HAND])
    rows = [["turn", "first token ms", "of fresh", "of by hand", "whole turn ms", "n"]]
    for kind, timings in found.items():
        first = Spread.of([timing.first_ms for timing in timings])
        whole = Spread.of([timing.whole_ms for timing in timings])
        ratios = (f"1/{fresh / first.median:.1f}", f"{first.median / by_hand:.2f} x")
        rows.append([kind, str(first), *ratios, str(whole), str(len(timings))])
    report.show(rows)
    later, new = _first(found[LATER]), _first(found[SPARE])
    slower = _whole(found[LATER]) - _whole(found[BY_HAND])
    print(f"overhead over the bare CLI: first token {later - by_hand:.1f} ms, turn {slower:.1f} ms")
    report.measures = [
        Measure(
            "first token of a later turn, of a resident process by hand",
            "<= 1.25 x or + 5 ms",
            f"{later / by_hand:.2f} x, + {later - by_hand:.1f} ms",
            later <= max(1.25 * by_hand, by_hand + 5.0),
        ),
        _share("first token of a later turn, of a fresh claude -p", later, fresh, 8),
        _share("first token of a new session with a spare, of a fresh claude -p", new, fresh, 5),
    ]


def _share(name: str, value: float, whole: float, bar: int) -> Measure:
    return Measure(name, f"<= 1/{bar}", f"1/{short(whole / value)}", value <= whole / bar)


def _first(timings: list[Timing]) -> float:
    return median(timing.first_ms for timing in timings)


def _whole(timings: list[Timing]) -> float:
    return median(timing.whole_ms for timing in timings)
