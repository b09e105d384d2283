"""What every store does that outlives its process and is shared by several.

A store's test class derives from `DurableBehaviour` beside `StoreBehaviour`, and gives an
`open_as` fixture: `open_as("holder")` opens the one store under another name.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from cowork.errors import OutboxFull
from cowork.model import (
    ChatMessage,
    Exchange,
    Project,
    TurnEnd,
    TurnFilter,
    TurnKey,
    TurnPage,
    TurnPlace,
    TurnRecord,
    Usage,
    UsageBy,
    XoToken,
)
from cowork.stores.limits import HISTORY_LENGTH, HISTORY_SIZE
from cowork.stores.protocol import Store
from tests.serving import wait_for
from tests.unit.stores.store_suite import (
    BIG,
    NOW,
    SMALL,
    P,
    Q,
    approval,
    at_once,
    heads,
    kept,
    message,
    put_message,
    resolution,
    session,
    spends,
    ticket,
    usage,
)

Open = Callable[..., Store]
OTHERS = Project("other", "p")
KEY = TurnKey("", "k-1", "digest")
KEEP = 600.0


def record(number: int = 1, project: Project = P, **fields: Any) -> TurnRecord:
    given = {"state": "running", "holder": "a", "created": NOW, "started": NOW, **fields}
    body = {"question": {"text": "日本\ud800"}, "is_new_session": True}
    return TurnRecord(f"turn-{number}", project, body=body, **given)


def ended(kept_as: TurnRecord, state: str = "succeeded", **fields: Any) -> TurnEnd:
    body = {**kept_as.body, "end": {"message": "4"}}
    record = replace(kept_as, state=state, ended=NOW + timedelta(seconds=9), body=body)
    return TurnEnd(record=record, **{"keep": KEEP, **fields})


def question(number: int = 1, project: Project = P) -> ChatMessage:
    return replace(message(number, project), id=f"turn-{number}-question")


def answer(number: int = 1, project: Project = P) -> ChatMessage:
    return replace(message(number, project), id=f"turn-{number}-answer", type="agent")


def waiting(store: Store, project: Project = P) -> list[str]:
    """The ids of a project's messages; they are taken out."""
    found = []
    while (head := store.next_message(project)) is not None:
        found.append(head.id)
        store.delete_message(head)
    return found


def made(number: int, project: Project = P, **fields: Any) -> TurnRecord:
    """A record whose turn was created so many seconds later than the first."""
    return record(number, project, **{"created": NOW + timedelta(seconds=number), **fields})


def listed(store: Store, project: Project = P, **wanted: Any) -> list[str]:
    """The ids of the project's turns."""
    return [each.id for each in store.turns(project, TurnFilter(100, **wanted)).records]


class DurableBehaviour:
    """The tests; `ttl_modules` are those whose `CLAIM_TTL_S` the store obeys.

    `page_modules` are those whose `TURN_PAGE_BYTES` it obeys.
    """

    ttl_modules: tuple[ModuleType, ...]
    page_modules: tuple[ModuleType, ...]

    def set_claim_ttl(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        for module in self.ttl_modules:
            monkeypatch.setattr(module, "CLAIM_TTL_S", seconds)

    # -- several processes

    def test_what_one_process_keeps_another_sees(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        left = kept(first, P)
        first.put_token(XoToken("access", None, NOW, "u", None))
        put_message(first, message(1))
        assert second.session(P) == left
        assert second.token() == first.token()
        assert heads(second) == [message(1)]

    def test_a_store_opened_again_has_everything(self, open_as: Open):
        first = open_as("a")
        left = kept(first, P)
        first.put_turn(record(), question(), KEY)
        first.end_turn(ended(record(), log=b"log"))
        first.close()
        again = open_as("b")
        assert again.sessions("") == [left]
        assert again.find_by_idempotency_key("", "k-1") == ("turn-1", "digest")
        assert again.turn("", "turn-1")[1] == b"log"

    def test_a_project_is_claimed_by_one_process_at_a_time(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        claim = first.claim(P)
        assert second.claim(P) is None
        first.release(claim)
        following = second.claim(P)
        assert following.number > claim.number
        assert first.claim(P) is None

    def test_fault_t14_whether_another_process_has_a_claim_is_known(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        assert not first.claimed_elsewhere(P)
        claim = first.claim(P)
        assert not first.claimed_elsewhere(P)
        assert second.claimed_elsewhere(P)
        assert not second.claimed_elsewhere(Q)
        first.release(claim)
        assert not second.claimed_elsewhere(P)
        first.claim(P)
        second.release_dead_holder("a")
        assert not second.claimed_elsewhere(P)

    def test_of_many_processes_one_gets_the_claim(self, open_as: Open):
        stores = [open_as(name) for name in "abcdef"]
        found = at_once([lambda store=store: store.claim(P) for store in stores])
        assert sum(claim is not None for claim in found) == 1

    def test_a_claim_that_nobody_prolongs_ends_and_its_holder_writes_no_more(
        self, open_as: Open, monkeypatch: pytest.MonkeyPatch
    ):
        first, second = open_as("a"), open_as("b")
        self.set_claim_ttl(monkeypatch, 0.2)
        old = first.claim(P)
        assert second.claim(P) is None
        found = []
        wait_for(lambda: found.append(second.claim(P)) or found[-1], what="the claim's end")
        assert first.put_session(session(P, 1), old) is False
        assert second.put_session(session(P, 2), found[-1]) is True
        first.release(old)
        assert open_as("c").claim(P) is None

    def test_a_beat_prolongs_what_its_process_holds_and_nothing_else(
        self, open_as: Open, monkeypatch: pytest.MonkeyPatch
    ):
        first, second, third = (open_as(name) for name in "abc")
        self.set_claim_ttl(monkeypatch, 0.3)
        first.claim(P)
        second.claim(Q)
        self.set_claim_ttl(monkeypatch, 60.0)
        first.heartbeat()
        wait_for(lambda: third.claim(Q) is not None, what="the end of what nobody prolonged")
        assert third.claim(P) is None

    def test_a_claim_of_ours_that_we_do_not_know_of_is_taken_over(self, open_as: Open):
        lost = open_as("a").claim(P)  # as by a call that seemed to fail
        store = open_as("a")
        again = store.claim(P)
        assert again.number > lost.number
        assert store.claim(P) is None

    def test_holders_are_known_by_their_beats(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        assert first.holders() == {}
        first.heartbeat()
        second.heartbeat()
        assert set(first.holders()) == {"a", "b"}
        wait_for(lambda: 0.05 < first.holders()["a"] < 10, what="silence")

    def test_a_holder_that_never_beat_is_known_by_its_turns(self, open_as: Open):
        store = open_as("b")
        store.put_turn(record(), None, None)
        assert store.holders()["a"] == float("inf")

    # -- turns

    def test_a_turn_is_kept_whole(self, open_as: Open):
        store = open_as("a")
        assert store.put_turn(record(), None, None) is None
        found, log = store.turn("", "turn-1")
        assert (found, log) == (record(), None)
        end = ended(record(), log=b"\x00log\xff")
        assert store.end_turn(end) is True
        assert store.turn("", "turn-1") == (end.record, b"\x00log\xff")

    def test_fault_w9_a_ticket_is_seen_from_everywhere(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        assert first.put_ticket(ticket(1))
        assert second.use_ticket("turn-1", "digest-1") == ticket(1)
        assert open_as("c").use_ticket("turn-1", "digest-1") == ticket(1)

    def test_a_turn_is_its_owners_alone(self, open_as: Open):
        store = open_as("a")
        store.put_turn(record(project=Project("me", "p")), None, TurnKey("me", "k", "d"))
        assert store.turn("me", "turn-1") is not None
        assert store.turn("", "turn-1") is None
        assert store.turn("me", "turn-2") is None
        assert store.find_by_idempotency_key("", "k") is None

    def test_a_key_is_bound_to_a_turn_that_runs(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.put_turn(record(), None, TurnKey("", "k-1", "digest"))
        first.bind_key(TurnKey("", "k-2", "other"), "turn-1")
        assert second.find_by_idempotency_key("", "k-2") == ("turn-1", "other")
        assert second.find_by_idempotency_key("", "k-1") == ("turn-1", "digest")
        # One that has a turn keeps it.
        second.bind_key(TurnKey("", "k-1", "another"), "turn-2")
        assert first.find_by_idempotency_key("", "k-1") == ("turn-1", "digest")
        assert first.find_by_idempotency_key("me", "k-2") is None

    def test_a_key_finds_the_turn_that_replaces_its_first(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.bind_key(TurnKey("", "k-1", "digest"), "turn-1", replaces=True)
        second.bind_key(TurnKey("", "k-1", "other"), "turn-2", replaces=True)
        assert first.find_by_idempotency_key("", "k-1") == ("turn-2", "other")

    # -- lists of turns

    def test_a_projects_turns_are_listed_newest_first_whoever_runs_them(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.put_turn(made(1), question(1), KEY)
        second.put_turn(made(2, state="queued", holder="b", started=None), question(2), None)
        first.put_turn(made(3, Q), None, None)
        first.put_turn(made(4, OTHERS), None, None)
        end = ended(made(1), log=b"log")
        first.end_turn(end)
        for store in (first, second):
            page = store.turns(P, TurnFilter(10))
            assert page == TurnPage((made(2, state="queued", holder="b", started=None), end.record))
            assert listed(store, OTHERS) == ["turn-4"]
        assert first.turns(Project("", "none"), TurnFilter(10)) == TurnPage()

    def test_a_long_list_of_turns_is_read_a_page_at_a_time(self, open_as: Open):
        store = open_as("a")
        for number in range(1, 8):  # two and two of one moment
            store.put_turn(made(number, created=NOW + timedelta(seconds=number // 2)), None, None)
        found, before = [], None
        while True:
            page = store.turns(P, TurnFilter(3, before=before))
            found += [each.id for each in page.records]
            before = page.next
            if before is None:
                break
            assert before == TurnPlace(page.records[-1].created, page.records[-1].id)
        assert found == [f"turn-{number}" for number in range(7, 0, -1)]

    def test_turns_are_listed_by_their_state_and_since_they_ended(self, open_as: Open):
        store = open_as("a")
        for number, state in enumerate(["succeeded", "failed", "succeeded"], start=1):
            store.put_turn(made(number), None, None)
            store.end_turn(ended(made(number), state))
        store.put_turn(made(4), None, None)
        assert listed(store, state="succeeded") == ["turn-3", "turn-1"]
        assert listed(store, state="running") == ["turn-4"]
        at = NOW + timedelta(seconds=9)
        assert listed(store, ended_since=at) == ["turn-4", "turn-3", "turn-2", "turn-1"]
        assert listed(store, ended_since=at + timedelta(microseconds=1)) == ["turn-4"]

    def test_a_page_of_turns_is_bounded_in_bytes(
        self, open_as: Open, monkeypatch: pytest.MonkeyPatch
    ):
        store = open_as("a")
        for number in range(1, 4):
            end = ended(made(number))
            body = {**end.record.body, "end": {"message": "x" * 1000}}
            store.end_turn(replace(end, record=replace(end.record, body=body)))
        for module in self.page_modules:
            monkeypatch.setattr(module, "TURN_PAGE_BYTES", 1500)
        page = store.turns(P, TurnFilter(10))
        assert [each.id for each in page.records] == ["turn-3", "turn-2"]
        following = store.turns(P, TurnFilter(10, before=page.next))
        assert [each.id for each in following.records] == ["turn-1"]
        assert following.next is None

    def test_lost_and_parked_turns_are_listed_as_they_stand(self, open_as: Open):
        store = open_as("b")
        store.put_turn(made(1), None, None)
        store.put_turn(made(2), None, None)
        open_as("a").save_turn(made(2), b"log", parks=True)
        store.release_dead_holder("a")
        lost, parked = (store.turns(P, TurnFilter(2)).records[place] for place in (1, 0))
        assert (lost.state, lost.holder, parked.state, parked.holder) == (
            "failed",
            "a",
            "running",
            "",
        )
        assert lost == store.turn("", "turn-1")[0]
        assert parked == store.turn("", "turn-2")[0]

    def test_what_is_forgotten_or_expired_is_not_listed(self, open_as: Open):
        store = open_as("a")
        store.end_turn(ended(made(1), keep=0.001))
        store.put_turn(made(2), None, None)
        store.end_turn(ended(made(3)))
        store.end_turn(ended(made(4, Q)))

        def names() -> list[str]:
            store.expire(10)
            return listed(store)

        wait_for(lambda: names() == ["turn-3", "turn-2"], what="the end of what has expired")
        store.delete_session(P)
        assert listed(store) == ["turn-2"], "which runs"
        assert listed(store, Q) == ["turn-4"]

    # -- keys

    def test_a_key_makes_one_turn(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        assert first.put_turn(record(1), question(1), KEY) is None
        known = second.put_turn(record(2), question(2), replace(KEY, digest="another"))
        assert known == ("turn-1", "digest")
        assert second.turn("", "turn-2") is None
        assert waiting(second) == ["turn-1-question"]

    def test_of_many_turns_with_one_key_one_is_kept(self, open_as: Open):
        stores = [open_as(name) for name in "abcdef"]
        puts = [
            lambda store=store, number=number: store.put_turn(record(number), None, KEY)
            for number, store in enumerate(stores)
        ]
        found = at_once(puts)
        assert found.count(None) == 1
        (winner,) = {each[0] for each in found if each is not None}
        assert stores[0].turn("", winner) is not None

    def test_a_key_that_is_given_back_is_free_and_its_turn_stays(self, open_as: Open):
        store = open_as("a")
        store.put_turn(record(1), None, KEY)
        store.end_turn(ended(record(1), "failed", gives_key_back=True))
        assert store.find_by_idempotency_key("", "k-1") is None
        assert store.turn("", "turn-1")[0].state == "failed"
        assert store.put_turn(record(2), None, KEY) is None

    def test_an_end_counts_once(self, open_as: Open):
        store = open_as("a")
        store.put_turn(record(), None, None)
        end = ended(record(), messages=(answer(),))
        assert store.end_turn(end) is True
        assert waiting(store) == ["turn-1-answer"]
        assert store.end_turn(replace(end, record=replace(end.record, state="failed"))) is True
        assert store.turn("", "turn-1")[0].state == "succeeded"
        assert waiting(store) == []

    def test_an_end_that_comes_before_its_beginning_stays(self, open_as: Open):
        store = open_as("a")
        end = ended(record(), "failed")
        store.end_turn(end)
        store.put_turn(record(), None, None)
        assert store.turn("", "turn-1")[0] == end.record
        assert "a" not in store.holders()

    def test_the_question_of_a_turn_that_waits_is_a_message_when_it_begins(self, open_as: Open):
        store = open_as("a")
        queued = record(state="queued", started=None)
        store.put_turn(queued, question(), None)
        assert store.outbox_counts().waiting == 0
        store.start_turn(record(), question())
        assert store.turn("", "turn-1")[0] == record()
        store.end_turn(ended(record(), messages=(answer(),)))
        assert waiting(store) == ["turn-1-question", "turn-1-answer"]

    def test_a_full_outbox_takes_no_question_but_every_answer(self, open_as: Open):
        store = open_as("a", outbox_limit=2)
        store.put_turn(record(1), question(1), None)
        store.put_turn(record(2, Q), question(2, Q), None)
        with pytest.raises(OutboxFull):
            store.put_turn(record(3), question(3), None)
        assert store.turn("", "turn-3") is None
        assert store.outbox_counts().full
        store.end_turn(ended(record(1), messages=(answer(1),)))
        assert waiting(store) == ["turn-1-question", "turn-1-answer"]
        assert store.put_turn(record(3), question(3), None) is None

    def test_fault_s4_an_outbox_of_large_messages_is_full_by_their_size(self, open_as: Open):
        store = open_as("a", outbox_bytes=5000)
        large = [replace(question(number), message="é" * 1500) for number in range(1, 5)]
        for number in (1, 2):
            assert not store.outbox_counts().full
            store.put_turn(record(number), large[number], None)
        assert store.outbox_counts().full
        with pytest.raises(OutboxFull):
            store.put_turn(record(3), large[3], None)
        assert open_as("b", outbox_bytes=5000).outbox_counts().full
        store.delete_message(large[1])
        assert not store.outbox_counts().full
        store.move_to_dead_letters(large[2], "why", NOW)
        assert store.put_turn(record(3), large[3], None) is None
        assert not store.outbox_counts().full
        assert store.requeue_dead_letters("") == 1
        assert store.outbox_counts().full

    def test_fault_s5_a_large_message_is_not_read_for_each_look_at_the_outbox(self, open_as: Open):
        store = open_as("a")
        large = replace(question(), message="x" * 2_000_000)
        put_message(store, large)
        put_message(store, question(2))
        assert store.outbox_counts().oldest == large.created
        tracemalloc.start()
        try:
            assert store.outbox_counts().oldest == large.created
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
        store.delete_message(large)
        assert store.outbox_counts().oldest == question(2).created
        store.delete_message(question(2))
        assert store.outbox_counts().oldest is None

    @pytest.mark.parametrize("bounds", [{"outbox_limit": 4}, {"outbox_bytes": 8000}])
    def test_fault_s4_one_owner_fills_its_half_of_the_outbox_and_nobody_elses(
        self, open_as: Open, bounds: dict[str, int]
    ):
        store = open_as("a", owners=lambda: 3, **bounds)

        def ask(number: int, project: Project) -> None:
            asked = replace(question(number, project), message="x" * 2000)
            store.put_turn(record(number, project), asked, None)

        ask(1, P)
        ask(2, P)
        with pytest.raises(OutboxFull):
            ask(3, P)
        with pytest.raises(OutboxFull):
            ask(3, Project(P.owner, "another"))
        # Every answer is taken; what is beyond its half counts against nobody else.
        for number in (1, 2):
            large = replace(answer(number), message="x" * 9000)
            store.end_turn(ended(record(number), messages=(large,)))
        assert not store.outbox_counts().full
        ask(4, OTHERS)
        ask(5, OTHERS)
        assert store.outbox_counts().full
        with pytest.raises(OutboxFull):
            ask(6, OTHERS)
        with pytest.raises(OutboxFull):
            ask(6, Project("third", "p"))
        store.delete_message(question(4, OTHERS))
        ask(6, Project("third", "p"))
        for found in (question(1), question(2), answer(1), answer(2)):
            store.delete_message(found)
        ask(7, P)
        assert not open_as("b", owners=lambda: 1, **bounds).outbox_counts().full

    def test_fault_s4_questions_that_come_at_once_do_not_go_beyond_an_owners_half(
        self, open_as: Open
    ):
        store = open_as("a", outbox_limit=6, owners=lambda: 2)

        def ask(number: int) -> bool:
            try:
                store.put_turn(record(number), question(number), None)
            except OutboxFull:
                return False
            return True

        assert sum(at_once([partial(ask, number) for number in range(8)])) == 3

    def test_fault_s4_an_owners_large_refused_messages_cost_no_other_its_own(self, open_as: Open):
        store = open_as("a", outbox_bytes=32_000)
        for number, project in ((1, OTHERS), *((number, P) for number in range(2, 8))):
            large = replace(question(number, project), message="x" * 2000)
            put_message(store, large)
            store.move_to_dead_letters(large, "why", NOW)
        assert [each.id for each in store.dead_letters(OTHERS.owner)] == ["turn-1-question"]
        left = [each.id for each in store.dead_letters(P.owner)]
        assert left == ["turn-6-question", "turn-7-question"]

    def test_fault_s4_dead_letters_are_bounded_by_their_size(self, open_as: Open):
        store = open_as("a", outbox_bytes=16_000)
        for number in range(1, 5):
            large = replace(question(number), message="x" * 3000)
            put_message(store, large)
            store.move_to_dead_letters(large, "why", NOW)
        assert [each.id for each in store.dead_letters("")] == ["turn-4-question"]
        assert store.outbox_counts().dropped == 3
        huge = replace(question(5), message="x" * 30_000)
        put_message(store, huge)
        store.move_to_dead_letters(huge, "why", NOW)
        assert [each.id for each in store.dead_letters("")] == [huge.id]

    def test_what_was_kept_long_enough_is_gone(self, open_as: Open):
        store = open_as("a")
        store.put_turn(record(1), None, KEY)
        store.put_turn(record(2), None, None)
        store.end_turn(ended(record(1), keep=0.05))
        store.end_turn(ended(record(2)))

        def is_gone() -> bool:
            store.expire(10)
            return (
                store.turn("", "turn-1") is None
                and store.find_by_idempotency_key("", "k-1") is None
            )

        wait_for(is_gone, what="the end of the retention")
        assert store.turn("", "turn-2") is not None

    # -- what turns have spent

    def test_what_one_process_counts_another_sees_and_adds_to(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.end_turn(spends(1, BIG, SMALL))
        assert [row.turns for row in usage(second)] == [1]
        second.end_turn(spends(2, BIG))
        second.end_turn(spends(1, BIG, SMALL))
        first.close()
        assert usage(open_as("c")) == usage(second)
        assert [row.turns for row in usage(second)] == [2]

    def test_a_lost_turn_is_counted_by_its_true_end_if_that_comes(self, open_as: Open):
        store = open_as("b")
        end = spends(1, BIG)
        store.put_turn(replace(end.record, state="running", ended=None), None, None)
        store.release_dead_holder("a")
        assert usage(store) == []
        store.end_turn(end)
        store.end_turn(end)
        assert [row.turns for row in usage(store)] == [1]

    def test_ends_of_several_processes_at_once_are_counted_once_each(self, open_as: Open):
        stores = [open_as(name) for name in "abcd"]
        ends = [
            partial(store.end_turn, spends(number, BIG)) for store in stores for number in range(5)
        ]
        at_once(ends)
        (row,) = usage(stores[0], UsageBy.MODEL)
        assert (row.turns, row.usage.output_tokens, row.cost_usd) == (5, 100, 2.5)

    # -- turns of processes that are gone

    def test_a_buried_holders_turns_have_failed_and_its_projects_are_free(self, open_as: Open):
        dead, store = open_as("a"), open_as("b")
        dead.claim(P)
        dead.put_turn(record(1), question(1), KEY)
        dead.put_turn(record(2, state="queued", started=None), question(2), None)
        dead.put_turn(record(3, Q), question(3, Q), None)
        dead.end_turn(ended(record(3, Q)))
        store.put_turn(record(4, Q, holder="b"), None, None)
        assert store.release_dead_holder("a") == ["turn-1", "turn-2"]
        found, _ = store.turn("", "turn-1")
        assert (found.state, "end" in found.body) == ("failed", False)
        assert found.ended is not None
        assert store.turn("", "turn-3")[0].state == "succeeded"
        assert store.turn("", "turn-4")[0].state == "running"
        assert store.find_by_idempotency_key("", "k-1") == ("turn-1", "digest")
        assert store.claim(P) is not None
        # Every accepted question is history, also one that only waited.
        assert waiting(store) == ["turn-1-question", "turn-2-question"]
        assert store.release_dead_holder("a") == []
        assert "a" not in store.holders()

    def test_the_key_of_one_that_only_waited_is_free_again(self, open_as: Open):
        seemed_dead, store = open_as("a"), open_as("b")
        seemed_dead.put_turn(record(1, state="queued", started=None), question(1), KEY)
        store.release_dead_holder("a")
        assert store.turn("", "turn-1")[0].state == "failed"
        assert store.find_by_idempotency_key("", "k-1") is None
        assert store.put_turn(record(2, holder="b", state="queued"), None, KEY) is None
        # So that it is not asked twice.
        assert seemed_dead.start_turn(record(1), question(1)) is False
        assert store.start_turn(record(2, holder="b"), None) is True
        assert store.find_by_idempotency_key("", "k-1") == ("turn-2", "digest")

    def test_a_turn_that_only_seemed_lost_has_its_true_end(self, open_as: Open):
        slow, store = open_as("a"), open_as("b")
        slow.put_turn(record(), question(), None)
        store.release_dead_holder("a")
        slow.end_turn(ended(record(), messages=(answer(),)))
        assert store.turn("", "turn-1")[0].state == "succeeded"
        store.release_dead_holder("a")
        assert store.turn("", "turn-1")[0].state == "succeeded"
        assert waiting(store) == ["turn-1-question", "turn-1-answer"]

    # -- sessions and history at a turn's end

    def test_an_end_keeps_its_session_and_what_was_said(self, open_as: Open):
        store = open_as("a")
        claim = store.claim(P)
        usage = Usage().plus({"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 7})
        put = session(P, turns=1, usage=usage)
        end = ended(record(), claim=claim, session=put, exchange=Exchange("why?", "because"))
        assert store.end_turn(end) is True
        assert store.session(P) == put
        assert store.history(P) == [Exchange("why?", "because")]
        assert store.history(Q) == []

    def test_the_end_of_a_turn_whose_session_was_deleted_brings_nothing_back(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        claim = first.claim(P)
        second.delete_session(P)
        said = Exchange("why?", "because")
        end = ended(record(), claim=claim, session=session(P), exchange=said, messages=(answer(),))
        assert first.end_turn(end) is False
        assert first.session(P) is None
        assert first.history(P) == []
        assert waiting(first) == ["turn-1-answer"]

    def test_a_deleted_project_has_no_history(self, open_as: Open):
        store = open_as("a")
        claim = store.claim(P)
        store.end_turn(ended(record(), claim=claim, exchange=Exchange("why?", "because")))
        store.release(claim)
        store.delete_session(P)
        assert store.history(P) == []

    def test_a_deletion_takes_the_projects_turns_that_have_ended_and_nobody_elses(
        self, open_as: Open
    ):
        store = open_as("a")
        for number, project in enumerate((P, Q, Project("other", "p")), 1):
            begun = record(number, project)
            key = TurnKey(project.owner, f"k-{number}", "digest")
            store.put_turn(begun, None, key)
            store.end_turn(ended(begun, log=b"said"))
        unkeyed, running = record(4, P), record(5, P)
        store.put_turn(unkeyed, None, None)
        store.end_turn(ended(unkeyed))
        store.put_turn(running, None, TurnKey("", "k-5", "digest"))
        lost = record(6, P, holder="gone")
        open_as("gone").put_turn(lost, None, None)
        store.release_dead_holder("gone")
        assert open_as("b").delete_session(P) is None
        assert [store.turn("", f"turn-{number}") for number in (1, 4, 6)] == [None] * 3
        assert store.find_by_idempotency_key("", "k-1") is None
        assert store.turn("", "turn-2")[1] == b"said"
        assert store.find_by_idempotency_key("", "k-2") == ("turn-2", "digest")
        assert store.turn("other", "turn-3")[1] == b"said"
        assert store.turn("", "turn-5")[0].state == "running"
        store.end_turn(ended(running))
        assert store.find_by_idempotency_key("", "k-5") == ("turn-5", "digest")
        store.forget_turns(P)
        assert store.turn("", "turn-5") is None
        assert store.find_by_idempotency_key("", "k-5") is None

    def test_a_removal_is_there_for_the_next_server(self, open_as: Open):
        left = kept(open_as("a"), P)
        open_as("b").delete_session(P)
        assert open_as("c").removals() == [left.id]

    def test_history_is_bounded_and_forgets_the_oldest(self, open_as: Open):
        store = open_as("a")
        claim = store.claim(P)
        for number in range(HISTORY_LENGTH + 5):
            said = Exchange(f"q{number}", "a")
            store.end_turn(ended(record(number), claim=claim, exchange=said))
        assert store.history(P) == [Exchange(f"q{n}", "a") for n in range(5, HISTORY_LENGTH + 5)]
        for number in range(100, 110):
            said = Exchange("x" * 100_000, "y" * 100_000)
            store.end_turn(ended(record(number), claim=claim, exchange=said))
        found = store.history(P)
        assert 1 < len(found) < 10
        assert sum(len(each.question) + len(each.answer) for each in found) <= HISTORY_SIZE

    def test_many_ends_at_once_are_all_kept(self, open_as: Open):
        store = open_as("a")

        def run(number: int) -> None:
            project = Project("", f"p{number}")
            begun = record(number, project)
            store.put_turn(begun, question(number, project), None)
            claim = store.claim(project)
            end = ended(begun, claim=claim, session=session(project), log=b"x" * 1000)
            store.end_turn(replace(end, messages=(answer(number, project),)))
            store.release(claim)

        begun = time.monotonic()
        at_once([lambda number=number: run(number) for number in range(16)])
        assert time.monotonic() - begun < 10
        assert store.session_count() == 16
        assert store.outbox_counts().waiting == 32
        assert all(store.turn("", f"turn-{n}")[0].state == "succeeded" for n in range(16))

    # -- turns that outlive their process

    def test_a_turn_that_parks_is_nobodys_when_its_process_is_gone(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        for number in (1, 2):
            first.put_turn(record(number), question(number), None)
        first.save_turn(replace(record(1), body={"waits": 1}), b"log so far", parks=True)
        assert second.parked_turns() == []
        assert second.release_dead_holder("a") == ["turn-2"]
        (parked,) = second.parked_turns()
        assert (parked.id, parked.ended, parked.body) == ("turn-1", None, {"waits": 1})
        assert "" not in second.holders()
        adopted = second.adopt_turn("", "turn-1")
        assert adopted is not None
        assert (adopted[0].holder, adopted[0].body, adopted[1]) == (
            "b",
            {"waits": 1},
            b"log so far",
        )
        assert first.adopt_turn("", "turn-1") is None
        assert second.parked_turns() == []

    def test_a_turn_that_parks_no_more_is_lost_with_its_process(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.put_turn(record(), None, None)
        first.save_turn(record(), b"log", parks=True)
        first.save_turn(record(), None, parks=False)
        assert second.release_dead_holder("a") == ["turn-1"]
        assert second.parked_turns() == []

    def test_a_turn_may_be_given_up_for_another_process(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.put_turn(record(), None, None)
        first.save_turn(replace(record(), holder=""), b"log", parks=True)
        assert [each.holder for each in second.parked_turns()] == [""]
        found = second.turn("", "turn-1")
        assert found is not None
        assert (found[0].holder, found[0].ended) == ("", None)
        assert second.adopt_turn("somebody else", "turn-1") is None

    def test_who_has_lost_a_turn_to_another_process_does_not_end_it(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.put_turn(record(), None, None)
        first.save_turn(record(), b"log", parks=True)
        second.release_dead_holder("a")
        second.adopt_turn("", "turn-1")
        first.end_turn(ended(record(), "interrupted", log=b"first"))
        first.save_turn(record(), b"first", parks=True)
        found = second.turn("", "turn-1")
        assert found is not None
        assert (found[0].holder, found[0].ended, found[1]) == ("b", None, b"log")
        second.end_turn(ended(replace(record(), holder="b"), log=b"second"))
        found = first.turn("", "turn-1")
        assert found is not None
        assert (found[0].state, found[1]) == ("succeeded", b"second")

    def test_approvals_are_the_same_for_every_process(self, open_as: Open):
        first, second = open_as("a"), open_as("b")
        first.put_approval(approval())
        assert second.approvals("", pending=True, limit=9) == [approval()]
        assert second.resolve_approval(approval().id, resolution(), {"behavior": "deny"})
        found = first.approval(approval().id)
        assert found is not None
        assert found.answer == {"behavior": "deny"}

    def test_a_sessions_model_is_kept(self, open_as: Open):
        first = open_as("a")
        claim = first.claim(P)
        assert claim is not None
        first.put_session(session(P, model="haiku"), claim)
        assert open_as("b").session(P) == session(P, model="haiku")
