"""What the CLI keeps of a session is removed, and nothing else, whatever lies on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cowork.claude import session_files
from cowork.claude.session_files import PLACES, NotRemoved, SessionFiles
from tests.unit.runtime.test_unix_user import NOBODY, as_root, cli_user

ID = "51d7c112-a28b-4e39-bea4-6b9cb4fcb8d7"
OTHER = "51d7c112-a28b-4e39-bea4-6b9cb4fcb8d8"
TEMPORARY = f"claude-{os.geteuid()}"


def keep(folder: Path, session_id: str, uid: int | None = None) -> set[Path]:
    """All that there may be of a session; its topmost files and folders."""
    places = [folder / place.replace("*", "-ws") for place in PLACES]
    places.append(folder / "tmp" / f"claude-{os.geteuid() if uid is None else uid}" / "-ws")
    found = set()
    for place in places:
        deep = place / session_id / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "c.txt").write_text("said")
        (place / f"{session_id}.jsonl").write_text("said")
        (place / f"{session_id}-agent-{session_id}.json").write_text("said")
        found |= set(place.iterdir())
    return found


def files(folder: Path) -> SessionFiles:
    return SessionFiles(folder, [folder / "tmp", folder / "absent"])


def test_all_of_a_session_goes_and_nothing_of_another(tmp_path):
    theirs = keep(tmp_path, OTHER)
    mine = keep(tmp_path, ID) - theirs
    longer = tmp_path / "file-history" / f"{ID}0"
    longer.mkdir()
    assert len(mine) == 3 * (len(PLACES) + 1)
    files(tmp_path).remove(ID)
    assert not any(each.exists() for each in mine)
    assert all(each.exists() for each in theirs)
    assert longer.exists()
    files(tmp_path).remove(ID)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "*", "a/b", ID[:-1], ID.upper(), f"{ID}\n", "-" * 36]
)
def test_what_is_no_sessions_id_removes_nothing(name, tmp_path):
    theirs = keep(tmp_path, ID)
    with pytest.raises(NotRemoved, match="no session's id"):
        files(tmp_path).remove(name)
    assert all(each.exists() for each in theirs)


def test_t18_no_link_is_followed(tmp_path):
    precious = tmp_path / "precious"
    for each in (precious / ID, precious / "-ws" / ID):
        each.mkdir(parents=True)
        (each / "kept").write_text("x")
    config = tmp_path / "config"
    (config / "projects").mkdir(parents=True)
    # In the place of a place, of a directory's folder, of the session's own and of what is in it.
    (config / "file-history").symlink_to(precious)
    (config / "projects" / "-ws").symlink_to(precious)
    (config / "session-env").mkdir()
    (config / "session-env" / ID).symlink_to(precious)
    (config / "tasks" / ID).mkdir(parents=True)
    (config / "tasks" / ID / "deep").symlink_to(precious)
    temporary = config / "tmp"
    temporary.mkdir()
    (temporary / TEMPORARY).symlink_to(precious)
    with pytest.raises(NotRemoved, match="file-history: it is a link"):
        files(config).remove(ID)
    assert (precious / ID / "kept").exists()
    assert (precious / "-ws" / ID / "kept").exists()
    # The links of the session's own name are gone themselves.
    assert not (config / "session-env" / ID).is_symlink()
    assert not (config / "tasks" / ID).exists()


@as_root
def test_t18_a_temporary_folder_of_somebody_elses_is_left_alone(tmp_path):
    theirs = tmp_path / "tmp" / TEMPORARY / "-ws" / ID
    theirs.mkdir(parents=True)
    os.chown(tmp_path / "tmp" / TEMPORARY, NOBODY.pw_uid, NOBODY.pw_gid)
    files(tmp_path).remove(ID)
    assert theirs.exists()


@as_root
def test_t18_what_the_clis_user_may_not_remove_stays_and_is_told_of(shared):
    def own(path):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)

    keep(shared / "config", ID, NOBODY.pw_uid)
    for path in (shared / "config", *(shared / "config").rglob("*")):
        own(path)
    removed = SessionFiles(shared / "config", [shared / "config" / "tmp"], cli_user())
    roots = shared / "config" / "file-history" / ID / "roots"
    roots.mkdir(mode=0o755)
    (roots / "file").write_text("x")
    with pytest.raises(NotRemoved, match=r"file-history/.*Permission denied"):
        removed.remove(ID)
    assert (roots / "file").exists()
    left = [str(each) for each in (shared / "config").rglob(f"*{ID}*")]
    assert left == [str(roots.parent)]
    assert os.geteuid() == 0
    (roots / "file").unlink()
    own(roots)
    removed.remove(ID)
    assert not roots.parent.exists()


def test_a_removal_is_bounded_and_the_next_goes_on(tmp_path, monkeypatch):
    many = tmp_path / "tasks" / ID
    many.mkdir(parents=True)
    for number in range(50):
        (many / str(number)).touch()
    monkeypatch.setattr(session_files, "MAX_ENTRIES", 40)
    with pytest.raises(NotRemoved, match="too long"):
        files(tmp_path).remove(ID)
    assert 0 < len(list(many.iterdir())) < 50
    files(tmp_path).remove(ID)
    assert not many.exists()
    deep = tmp_path / "tasks" / ID / "/".join("d" * 70)
    deep.mkdir(parents=True)
    monkeypatch.setattr(session_files, "MAX_ENTRIES", 1000)
    with pytest.raises(NotRemoved, match="too deep"):
        files(tmp_path).remove(ID)


def test_a_removal_stops_with_the_server_and_lets_others_go_on_meanwhile(tmp_path, monkeypatch):
    many = tmp_path / "tasks" / ID
    many.mkdir(parents=True)
    for number in range(50):
        (many / str(number)).touch()
    monkeypatch.setattr(session_files, "SLICE_S", 0.0)
    stop: list[bool] = []
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 10:
            stop.append(True)

    monkeypatch.setattr(session_files.time, "sleep", nap)
    with pytest.raises(NotRemoved, match="stops"):
        files(tmp_path).remove(ID, unless=stop)
    assert many.exists()
