"""T5: whatever is asked, the command line is the same and the question arrives as it is.

On the real CLI: `tests/e2e/test_hostile.py`.
"""

from __future__ import annotations

import json
import re
from uuid import UUID

from tests.attack.environment import seeded
from tests.contract.replies import JSON, send
from tests.fakes import Fakes
from tests.serving import Served

PIECES = [
    *("--help", "-h", "-p", "--", "--settings={}", "--mcp-config=/tmp/x", "--permission-mode=plan"),
    *("$(id)", "`id`", ";id", "|", "&&", "'", '"', "\\", "\n", "\r\n", "\t", "\0", "\x1b[31m", " "),
    *(
        "é",
        "👩‍👩‍👧‍👦",
        "\u2028",
        "\ufeff",
        "@/etc/passwd",
        "!ls",
        "# x",
        "{}",
        "]]",
        "[[",
        "%s",
        "%00",
    ),
]
QUESTIONS = 100


def test_t05_no_question_is_ever_an_option(logged: Served, fakes: Fakes) -> None:
    dice = seeded(5, "questions")
    asked = ["".join(dice.choices(PIECES, k=dice.randint(1, 6))) for _ in range(QUESTIONS)]
    asked = [each for each in asked if each.strip() and not each.lstrip().startswith("[[")]
    asked += ["--help", "-", "x" * 200_000, '--settings={"hooks":{}}']
    for number, question in enumerate(asked):
        # Many are the first question of a process of their own.
        project = f"p{number}" if number % 12 == 0 else "p"
        body = json.dumps({"project_name": project, "question": question}).encode()
        reply = send(logged, "POST", "/ask_question", body, JSON)
        assert reply.status_code == 200, (question, reply.text)
    assert fakes.asked == asked
    lines = {
        json.dumps([_without_id(word) for word in entry["argv"]])
        for entry in fakes.entries("start")
    }
    assert len(lines) == 1


def _without_id(word: str) -> str:
    """The argument, its UUID apart; every other word has to be the same each time."""
    found = re.fullmatch(r"(--session-id|--resume)=(.*)", word)
    if found is None:
        return word
    assert str(UUID(found[2])) == found[2]
    return found[1]
