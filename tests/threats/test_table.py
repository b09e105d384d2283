"""Every threat of the table has a test that bears its number."""

from __future__ import annotations

import re

from tests.serving import ROOT

THREATS = {
    1: "nobody calls without a key",
    2: "a page's simple request changes something",
    3: "a rebound name reads or asks",
    4: "a stranger's page reads replies",
    5: "a question becomes an option",
    6: "a question becomes a command, a skill's name too",
    7: "a question attaches a file",
    8: "a project brings along what is run",
    9: "a project's name leads out of the workspace",
    10: "one key sees what is another's",
    11: "the upstream's address is steered",
    12: "a secret is seen somewhere",
    13: "a tool reads the server's environment",
    14: "a text breaks out of its frame",
    15: "a body is too large or too strange",
    16: "a slow client holds others up",
    17: "many clients take all there is",
    18: "a tool that was talked into it gets at the server",
    19: "another user of the machine gets at the server",
    20: "a request means two things",
    21: "an upstream lies",
    22: "a retry asks twice",
    23: "a debugger is left on",
    24: "a dependency is too old",
    25: "an approval allows what nobody allowed",
    26: "a rewind restores what is not the session's own",
    27: "somebody says something to another's turn",
    28: "what a model writes, or another page does, acts in the console",
    29: "what a model or a server writes acts on a terminal, or a key is printed there",
    30: "figures are read by whom they are not for",
    31: "a client of another API gets what our own endpoints would not give",
    32: "a session is reached by guessing what was said in it",
}


def test_every_threat_has_its_test() -> None:
    named = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"(?m)^def (test_t\d\d_\w+)", path.read_text()):
            named |= {
                int(number)
                for number in re.findall(r"(?<![a-z0-9])t(\d\d)(?=_)", name.removeprefix("test_"))
            }
    assert named == THREATS.keys()
