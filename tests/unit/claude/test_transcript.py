"""A turn is in the transcript when that has grown by whole lines."""

from __future__ import annotations

import pytest

from cowork.claude.transcript import Transcripts

ID = "51d7c112-a28b-4e39-bea4-6b9cb4fcb8d7"


@pytest.mark.parametrize(
    ("cwd", "name"),
    [
        # As 2.1.332 named them.
        ("/srv/t9/ws/short", "-srv-t9-ws-short"),
        ("/srv/t9/ws/ünï céd", "-srv-t9-ws--n--c-d"),
        ("/srv/a_b.c/\U0001f600", "-srv-a-b-c---"),
        (
            f"/srv/{'a' * 90}/{'b' * 100}/{'c' * 30}",
            f"-srv-{'a' * 90}-{'b' * 100}-{'c' * 30}"[:200] + "-dwsfww",
        ),
    ],
)
def test_a_transcript_is_found_by_its_directorys_name(cwd, name, tmp_path):
    folder = tmp_path / "projects" / name
    folder.mkdir(parents=True)
    found = Transcripts(tmp_path)
    assert found.size(cwd, ID) is None
    (folder / f"{ID}.jsonl").write_text("{}\n")
    assert found.size(cwd, ID) == 3


@pytest.mark.parametrize(
    ("before", "after", "lacks"),
    [
        (None, b"{}\n", False),
        (3, b"{}\n{}\n", False),
        (3, b"{}\n", True),
        (None, b"", True),
        (3, b"{}\n{", True),
        (6, b"{}\n", True),
        (None, None, False),
        (3, None, False),
    ],
)
def test_fault_t9_a_transcript_that_did_not_grow_by_whole_lines_lacks_a_turn(
    before, after, lacks, tmp_path
):
    file = tmp_path / "projects" / "-ws" / f"{ID}.jsonl"
    if after is not None:
        file.parent.mkdir(parents=True)
        file.write_bytes(after)
    assert Transcripts(tmp_path).lacks_turn("/ws", ID, before) is lacks
