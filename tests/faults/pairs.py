"""Two questions to one project at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.fake_claude import overlaps
from tests.faults.environment import Ground, ask, fresh
from tests.faults.report import Row
from tests.patience import PATIENCE_S

SETTINGS: dict[str, str] = {}
AT_ONCE = 3


def run(ground: Ground, row: Row, count: int) -> None:
    """Every pair is answered, one after the other, and the model then knows both questions."""
    begun = len(ground.entries("overlap"))

    def pair(number: int) -> None:
        dice = ground.dice("pair", number)
        project, gate = f"p{number}", threading.Barrier(2)
        # Half of the pairs are the very first questions of their project.
        known = dice.random() < 0.5
        if known:
            ask(ground.server, "before", project)

        def one(name: str) -> str:
            text = f"[[words {dice.randrange(1, 30)}]] [[delay 5]] {name}"
            gate.wait(PATIENCE_S)
            return ask(ground.server, text, project, streaming=dice.random() < 0.5)

        with ThreadPoolExecutor(2) as both:
            ends = list(both.map(one, ("left", "right")))
        for end in ends:
            row.saw(end)
            row.check(end == "answered", f"pair {number}: one ended with {end!r}")
        client = fresh(ground.server)
        context = client.ask("[[count]] and?", project).json().get("message", "")
        client.close()
        questions = 4 if known else 3
        seen = context.startswith(f"I see {questions} questions")
        row.check(seen and "left" in context and "right" in context, f"pair {number}: {context!r}")
        row.did()

    ground.each(pair, count, AT_ONCE)
    found = len(overlaps(ground.log)) + len(ground.entries("overlap")) - begun
    row.facts["overlaps"] = found
    row.check(found == 0, f"{found} turns of one session ran at the same time")
    left = ground.settled()
    row.check(left is None, f"after all pairs: {left}")
