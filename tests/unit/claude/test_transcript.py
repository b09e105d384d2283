"""A turn is in the transcript when that has grown by whole lines."""

from __future__ import annotations

import os

import pytest

from cowork.claude.transcript import Transcripts, tail_of
from cowork.runtime import unix_user

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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can work as another user")
def test_a_transcript_is_written_and_read_with_the_rights_of_its_user(shared):
    user = unix_user.lookup_cli_user("nobody")
    config = shared / "config"
    config.mkdir()
    os.chown(config, user.uid, user.gid)
    found = Transcripts(config, user)
    found.write("/work", ID, b"one\n")
    file = config / "projects" / "-work" / f"{ID}.jsonl"
    for path, mode in ((file, 0o600), (file.parent, 0o700), (file.parent.parent, 0o700)):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (user.uid, mode)
    assert found.read("/work", ID, 0, 100)[1] == b"one\n"
    # What root alone may read is not read for it, and where root alone may write nothing is written.
    os.chown(file, 0, 0)
    with pytest.raises(PermissionError):
        found.read("/work", ID, 0, 100)
    os.chown(file.parent, 0, 0)
    with pytest.raises(PermissionError):
        found.write("/work", ID, b"two\n")


def test_whole_lines_are_read_behind_a_place(tmp_path):
    found = Transcripts(tmp_path)
    found.write("/work", ID, b"one\ntwo\nthree\nhalf")
    assert found.read("/work", ID, 0, 100)[1] == b"one\ntwo\nthree\n"
    assert found.read("/work", ID, 4, 6)[1] == b"two\n"
    assert found.read("/work", ID, 4, 0) == (tail_of(b"one\n"), b"")
    assert found.read("/work", ID, 8, 0)[0] == tail_of(b"one\ntwo\n")
