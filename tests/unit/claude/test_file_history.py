"""The backups of a session are another session's too, and nothing else is."""

from __future__ import annotations

import os

import pytest

from cowork.claude import file_history
from cowork.claude.file_history import FileHistories
from tests.unit.runtime.test_unix_user import as_root, cli_user

OLD = "51d7c112-a28b-4e39-bea4-6b9cb4fcb8d7"
NEW = "51d7c112-a28b-4e39-bea4-6b9cb4fcb8d8"


def keep(config):
    """The folder of the old session's, with two of them."""
    folder = config / "file-history" / OLD
    folder.mkdir(parents=True)
    (folder / "a@v1").write_bytes(b"x" * 3_000_000)
    (folder / "b@v2").write_text("two")
    (folder / "b@v2").chmod(0o4755)
    os.utime(folder / "b@v2", ns=(1_000_000_007, 2_000_000_009))
    return folder


@pytest.fixture
def backups(tmp_path):
    return keep(tmp_path)


def test_they_are_copied_with_their_times_and_rights(backups, tmp_path):
    FileHistories(tmp_path).copy(OLD, NEW)
    copied = backups.with_name(NEW)
    assert {each.name for each in copied.iterdir()} == {"a@v1", "b@v2"}
    assert (copied / "a@v1").read_bytes() == (backups / "a@v1").read_bytes()
    found, was = (copied / "b@v2").stat(), (backups / "b@v2").stat()
    # By these the CLI tells whether a file is still what its backup is.
    assert (found.st_size, found.st_mtime_ns) == (was.st_size, was.st_mtime_ns)
    assert found.st_mode & 0o7777 == 0o755
    assert found.st_ino != was.st_ino
    assert copied.stat().st_mode & 0o777 == 0o700


def test_where_there_are_none_none_are_made(tmp_path):
    FileHistories(tmp_path / "absent").copy(OLD, NEW)
    FileHistories(tmp_path).copy(OLD, NEW)
    (tmp_path / "file-history").mkdir()
    FileHistories(tmp_path).copy(OLD, NEW)
    assert list((tmp_path / "file-history").iterdir()) == []


def test_t26_links_and_what_is_no_file_are_left(backups, tmp_path):
    (tmp_path / "secret").write_text("theirs")
    (backups / "link@v1").symlink_to(tmp_path / "secret")
    os.mkfifo(backups / "pipe@v1")
    (backups / "folder@v1").mkdir()
    FileHistories(tmp_path).copy(OLD, NEW)
    assert {each.name for each in backups.with_name(NEW).iterdir()} == {"a@v1", "b@v2"}


def test_t26_a_link_in_the_place_of_a_folder_is_not_followed(backups, tmp_path):
    backups.rename(tmp_path / "elsewhere")
    backups.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=OLD):
        FileHistories(tmp_path).copy(OLD, NEW)
    assert not backups.with_name(NEW).exists()


def test_what_is_there_is_not_written_over(backups, tmp_path):
    backups.with_name(NEW).mkdir()
    with pytest.raises(FileExistsError):
        FileHistories(tmp_path).copy(OLD, NEW)


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILES", 1), ("MAX_BYTES", 100)])
def test_too_many_are_not_copied_at_all(limit, value, backups, tmp_path, monkeypatch):
    monkeypatch.setattr(file_history, limit, value)
    FileHistories(tmp_path).copy(OLD, NEW)
    assert not backups.with_name(NEW).exists()


@as_root
def test_they_are_the_clis_users(shared):
    user = cli_user()
    backups = keep(shared / "config")
    for path in (shared / "config", backups.parent, backups, *backups.iterdir()):
        os.chown(path, user.uid, user.gid)
    FileHistories(shared / "config", user).copy(OLD, NEW)
    copied = backups.with_name(NEW)
    assert {each.stat().st_uid for each in (copied, *copied.iterdir())} == {user.uid}
