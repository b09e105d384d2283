"""A turn is accepted when the store has it; its end waits, in order, for a store that is away."""

from __future__ import annotations

import pytest
import structlog.testing

from cowork.errors import AtCapacity, ClaudeFailed, StoreUnavailable, TurnInterrupted
from cowork.events import Done, Token
from cowork.history.chat_api import NoChatApi
from cowork.history.outbox import Outbox
from cowork.history.relay import Relay
from cowork.model import Project, TurnKey
from cowork.stores.encryption import Encryption
from cowork.stores.memory.store import MemoryStore
from cowork.stores.sqlite.store import SqliteStore
from cowork.turns import recorder as recorder_module
from cowork.turns.continuation import Continuation, beginning
from cowork.turns.outcome import TurnOutcome
from cowork.turns.question import Question
from cowork.turns.recorder import DuplicateKey, TurnRecorder
from cowork.turns.records import from_record
from cowork.turns.turn import Turn
from tests.unit.stores.durable_suite import waiting
from tests.unit.stores.store_suite import BIG, SMALL, P, Q, session, usage

KEY = TurnKey("", "k", "digest")


class Deaf:
    """A Chat API that is there and never reached, so that every message stays."""

    def add_message(self, message, bearer):
        raise AssertionError(f"nothing is to be sent here: {message} {bearer}")


class StillOutbox(Outbox):
    """Counts how often it is told to look, and never does."""

    def __init__(self, store, history):
        relay = Relay(store, history, lambda: None, holder="a")
        super().__init__(store, relay)
        self.woken = 0

    def wake(self):
        self.woken += 1


class Flaky(SqliteStore):
    """A store in a file that is away when it is told to be."""

    away = False
    unsure = False

    def _check(self):
        if self.away:
            fault = StoreUnavailable("away")
            fault.outcome_unknown = self.unsure
            raise fault

    def put_turn(self, *given):
        self._check()
        return super().put_turn(*given)

    def start_turn(self, *given):
        self._check()
        return super().start_turn(*given)

    def end_turn(self, end):
        self._check()
        return super().end_turn(end)


@pytest.fixture
def store(tmp_path):
    store = Flaky(tmp_path / "state.db", Encryption(tmp_path / "store.key"), holder="a")
    yield store
    store.close()


@pytest.fixture
def outbox(store):
    return StillOutbox(store, Deaf())


@pytest.fixture
def recorder(store, outbox):
    return TurnRecorder(store, outbox, holder="a", retention=600)


def turn(project=P, *, begun=True):
    made = Turn(project, Question("why?", user_id="u", message_type="@xo"))
    if begun:
        made.begin()
    return made


def end(recorder, ended, text="because", error=None, **more):
    assert ended.try_begin_finish()
    done = Done(success=error is None, message=text)
    kept = recorder.record_ended(ended, TurnOutcome(done, error), **more)
    ended.finish(done, error)
    return kept


def state(store, of):
    return store.turn(of.project.owner, of.id)[0].state


def test_a_turn_is_in_the_store_from_its_acceptance_to_its_end(store, outbox, recorder):
    first = turn()
    recorder.record_accepted(first, KEY)
    assert state(store, first) == "running"
    assert store.find_by_idempotency_key("", "k") == (first.id, "digest")
    assert store.next_message(P).id == f"{first.id}-question"
    first.append([Token("be"), Token("cause")])
    end(recorder, first)
    assert state(store, first) == "succeeded"
    assert waiting(store) == [f"{first.id}-question", f"{first.id}-answer"]
    assert outbox.woken == 2
    again = from_record(*store.turn("", first.id))
    assert again.read(0, 0)[:] == first.read(0, 0)[:]


def test_the_question_of_a_turn_that_waits_goes_when_it_begins_or_never_began(store, recorder):
    waits, left = turn(begun=False), turn(Q, begun=False)
    for each in (waits, left):
        each.set_queue_position(1)
        recorder.record_accepted(each)
    assert store.outbox_counts().waiting == 0
    waits.begin()
    recorder.record_started(waits)
    assert state(store, waits) == "running"
    assert store.next_message(P).id == f"{waits.id}-question"
    end(recorder, left, "", TurnInterrupted("stopped"))
    assert waiting(store, Q) == [f"{left.id}-question"]
    end(recorder, waits)
    assert waiting(store, P) == [f"{waits.id}-question", f"{waits.id}-answer"]


def test_fault_t13_an_empty_answer_is_not_sent(store, recorder):
    """The CLI answers `/compact` with nothing."""
    asked = turn()
    recorder.record_accepted(asked)
    end(recorder, asked, " \n", None)
    assert store.outbox_counts().waiting == 1


@pytest.mark.parametrize(
    ("error", "text", "status"),
    [
        (None, "whole", None),
        (TurnInterrupted("stop"), "half", "partial"),
        (ClaudeFailed("died"), "half", "failed"),
    ],
)
def test_an_answer_says_how_its_turn_ended(error, text, status, store, recorder):
    asked = turn()
    recorder.record_accepted(asked)
    end(recorder, asked, text, error)
    store.delete_message(store.next_message(P))
    answer = store.next_message(P)
    assert (answer.message, answer.type, answer.status) == (text, "agent", status)


def test_a_failure_without_a_text_has_no_answer(store, recorder):
    asked = turn()
    recorder.record_accepted(asked)
    end(recorder, asked, " ", ClaudeFailed("died"))
    assert waiting(store) == [f"{asked.id}-question"]


def test_without_a_chat_api_nothing_is_put_in_the_outbox(store):
    recorder = TurnRecorder(store, StillOutbox(store, NoChatApi()), holder="a", retention=600)
    asked = turn()
    recorder.record_accepted(asked)
    end(recorder, asked)
    assert store.outbox_counts().waiting == 0
    assert state(store, asked) == "succeeded"


def test_a_key_of_another_process_is_told(recorder):
    recorder.record_accepted(turn(), KEY)
    with pytest.raises(DuplicateKey):
        recorder.record_accepted(turn(), KEY)


def test_a_turn_that_was_never_asked_gives_its_key_back(store, recorder):
    asked = turn()
    recorder.record_accepted(asked, KEY)
    end(recorder, asked, "", AtCapacity("busy"))
    assert store.find_by_idempotency_key("", "k") is None


def test_a_store_that_is_away_accepts_nothing_and_says_so(store, recorder):
    troubles = []
    recorder.on_store_error = lambda: troubles.append(1)
    store.away = True
    with pytest.raises(StoreUnavailable):
        recorder.record_accepted(turn(), KEY)
    assert troubles
    assert recorder.buffered == 0
    store.away = False
    recorder.record_accepted(turn(), KEY)


def test_a_turn_that_the_store_may_have_all_the_same_is_taken_back(store, recorder):
    store.away = store.unsure = True
    refused = turn()
    with pytest.raises(StoreUnavailable):
        recorder.record_accepted(refused, KEY)
    assert recorder.buffered == 1
    store.away = False
    # What seemed to fail had its effect.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "flush", lambda: True)
        recorder.record_accepted(refused, KEY)
    assert recorder.flush()
    assert state(store, refused) == "failed"
    assert store.find_by_idempotency_key("", "k") is None


def test_ends_wait_for_the_store_in_order_and_are_then_all_there(store, recorder):
    first, second = turn(), turn()
    for each in (first, second):
        recorder.record_accepted(each)
    store.away = True
    with structlog.testing.capture_logs() as logs:
        for each in (first, second):
            assert end(recorder, each, f"answer {each.id}") is True
            assert each.done is not None
        assert recorder.buffered == 2
        assert not recorder.flush()
        with pytest.raises(StoreUnavailable):
            recorder.record_accepted(turn())
        store.away = False
        assert recorder.flush()
    assert [entry["event"] for entry in logs] == [
        "store unavailable, buffering turn results",
        "buffered turn results written",
    ]
    assert recorder.buffered == 0
    assert [state(store, each) for each in (first, second)] == ["succeeded", "succeeded"]
    ids = [f"{each.id}-question" for each in (first, second)]
    assert waiting(store) == [*ids, f"{first.id}-answer", f"{second.id}-answer"]


def test_what_a_turn_spent_is_counted_when_its_end_is_written_and_once(store, recorder):
    asked = turn()
    recorder.record_accepted(asked)
    store.away = True
    end(recorder, asked, "", ClaudeFailed("died"), spent=(BIG, SMALL))
    assert usage(store) == []
    store.away = False
    (waits,) = recorder._buffered
    assert recorder.flush()
    store.end_turn(waits)
    assert [(row.turns, row.cost_usd) for row in usage(store)] == [(1, 0.75)]


def test_what_a_turn_spent_is_counted_also_where_its_end_cannot_be_kept_whole(store, recorder):
    asked = turn()
    recorder.record_accepted(asked)
    # What no store takes.
    assert end(recorder, asked, session="no session", claim=store.claim(P), spent=(BIG,)) is False
    assert state(store, asked) == "succeeded"
    assert [row.turns for row in usage(store)] == [1]


def test_what_waits_goes_before_what_comes(store, recorder):
    first = turn()
    recorder.record_accepted(first)
    store.away = True
    end(recorder, first)
    store.away = False
    second = turn()
    recorder.record_accepted(second)
    assert waiting(store)[1:] == [f"{first.id}-answer", f"{second.id}-question"]


def test_too_much_waits_without_its_log(store, recorder, monkeypatch):
    monkeypatch.setattr(recorder_module, "BUFFERED_BYTES_LIMIT", 100)
    asked = turn()
    recorder.record_accepted(asked)
    asked.append([Token(f"word {n} ") for n in range(1000)])
    store.away = True
    end(recorder, asked, "the answer")
    store.away = False
    assert recorder.flush()
    again = from_record(*store.turn("", asked.id))
    assert again.done.message == "the answer"
    assert not again.log_is_complete
    assert again.read(0, 0)[0] == Token("the answer")


def test_the_session_is_kept_with_the_end_unless_it_was_deleted(store, recorder):
    asked, claim = turn(), store.claim(P)
    recorder.record_accepted(asked)
    assert end(recorder, asked, claim=claim, session=session(P)) is True
    assert store.history(P)[0].answer == "because"
    later = turn()
    recorder.record_accepted(later)
    store.delete_session(P)
    assert end(recorder, later, claim=claim, session=session(P)) is False
    assert store.session(P) is None
    assert state(store, later) == "succeeded"


def test_a_memory_store_gets_messages_sessions_and_history():
    store = MemoryStore()
    recorder = TurnRecorder(store, StillOutbox(store, Deaf()), holder="a", retention=600)
    project = Project("", "m")
    asked, claim = turn(project), store.claim(project)
    recorder.record_accepted(asked, KEY)
    assert end(recorder, asked, claim=claim, session=session(project)) is True
    assert waiting(store, project) == [f"{asked.id}-question", f"{asked.id}-answer"]
    assert store.session(project) == session(project)
    assert store.history(project)[0].question == "why?"


def test_of_a_stripped_turn_the_store_keeps_its_end_and_its_key_alone(store):
    recorder = TurnRecorder(store, StillOutbox(store, NoChatApi()), holder="a", retention=60)
    turn = Turn(P, Question("why?"))
    recorder.record_accepted(turn, KEY)
    turn.append([Token("said")])
    turn.keep_end_only()
    turn.try_begin_finish()
    said = Done(success=False, message="said", structured_output={"a": "said"})
    recorder.record_ended(turn, TurnOutcome(said, TurnInterrupted("deleted")))
    record, log = store.turn("", turn.id)
    assert log is None
    assert "said" not in str(record)
    assert (record.state, store.find_by_idempotency_key("", "k")) == (
        "interrupted",
        (turn.id, "digest"),
    )
    again = from_record(record, log)
    assert (again.text, again.error.code) == ("", "turn_interrupted")


def test_where_a_conversation_goes_on_is_kept_with_its_turns_end(store, recorder):
    claim = store.claim(P)
    continuation = Continuation(beginning(None, None))
    asked = Turn(P, Question("why?", continuation=continuation))
    asked.begin()
    recorder.record_accepted(asked)
    store.away = True
    end(recorder, asked, claim=claim, session=session(P))
    store.away = False
    (key,) = continuation.answered_keys(asked.done, "")
    assert store.node(P.owner, key) is None
    assert recorder.flush()
    found = store.node(P.owner, key)
    assert (found.turn_id, found.session_id) == (asked.id, session(P).id)
    assert store.session(P) is not None


@pytest.mark.parametrize("error", [ClaudeFailed("died"), TurnInterrupted("stopped")])
def test_an_answer_that_was_broken_off_is_nowhere_to_go_on_from(store, recorder, error):
    claim = store.claim(P)
    continuation = Continuation(beginning(None, None))
    asked = Turn(P, Question("why?", continuation=continuation))
    asked.begin()
    recorder.record_accepted(asked)
    end(recorder, asked, "beca", error, claim=claim, session=session(P))
    assert store.node_of_turn(P.owner, asked.id) is None
