"""What the server and each resident process of the real CLI take."""

from __future__ import annotations

from bench import proc
from bench.cli import Model, account
from bench.client import serve, stream
from bench.figures import Spread
from bench.setup import Report, Setup

QUESTION = "[[words 20]]"
MB = 1e6


def run(setup: Setup) -> Report:
    """A worker at rest, then with one resident process after another; PSS, in bytes."""
    count = setup.pick(6, 2)
    settings = {"COWORK_MAX_PROCESSES": "16", "COWORK_SPARE_PROCESSES": "0"}
    with (
        Model() as model,
        serve(setup, "memory", setup.real(), **settings, **account(model)) as server,
    ):
        worker = [proc.proportional_bytes(server.worker)]
        for number in range(count):
            for _ in range(2):
                stream(server, f"p{number}", QUESTION)
            worker.append(proc.proportional_bytes(server.worker))
        clis = [proc.proportional_bytes(pid) for pid in proc.children(server.worker)]
    report = Report(details={"worker": worker, "clis": clis})
    report.show(
        [
            ["process", "PSS MB"],
            ["worker at rest", f"{worker[0] / MB:.0f}"],
            [f"worker with {count} resident processes", f"{worker[-1] / MB:.0f}"],
            [f"each of {len(clis)} resident processes", str(Spread.of([b / MB for b in clis]))],
        ]
    )
    return report
