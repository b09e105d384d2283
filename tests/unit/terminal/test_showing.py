"""How things are shown: figures, tables, tool calls, and Markdown while it is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cowork.client import ToolResult
from cowork.terminal.figures import ago, clock, money, plural, size, span
from cowork.terminal.live import finished
from cowork.terminal.table import table
from cowork.terminal.tools import call_line, described, result_lines, whole_call


def test_figures_are_as_people_read_them():
    assert [span(s) for s in (0.26, 9.9, 12, 61, 3700, 90000)] == [
        "0.3 s",
        "9.9 s",
        "12 s",
        "1 min",
        "1 h",
        "1 d",
    ]
    assert [clock(s) for s in (298.7, 0, -3)] == ["4:58", "0:00", "0:00"]
    assert [money(usd) for usd in (0, 0.0012, 1.234, None)] == ["$0.00", "$0.0012", "$1.23", ""]
    assert [size(b) for b in (17, 2048, 164215808, 2**31, None)] == [
        "17 B",
        "2 KiB",
        "157 MiB",
        "2.0 GiB",
        "",
    ]
    assert [plural(n, "turn") for n in (0, 1, 2)] == ["0 turns", "1 turn", "2 turns"]
    assert ago((datetime.now(UTC) - timedelta(minutes=5)).isoformat()) == "5 min ago"


ROWS = [
    {"project": "short", "state": "idle", "cost": "$0.10"},
    {"project": "a project with a long name", "state": "busy", "cost": "$10.00"},
]


@pytest.mark.parametrize("width", [80, 40, 30, 20, 12, 5])
def test_a_table_fits_and_cuts_names_alone(width):
    lines = str(table(["project", "state", "cost"], ROWS, width, right=["cost"])).splitlines()
    assert all(len(line) <= width for line in lines)
    if width >= 30:
        assert [
            line.endswith(cost) for line, cost in zip(lines[1:], ("$0.10", "$10.00"), strict=True)
        ] == [True, True]


def test_names_of_wide_characters_are_cut_by_what_they_take():
    rows = [{"project": "日本語のとても長い名前", "state": "idle"}]
    (_, line) = str(table(["project", "state"], rows, 20)).splitlines()
    assert line == "日本語のとて…  idle"


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        ("Bash", {"command": "ls\n-la"}, "• Run  ls -la"),
        ("Grep", {"pattern": "x", "path": "src"}, "• Search  x in src"),
        ("mcp__git__log", {"repo": "here"}, "• log (git)  here"),
        ("New", {}, "• New  "),
        ("Bash", {"command": 3}, "• Run  3"),
    ],
)
def test_a_call_is_a_line(name, given, line):
    assert str(call_line(name, given, 80)) == line
    assert len(str(call_line("Bash", {"command": "x" * 200}, 40))) == 40


def test_a_failure_shows_its_last_words():
    def lines(content, took=5.0):
        return [str(each) for each in result_lines(ToolResult(1, {}, "i", content, True, took), 20)]

    assert lines("Exit code 7\none\ntwo\n\nthree\nfour") == [
        "  failed, exit 7",
        "  two",
        "  three",
        "  four",
    ]
    assert lines("Permission denied by rule")[0] == "  not allowed"
    assert lines([{"type": "text", "text": "no"}]) == ["  failed", "  no"]
    fine = ToolResult(1, {}, "i", "x", False, 2400.0)
    assert [str(each) for each in result_lines(fine, 80)] == ["  2.4 s"]


def test_the_whole_of_a_call_is_shown_before_it_is_allowed():
    edit = {"file_path": "/a/b.py", "old_string": "x\ny", "new_string": "z"}
    assert [str(each) for each in whole_call("Edit", edit)] == ["/a/b.py", "- x", "- y", "+ z"]
    command = "a && \\\n  b"
    assert [str(each) for each in whole_call("Bash", {"command": command})] == [command]
    assert '"deep": 1' in str(*whole_call("Other", {"x": {"deep": 1}}))
    assert described("Edit", edit) == ("Edit", "/a/b.py")


ANSWER = "# Title\n\nSome *text*.\nMore of it.\n\n- one\n- two\n\n  inside\n\n```python\nx = 1\n\ny = 2\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nend"


@given(some.lists(some.integers(1, 40), min_size=1, max_size=60))
def test_blocks_that_are_printed_while_it_is_written_are_the_whole_answer(sizes):
    tail, printed, at = "", [], 0
    for size_ in sizes:
        tail, at = tail + ANSWER[at : at + size_], at + size_
        length = finished(tail)
        printed.append(tail[:length])
        tail = tail[length:]
    assert "".join(printed) + tail == ANSWER[:at]
    code = [block for block in printed if "```python" in block]
    assert all(block.count("```") == 2 for block in code), "a block is printed when it is whole"
