"""Transcripts travel: what a turn added goes into the store, and comes where it is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cowork.claude.transcript import Transcripts
from cowork.model import Claim, Project, Session, TranscriptState
from cowork.turns.transcript_sync import TranscriptSync
from tests.unit.turns.other_workers import Hub

P = Project("", "p")
ID = "51d7c112-a28b-4e39-bea4-6b9cb4fcb8d7"
SESSION = Session(P, ID, "/work", datetime.now(UTC), datetime.now(UTC))
CLAIM = Claim(P, 1)


class Machine:
    """A folder of the CLI's own, and what keeps it in step with the store."""

    def __init__(self, folder, others, limit=10_000):
        self.file = folder / "projects" / "-work" / f"{ID}.jsonl"
        self.sync = TranscriptSync(others, Transcripts(folder), limit)

    def say(self, *lines):
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def save(self):
        self.sync.save(SESSION, CLAIM)

    def restore(self):
        self.sync.restore(SESSION)
        return self.file.read_text() if self.file.exists() else None


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def here(hub, tmp_path):
    return Machine(tmp_path / "here", hub.join("here"))


@pytest.fixture
def there(hub, tmp_path):
    return Machine(tmp_path / "there", hub.join("there"))


def test_it_is_there_where_it_was_not(here, there, hub):
    here.say("one", "two")
    here.save()
    here.say("three")
    here.save()
    assert hub.transcripts[ID] == b"one\ntwo\nthree\n"
    assert there.restore() == "one\ntwo\nthree\n"
    assert there.file.stat().st_mode & 0o777 == 0o600
    assert there.file.parent.stat().st_mode & 0o777 == 0o700


def test_it_goes_to_and_fro(here, there):
    here.say("one")
    here.save()
    there.restore()
    there.say("two")
    there.save()
    assert here.restore() == "one\ntwo\n"
    here.say("three")
    here.save()
    assert there.restore() == "one\ntwo\nthree\n"


def test_half_a_line_waits_for_its_end(here, hub):
    here.say("one")
    with here.file.open("a") as file:
        file.write("tw")
    here.save()
    assert hub.transcripts[ID] == b"one\n"
    with here.file.open("a") as file:
        file.write("o\n")
    here.save()
    assert hub.transcripts[ID] == b"one\ntwo\n"


def test_one_that_went_another_way_is_replaced(here, there, hub):
    here.say("one")
    here.save()
    there.restore()
    there.say("what nobody was told")  # its machine was cut off
    here.say("two", "three")
    here.save()
    assert there.restore() == "one\ntwo\nthree\n"
    # And one that is longer, too.
    there.say("four")
    here.file.write_text("one\nTWO\nthree\nfour\nfive\n")
    here.save()
    assert hub.transcripts[ID] == b"one\nTWO\nthree\nfour\nfive\n"
    assert there.restore() == "one\nTWO\nthree\nfour\nfive\n"


def test_what_is_there_is_not_written_again(here, there):
    here.say("one")
    here.save()
    there.restore()
    there.say("more")
    before = there.file.stat().st_ino
    assert there.restore() == "one\nmore\n"
    assert there.file.stat().st_ino == before


def test_one_that_grows_too_long_travels_no_more(hub, tmp_path, there):
    here = Machine(tmp_path / "here", hub.join("here"), limit=10)
    here.say("one")
    here.save()
    here.say("much too long")
    here.save()
    assert hub.states[ID].size == TranscriptState.GIVEN_UP
    assert hub.transcripts[ID] == b""
    here.say("more")
    here.save()
    assert hub.transcripts[ID] == b""
    assert there.restore() is None


def test_what_cannot_be_used_is_not_written(here, there, hub):
    here.say("one")
    here.save()
    hub.transcripts[ID] = b"another's\n"
    assert there.restore() is None
    hub.transcripts[ID] = None  # encrypted with another key
    assert there.restore() is None


def test_a_store_that_is_away_fails_nothing_and_is_made_up_for(here, there, hub):
    here.say("one")
    here.save()
    hub.away = True
    here.say("two")
    here.save()
    assert there.restore() is None
    hub.away = False
    here.say("three")
    here.save()
    assert there.restore() == "one\ntwo\nthree\n"


def test_a_link_is_neither_read_nor_followed(here, there, hub, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    here.file.parent.mkdir(parents=True)
    here.file.symlink_to(secret)
    here.save()
    assert ID not in hub.transcripts
    here.file.unlink()
    here.say("one")
    here.save()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "there" / "projects").mkdir(parents=True)
    (tmp_path / "there" / "projects" / "-work").symlink_to(elsewhere)
    there.restore()
    assert list(elsewhere.iterdir()) == []
    (tmp_path / "there" / "projects" / "-work").unlink()
    there.file.parent.mkdir()
    there.file.symlink_to(secret)
    assert there.restore() == "one\n"
    assert secret.read_text() == "secret\n"


def test_what_is_no_sessions_id_is_no_files_name(here, hub, tmp_path):
    hub.transcripts["../../x"] = b"one\n"
    hub.states["../../x"] = TranscriptState(4, "")
    here.sync.restore(replace(SESSION, id="../../x"))
    assert not list(tmp_path.rglob("x*"))
