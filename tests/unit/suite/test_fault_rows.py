"""Every fault that was found by review and by use has a test that bears its number."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.serving import ROOT

ROWS = {
    "s1": "one owner's turn starts a turn in another owner's process",
    "s2": "what one owner has the model remember stands in another owner's prompt",
    "s3": "a small body makes much work or a large refusal",
    "s4": "what is kept for turns, projects and messages has no total",
    "s5": "bodies that are not finished and replies that are not read have no total",
    "s6": "root makes folders through a link of the CLI's user",
    "s7": "an upstream's flood takes memory or the event loop",
    "s8": "any key makes the login that everybody's history is delivered with",
    "s9": "one owner keeps every process from the others",
    "s10": "small doors: files of others, undecoded bodies, pages, skills, limits of the proxy",
    "t1": "a turn never ends because something raised at its end",
    "t2": "an answer is given to another question",
    "t3": "a session that the model refuses blocks its project",
    "t4": "a line that is too long ends a turn that does not need it",
    "t5": "descriptors, greenlets and processes are left at the end of a process",
    "t6": "costs are counted again when a session is resumed",
    "t7": "a workspace is deleted under a process or a session",
    "t8": "the CLI takes another session id and nobody notices",
    "t9": "a transcript that was not written is not missed",
    "t10": "noise on a line hides what else is on it",
    "t11": "a slow start has no setting",
    "t12": "a CLI that is replaced, removed or broken is not noticed",
    "t13": "a repeated chat message is refused though it was stored",
    "t14": "several workers are taken for one",
    "t15": "a check is never called",
    "w1": "readers of the founding document's stream break on ours",
    "w2": "what fills a silence is an empty message to some clients",
    "w3": "a POST that is repeated asks again",
    "w4": "a proxy compresses a stream and holds it back",
    "w5": "frames are described nowhere, and a resume loses some",
    "w6": "a body with a mark, in another encoding or compressed",
    "w7": "a preflight refuses headers and methods, or a page cannot read ours",
    "w8": "times that the clients of the founding document do not read",
    "w9": "an EventSource cannot send a key",
    "w10": "the OpenAPI document does not say what is so",
    "w11": "a browser does not get to where a key can be typed in",
    "w12": "a proxy's page in HTML, and a reload that requests wait for",
    "n1": "the demo asks whatever server has its port",
    "n2": "no page can call the demo, and nothing says why",
    "n3": "the suite is silent, red for its neighbours, and leaves processes",
    "n4": "the package cannot be installed, and has no command",
    "n5": "the start says neither where it is nor whether it is logged in",
    "n6": "misspelt settings and broken files pass in silence",
    "n7": "what differs from the FastAPI service is written nowhere",
    "n8": "an old Python, a taken port and a slow network are told badly",
}


@cache
def named() -> frozenset[str]:
    """The rows that a test function is named after."""
    files = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    found = (re.findall(r"(?m)^ *def test_fault_([nstw]\d+)_", text) for text in files)
    return frozenset(row for rows in found for row in rows)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_test(row):
    assert row in named(), ROWS[row]


def test_no_test_is_named_after_a_row_that_is_not_there():
    assert named() <= ROWS.keys()
