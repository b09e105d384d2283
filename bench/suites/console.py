"""The console in Chromium: its first paint, and what a long answer costs while it streams."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench import proc
from bench.cli import Model, account
from bench.client import serve
from bench.figures import Measure, Spread, short
from bench.server import ROOT
from bench.setup import Report, Setup
from cowork.web import console

DRIVER = Path(__file__).parent.parent / "console.mjs"
PLAYWRIGHT = ROOT / "tests" / "clients" / "node_modules" / "playwright-core" / "index.mjs"
LIMIT_S = 300.0
LONG_MS = 50
MOST_BYTES = 100_000
# The page paints its frame before any call; beyond this a script is in its way.
BAR_PAINT = 3.0


def run(setup: Setup) -> Report:
    """Paint page and baseline in turn; then one answer of many words."""
    words, paints = setup.pick(100_000, 5_000), setup.pick(7, 2)
    with (
        Model() as model,
        serve(setup, "console", setup.real(), **account(model)) as server,
    ):
        found = _drive(f"http://127.0.0.1:{server.port}", words, paints)
    report = Report(details=found)
    size = sum(
        len(gzip.compress(asset.content, 9, mtime=0))
        for name, asset in console.assets().items()
        if not name.endswith((".txt", ".ts"))
    )
    report.details["bytes"] = size
    _tell(report, found, words)
    report.measures = _measures(found, words, size)
    return report


def _drive(url: str, words: int, paints: int) -> dict[str, Any]:
    node, chromium = shutil.which("node"), shutil.which("chromium")
    if node is None or chromium is None or not PLAYWRIGHT.exists():
        raise RuntimeError(
            "it needs node, chromium and `npm ci --prefix tests/clients`: see CONTRIBUTING.md"
        )
    done = subprocess.run(
        proc.tied([node, str(DRIVER), chromium, str(PLAYWRIGHT), url, str(words), str(paints)]),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=LIMIT_S,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _tell(report: Report, found: dict[str, Any], words: int) -> None:
    paint = found["paint"]
    tasks = found["tasks"]
    report.show(
        [
            ["first contentful paint", "ms"],
            ["the console", str(Spread.of(paint["console"]))],
            ["a bare page of the same server", str(Spread.of(paint["bare"]))],
        ]
    )
    report.show(
        [
            [f"{words} words streamed", "by CPU", "by the clock"],
            [f"tasks of more than {LONG_MS} ms", *(str(tasks[kind]["long"]) for kind in _KINDS)],
            ["the longest task, ms", *(short(tasks[kind]["worst_ms"]) for kind in _KINDS)],
            ["main thread for a token, us", *(short(_per_token(tasks[k], found)) for k in _KINDS)],
        ]
    )


_KINDS = ("cpu", "clock")


def _per_token(kind: dict[str, float], found: dict[str, Any]) -> float:
    return kind["sum_ms"] * 1000 / float(found["tokens"])


def _measures(found: dict[str, Any], words: int, size: int) -> list[Measure]:
    cpu = found["tasks"]["cpu"]
    paint = Spread.of(found["paint"]["console"]).median / Spread.of(found["paint"]["bare"]).median
    streamed = f"console, {words} words streamed"
    return [
        Measure(
            "console: first contentful paint, of a bare page's",
            f"<= {BAR_PAINT:g} x",
            f"{short(paint)} x",
            paint <= BAR_PAINT,
        ),
        Measure(
            f"{streamed}: tasks of more than {LONG_MS} ms CPU",
            "0",
            f"{cpu['long']} (worst {short(cpu['worst_ms'])} ms)",
            cpu["long"] == 0,
        ),
        Measure(
            f"{streamed}: layout shift",
            "0.00",
            f"{found['shift']:.2f}",
            round(found["shift"], 2) == 0,
        ),
        Measure(
            "console: all of it gzipped, bytes",
            f"< {MOST_BYTES}",
            str(size),
            size < MOST_BYTES,
        ),
    ]
