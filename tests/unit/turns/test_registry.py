"""Turns can be asked for by their owner for a while, and made once however often they are asked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cowork.errors import IdempotencyMismatch, TurnExpired, TurnNotFound
from cowork.events import Done, Token
from cowork.model import Project, TurnKey
from cowork.stores.memory.store import MemoryStore
from cowork.turns import retention as ended_turns
from cowork.turns.outcome import TurnOutcome
from cowork.turns.question import Question
from cowork.turns.records import to_record
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.turn import Turn
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.turns.other_workers import Hub


def new_turn(owner="", kind=Turn):
    return kind(Project(owner, "p"), Question("why?"))


def kept(turns, owner="", key=None, kind=Turn):
    """A turn that these turns know of, and that tells them of its end."""

    def start():
        turn = new_turn(owner, kind)
        turn.on_end(turns.on_turn_ended)
        return turn

    return turns.get_or_create(key, start)[0]


def end(turn):
    turn.finish(Done(success=True, message="answer"))
    return turn


class HeavyTurn(Turn):
    """A turn whose log is said to take a hundred mebibytes."""

    @property
    def size(self):
        return 100 * 2**20


@pytest.mark.parametrize("kind", [Turn, HeavyTurn])
def test_fault_s4_one_owners_many_turns_cost_no_other_its_own(monkeypatch, kind):
    monkeypatch.setattr(ended_turns, "COUNT_LIMIT", 2 if kind is Turn else 100)
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    key = TurnKey("me", "k", "digest")
    mine = end(kept(turns, "me", key))
    theirs = [end(kept(turns, "other", kind=kind)) for _ in range(9)]
    assert turns.get("me", mine.id) is mine
    assert kept(turns, "me", key) is mine
    assert turns.get("other", theirs[-1].id) is theirs[-1]
    with pytest.raises(TurnExpired):
        turns.get("other", theirs[0].id)


def test_a_running_turn_is_found_by_its_owner_however_long_it_runs():
    turns = TurnRegistry(store=MemoryStore(), retention=0.0)
    turn = kept(turns, "me")
    assert turns.get("me", turn.id) is turn


def test_an_ended_turn_is_found_while_it_is_kept():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    turn = end(kept(turns))
    assert turns.get("", turn.id) is turn
    assert list(turn.read(0, time.monotonic())) == [turn.done]


def test_a_turn_of_another_worker_whose_end_is_here_already_is_that_end():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    ended = end(kept(turns))
    late = RemoteTurn(ended.project, ended.question, holder="another", turn_id=ended.id)
    assert turns.insert_remote(late) is ended


def test_a_turn_that_never_was_is_not_found():
    with pytest.raises(TurnNotFound):
        TurnRegistry(store=MemoryStore(), retention=60.0).get("", "no-such-turn")


def test_a_turn_that_is_kept_no_longer_has_expired():
    turns = TurnRegistry(store=MemoryStore(), retention=0.05)
    turn = end(kept(turns))
    wait_for(lambda: expired(turns, "", turn.id), what="the turn's expiry")


def expired(turns, owner, turn_id):
    try:
        turns.get(owner, turn_id)
    except TurnExpired:
        return True
    return False


@pytest.mark.parametrize("retention", [60.0, 0.0])
def test_anothers_turn_is_not_found_whether_it_is_kept_or_not(retention):
    turns = TurnRegistry(retention, MemoryStore())
    turn = end(kept(turns, "me"))
    for other in ("you", "", "ME"):
        with pytest.raises(TurnNotFound):
            turns.get(other, turn.id)


def test_an_expired_turn_gives_its_memory_back():
    turns = TurnRegistry(store=MemoryStore(), retention=0.0)
    turn = kept(turns)
    turn.append([Token("x" * 3_000_000)])
    end(turn)
    with pytest.raises(TurnExpired):
        turns.get("", turn.id)
    assert turn.size == 0
    assert not turns._ended._sizes


def test_the_oldest_of_too_many_ended_turns_expire_first():
    turns = TurnRegistry(store=MemoryStore(), retention=600.0)
    first, second = end(kept(turns)), end(kept(turns))
    running = kept(turns)
    for _ in range(ended_turns.COUNT_LIMIT - 2):
        end(kept(turns))
    assert turns.get("", first.id) is first
    end(kept(turns))
    assert expired(turns, "", first.id)
    assert turns.get("", second.id) is second
    assert turns.get("", running.id) is running
    turns.close()


def test_the_oldest_of_too_many_bytes_expire_first():
    turns = TurnRegistry(store=MemoryStore(), retention=600.0)
    heavy = [end(kept(turns, kind=HeavyTurn)) for _ in range(3)]
    assert expired(turns, "", heavy[0].id)
    assert turns.get("", heavy[1].id) is heavy[1]
    assert turns.get("", heavy[2].id) is heavy[2]


KEY = TurnKey("me", "k1", "digest")


def test_a_key_gives_the_turn_that_it_made_before():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    turn, replayed = turns.get_or_create(KEY, lambda: new_turn("me"))
    assert not replayed
    assert turns.get_or_create(KEY, lambda: pytest.fail("made twice")) == (turn, True)


def test_a_key_gives_its_turn_after_the_end_too():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    turn = end(kept(turns, "me", KEY))
    assert turns.get_or_create(KEY, lambda: pytest.fail("made twice")) == (turn, True)


def test_a_key_with_another_body_is_a_mismatch():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    turn = kept(turns, "me", KEY)
    with pytest.raises(IdempotencyMismatch):
        turns.get_or_create(TurnKey("me", "k1", "another"), lambda: pytest.fail("made"))
    assert turns.get_or_create(KEY, lambda: pytest.fail("made twice")) == (turn, True)


@pytest.mark.parametrize(
    "other", [TurnKey("you", "k1", "digest"), TurnKey("me", "k2", "digest"), None]
)
def test_another_key_makes_a_turn_of_its_own(other):
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    turn = kept(turns, "me", KEY)
    second, replayed = turns.get_or_create(other, lambda: new_turn("me"))
    assert second is not turn
    assert not replayed


def test_without_a_key_every_question_is_a_turn():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    assert kept(turns) is not kept(turns)


def test_an_expired_key_makes_a_new_turn_even_with_another_body():
    turns = TurnRegistry(store=MemoryStore(), retention=0.0)
    turn = end(kept(turns, "me", KEY))
    second, replayed = turns.get_or_create(TurnKey("me", "k1", "another"), lambda: new_turn("me"))
    assert second is not turn
    assert not replayed


def test_a_turn_that_could_not_be_made_leaves_its_key_free():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)

    found, _ = turns.get_or_create(KEY, lambda: new_turn("me"))
    assert turns.get_or_create(KEY, lambda: pytest.fail("made twice")) == (found, True)
    with pytest.raises(TurnNotFound, match="refused"), turns.rejecting(found):
        raise TurnNotFound("refused")
    assert found.error.message == "refused"
    turn, replayed = turns.get_or_create(KEY, lambda: new_turn("me"))
    assert not replayed
    assert turns.get("me", turn.id) is turn


def test_of_ten_equal_questions_at_once_one_makes_the_turn():
    turns, made = TurnRegistry(store=MemoryStore(), retention=60.0), []
    gate = threading.Barrier(10)

    def start():
        made.append(new_turn("me"))
        return made[-1]

    def ask(_):
        gate.wait(PATIENCE_S)
        return turns.get_or_create(KEY, start)

    with ThreadPoolExecutor(10) as threads:
        found = list(threads.map(ask, range(10)))
    assert len(made) == 1
    assert {turn.id for turn, _ in found} == {made[0].id}
    assert sum(replayed for _, replayed in found) == 9


def test_closing_lets_go_of_every_log():
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    turn = kept(turns)
    turn.append([Token("x" * 3_000_000)])
    end(turn)
    turns.close()
    assert turn.size == 0


def test_the_turns_of_a_deleted_project_are_gone_as_if_expired_and_nobody_elses(monkeypatch):
    turns = TurnRegistry(store=MemoryStore(), retention=60.0)
    key = TurnKey("", "k", "digest")
    mine, running, bare = end(kept(turns, key=key)), kept(turns), kept(turns)
    late = kept(turns)
    assert bare.keep_end_only() is True
    end(bare)
    theirs = end(kept(turns, "other"))
    turns.forget_project(Project("", "p"), [late])
    for turn in (mine, late):
        with pytest.raises(TurnExpired):
            turns.get("", turn.id)
    assert turns.get("", running.id) is running
    assert turns.get("", bare.id) is bare
    assert turns.get("other", theirs.id) is theirs
    assert kept(turns, key=key) is not mine
    # What is counted is what is there.
    end(late)
    end(running)
    monkeypatch.setattr(ended_turns, "COUNT_LIMIT", 3)
    end(kept(turns))
    assert turns.get("", running.id) is running
    end(kept(turns))
    with pytest.raises(TurnExpired):
        turns.get("", bare.id)
    turns.close()


def test_a_key_whose_turn_is_accepted_while_the_store_is_asked_finds_it():
    class Racing:
        """Another thread accepts the turn between our look at what is here and at the store."""

        others, accepted = None, None

        def find_by_idempotency_key(self, owner, key):
            del owner, key
            if self.accepted is not None:
                return None
            self.accepted = Turn(project, Question("why?"))
            turns.get_or_create(key_, lambda: self.accepted)
            return self.accepted.id, key_.digest

        def turn(self, owner, turn_id):
            del owner, turn_id
            return to_record(self.accepted, "us"), None

    project, key_ = Project("", "p"), TurnKey("", "k", "d")
    store = Racing()
    turns = TurnRegistry(60.0, store, "us")
    found, replayed = turns.get_or_create(key_, lambda: Turn(project, Question("again")))
    assert replayed
    assert found is store.accepted


def test_a_turn_that_ends_while_two_take_it_out_of_the_store_is_known_to_have_ended():
    class Racing:
        """Somebody else reads the turn while we do; and then its worker ends it."""

        others = Hub().join("us")
        looks = 0

        def turn(self, owner, turn_id):
            self.looks += 1
            if self.looks == 1:
                turns.get(owner, turn_id)
            return ended if self.looks > 2 else running

    theirs = new_turn("me")
    running = to_record(theirs, "another"), None
    ended = to_record(end(theirs), "another", TurnOutcome(theirs.done, None)), None
    turns = TurnRegistry(60.0, Racing(), "us")
    found = turns.get("me", theirs.id)
    turns.remote.refresh_all()
    assert found.done is not None
    turns.close()
