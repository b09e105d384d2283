"""What every store does, whatever it keeps its state in.

A store's test file has a class that derives from `StoreBehaviour`, named `Test...`, and gives
a `store` fixture: an empty one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from cowork.model import (
    APPROVALS_LIMIT,
    APPROVALS_OF_OWNER,
    EARLIER_LIMIT,
    Approval,
    ChatMessage,
    DeadLetter,
    Decision,
    OutboxCounts,
    Project,
    Resolution,
    Session,
    Spending,
    Ticket,
    TurnEnd,
    TurnRecord,
    Usage,
    UsageBy,
    UsageRow,
    XoToken,
)
from cowork.stores.limits import REMOVALS_LIMIT, USAGE_KEEP_DAYS
from cowork.stores.protocol import Store
from tests.patience import PATIENCE_S

NOW = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
P, Q = Project("", "p"), Project("", "q")
NAMES = [
    "p",
    "a/b",
    "a//b",
    "/lead",
    "..",
    "x/messages",
    "日本 🎉",
    "A",
    "a",
    "a:b",
    "a b",
    "'\"%*",
]


def session(project: Project, number: int = 1, **fields: Any) -> Session:
    given = {"cwd": "/work", "created": NOW, "last_used": NOW + timedelta(hours=1), **fields}
    return Session(project, f"00000000-0000-4000-8000-{number:012}", **given)


def message(number: int, project: Project = P, **fields: Any) -> ChatMessage:
    created = NOW + timedelta(seconds=number)
    given = {"user_id": "u", "message": f"text {number}", "type": "@xo", "created": created}
    given |= fields
    return ChatMessage(f"{project.owner}-{project.name}-{number}", project, **given)


def ticket(number: int, turn: str = "turn-1", *, owner: str = "", fingerprint: str = "") -> Ticket:
    return Ticket(turn, f"digest-{number}", owner, fingerprint)


def approval(number: int = 1, project: Project = P, **fields: Any) -> Approval:
    given = {"kind": "tool", "tool": "Bash", "input": {"command": "ls \ud800"}, **fields}
    return Approval(
        id=f"approval-{project.owner}-{number}",
        project=project,
        turn_id=f"turn-{number}",
        tool_use_id=f"use-{number}",
        input_digest="digest",
        created=NOW,
        expires=NOW + timedelta(minutes=5),
        reason="why",
        suggestions=({"type": "addRules"},),
        **given,
    )


def resolution(decision: Decision = "allow", by: str | None = "me") -> Resolution:
    return Resolution(decision, NOW + timedelta(minutes=1), by, "127.0.0.1", "because")


def put_message(store: Store, waiting: ChatMessage) -> None:
    """Have a message wait, as the question of a turn that begins."""
    turn = TurnRecord(waiting.id, waiting.project, "running", holder="", created=waiting.created)
    store.start_turn(turn, waiting)


# Of the ends of turns whose figures are still kept, whenever the tests run.
TODAY = datetime.now(UTC).replace(hour=12)
BIG = Spending("big", Usage(1, 20, 300, 4000), 0.5)
SMALL = Spending("small", Usage(5, 6, 7, 8), 0.25)


def spends(
    number: int, *spent: Spending, project: Project = P, at: datetime = TODAY, **fields: Any
) -> TurnEnd:
    """The end of a turn that has spent so much."""
    turn = TurnRecord(f"spends-{number}", project, "succeeded", "a", created=NOW, ended=at)
    return TurnEnd(turn, keep=600.0, spent=spent, **fields)


def usage(
    store: Store, by: UsageBy = UsageBy.DAY, owner: str | None = None, days: int = 0
) -> list[UsageRow]:
    """What was spent today, and so many days before."""
    return store.usage(owner, TODAY.date() - timedelta(days=days), TODAY.date(), by)


def kept(store: Store, project: Project, number: int = 1) -> Session:
    """A session that a turn has left behind."""
    claim = store.claim(project)
    assert claim is not None
    left = session(project, number)
    assert store.put_session(left, claim)
    store.release(claim)
    return left


def heads(store: Store, limit: int = 100) -> list[ChatMessage | None]:
    """The first waiting message of each project."""
    return [store.next_message(project) for project in store.waiting_projects(limit)]


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What the calls gave, made by as many threads at one moment."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        gate.wait(PATIENCE_S)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


class StoreBehaviour:
    """The tests; see the module.  `limited` is the module whose `DEAD_LIMIT` the store obeys,

    `ticket_module` that whose `TICKET_TTL_S` it does.
    """

    limited: ModuleType
    ticket_module: ModuleType

    # -- sessions

    def test_an_empty_store_has_nothing(self, store):
        assert store.session(P) is None
        assert store.sessions("") == []
        assert store.session_count() == store.outbox_counts().waiting == 0
        assert heads(store) == []
        assert store.token() is None

    def test_a_session_is_kept_whole(self, store):
        claim = store.claim(P)
        put = session(P, turns=3, cost_usd=0.125, cwd="/a b/é", incomplete=True)
        put = replace(put, earlier=("one", "two"), last_words='日本 — it is "done".')
        assert store.put_session(put, claim)
        assert store.session(P) == put

    def test_a_newer_session_takes_the_place_of_the_older(self, store):
        claim = store.claim(P)
        store.put_session(session(P), claim)
        newer = session(P, 2, turns=1)
        assert store.put_session(newer, claim)
        assert store.session(P) == newer
        assert store.session_count() == 1

    @pytest.mark.parametrize("name", NAMES)
    def test_any_name_is_a_project_of_its_own(self, store, name):
        others = [kept(store, Project("", other), 2) for other in NAMES if other != name]
        mine = kept(store, Project("", name))
        assert store.session(Project("", name)) == mine
        assert store.sessions("") == [*others, mine]
        assert store.delete_session(Project("", name)) == mine
        assert store.sessions("") == others

    def test_projects_of_one_name_belong_to_their_owners(self, store):
        ours, theirs = Project("me", "p"), Project("you", "p")
        mine, yours = kept(store, ours, 1), kept(store, theirs, 2)
        assert (store.session(ours), store.session(theirs)) == (mine, yours)
        assert store.sessions("me") == [mine]
        assert store.sessions("nobody") == []
        assert store.session_count() == 2
        assert store.delete_session(ours) == mine
        assert store.session(theirs) == yours

    def test_owner_and_name_do_not_run_together(self, store):
        kept(store, Project("a", "b/c"))
        kept(store, Project("a:b", "c"))
        for other in (
            Project("a/b", "c"),
            Project("a", "b:c"),
            Project("", "a"),
            Project("ab", "c"),
        ):
            assert store.session(other) is None

    def test_sessions_are_listed_oldest_first(self, store):
        first, second, third = (kept(store, Project("", name)) for name in "cab")
        assert store.sessions("") == [first, second, third]
        claim = store.claim(first.project)
        used = replace(first, turns=1)
        store.put_session(used, claim)
        assert store.sessions("") == [used, second, third]

    def test_a_deleted_session_is_given_back_once(self, store):
        left = kept(store, P)
        assert store.delete_session(P) == left
        assert store.delete_session(P) is None
        assert store.session(P) is None

    def test_what_the_cli_keeps_of_a_deleted_session_is_to_be_removed_until_it_is(self, store):
        claim = store.claim(P)
        put = replace(session(P), earlier=("first", "second"))
        store.put_session(put, claim)
        other = kept(store, Q, 2)
        assert store.removals() == []
        store.delete_session(P)
        store.delete_session(P)
        assert store.removals() == ["first", "second", put.id]
        store.delete_removal("first")
        store.delete_removal("absent")
        store.delete_session(Q)
        assert store.removals() == ["second", put.id, other.id]

    def test_of_too_many_removals_the_oldest_are_forgotten(self, store):
        many = REMOVALS_LIMIT // EARLIER_LIMIT + 1
        for number in range(many):
            claim = store.claim(P)
            ids = tuple(f"{number}-{each}" for each in range(EARLIER_LIMIT))
            store.put_session(replace(session(P, number), earlier=ids), claim)
            store.delete_session(P)
            store.release(claim)
        assert len(store.removals()) == REMOVALS_LIMIT
        assert store.removals()[-1] == session(P, many - 1).id
        assert not any(each.startswith("0-") for each in store.removals())

    # -- claims

    def test_a_project_is_claimed_by_one_turn_at_a_time(self, store):
        assert store.claim(P) is not None
        assert store.claim(P) is None
        assert store.claim(Q) is not None
        assert store.claim(Project("you", "p")) is not None

    def test_a_released_project_is_claimed_under_a_greater_number(self, store):
        numbers = []
        for _ in range(5):
            claim = store.claim(P)
            numbers.append(claim.number)
            store.release(claim)
        assert numbers == sorted(set(numbers))

    def test_of_many_claims_at_once_one_succeeds(self, store):
        found = at_once([lambda: store.claim(P)] * 10)
        assert sum(claim is not None for claim in found) == 1

    def test_a_session_deleted_during_its_turn_is_not_put_back_by_the_turn(self, store):
        claim = store.claim(P)
        store.put_session(session(P), claim)
        store.delete_session(P)
        assert store.put_session(session(P), claim) is False
        assert store.session(P) is None

    def test_a_deletion_before_the_first_session_is_kept_counts_too(self, store):
        claim = store.claim(P)
        assert store.delete_session(P) is None
        assert store.put_session(session(P), claim) is False

    def test_a_deletion_leaves_the_project_to_the_turn_that_still_runs(self, store):
        claim = store.claim(P)
        store.delete_session(P)
        assert store.claim(P) is None
        store.release(claim)
        following = store.claim(P)
        assert following is not None
        assert following.number > claim.number
        assert store.put_session(session(P), following)

    def test_an_old_claim_keeps_nothing(self, store):
        old = store.claim(P)
        store.release(old)
        assert store.put_session(session(P), old) is False
        new = store.claim(P)
        assert store.put_session(session(P, 1), old) is False
        assert store.put_session(session(P, 2), new) is True
        assert store.session(P).id == session(P, 2).id

    def test_an_old_claim_given_back_again_frees_nobody_elses(self, store):
        old = store.claim(P)
        store.delete_session(P)
        store.release(old)
        new = store.claim(P)
        store.release(old)
        assert store.claim(P) is None
        assert store.put_session(session(P), new)

    def test_a_claim_given_back_twice_is_no_error(self, store):
        claim = store.claim(P)
        store.release(claim)
        store.release(claim)
        assert store.claim(P) is not None

    def test_a_claim_is_for_its_project_alone(self, store):
        claim = store.claim(P)
        assert store.put_session(session(Q), claim) is False
        assert store.session(Q) is None

    # -- what turns have spent

    def test_a_turn_is_counted_once_with_the_model_that_is_named_first(self, store):
        store.end_turn(spends(1, BIG, SMALL))
        both = Usage(6, 26, 307, 4008)
        assert usage(store) == [UsageRow(1, both, 0.75, day=TODAY.date())]
        assert usage(store, UsageBy.PROJECT) == [UsageRow(1, both, 0.75, owner="", name="p")]
        assert usage(store, UsageBy.KEY) == [UsageRow(1, both, 0.75, owner="")]
        assert usage(store, UsageBy.MODEL) == [
            UsageRow(1, BIG.usage, 0.5, model="big"),
            UsageRow(0, SMALL.usage, 0.25, model="small"),
        ]

    def test_an_end_that_is_written_twice_is_counted_once(self, store):
        store.end_turn(spends(1, BIG))
        store.end_turn(spends(1, BIG))
        assert [row.turns for row in usage(store)] == [1]

    def test_what_turns_spent_is_summed(self, store):
        for number in range(3):
            store.end_turn(spends(number, BIG))
        store.end_turn(spends(3, replace(BIG, usage=Usage(2**52), cost_usd=1e-7)))
        (row,) = usage(store, UsageBy.MODEL)
        assert (row.turns, row.usage) == (4, Usage(2**52 + 3, 60, 900, 12_000))
        assert row.cost_usd == pytest.approx(1.5000001, abs=1e-12)

    def test_a_turn_that_is_not_to_be_counted_is_not(self, store):
        assert store.end_turn(spends(1)) is True
        assert usage(store) == []

    def test_a_turn_without_a_model_is_counted(self, store):
        store.end_turn(spends(1, Spending("")))
        assert usage(store, UsageBy.MODEL) == [UsageRow(1, Usage(), 0.0, model="")]

    def test_what_one_owner_spent_is_not_anothers(self, store):
        for number, owner in enumerate(["me", "you", "you", "", "m"]):
            store.end_turn(spends(number, BIG, project=Project(owner, "p")))
        assert [row.turns for row in usage(store, owner="you")] == [2]
        assert [row.turns for row in usage(store, owner="")] == [1]
        assert usage(store, owner="nobody") == []
        keys = {row.owner: row.turns for row in usage(store, UsageBy.KEY)}
        assert keys == {"me": 1, "you": 2, "": 1, "m": 1}
        projects = [(row.owner, row.name, row.turns) for row in usage(store, UsageBy.PROJECT)]
        assert projects == [("", "p", 1), ("m", "p", 1), ("me", "p", 1), ("you", "p", 2)]
        assert [row.name for row in usage(store, UsageBy.PROJECT, "me")] == ["p"]
        assert [row.turns for row in usage(store)] == [5]

    @pytest.mark.parametrize("name", NAMES)
    def test_any_name_is_counted_as_it_is(self, store, name):
        for number, each in enumerate(NAMES):
            store.end_turn(spends(number, BIG, project=Project("", each)))
        found = {row.name: row for row in usage(store, UsageBy.PROJECT)}
        assert set(found) == set(NAMES)
        assert found[name] == UsageRow(1, BIG.usage, 0.5, owner="", name=name)

    def test_days_are_those_of_the_ends_and_asked_for_from_the_first_to_the_last(self, store):
        ends = [TODAY - timedelta(days=days) for days in (0, 1, 1, 40, 90)]
        for number, at in enumerate(ends):
            store.end_turn(spends(number, BIG, at=at))
        for days, turns in ((0, [1]), (1, [2, 1]), (39, [2, 1]), (40, [1, 2, 1])):
            found = usage(store, days=days)
            assert [row.turns for row in found] == turns
            assert [row.day for row in found] == sorted({at.date() for at in ends})[-len(turns) :]
        yesterday = ends[1].date()
        assert [row.turns for row in store.usage("", yesterday, yesterday)] == [2]
        assert [row.turns for row in usage(store, UsageBy.KEY, days=400)] == [5]

    def test_a_day_is_one_of_utc(self, store):
        late = datetime.combine(TODAY.date(), datetime.min.time(), timezone(timedelta(hours=2)))
        store.end_turn(spends(1, BIG, at=late))
        assert usage(store) == []
        (row,) = usage(store, days=1)
        assert row.day == TODAY.date() - timedelta(days=1)

    def test_what_was_spent_long_ago_is_forgotten(self, store):
        # Not to the day: the tests may run over midnight.
        ages = (USAGE_KEEP_DAYS + 2, USAGE_KEEP_DAYS - 1, 0, USAGE_KEEP_DAYS + 100)
        for number, days in enumerate(ages):
            store.end_turn(spends(number, BIG, at=TODAY - timedelta(days=days)))
        store.expire(10)
        ends = [TODAY.date() - timedelta(days=USAGE_KEEP_DAYS - 1), TODAY.date()]
        assert [row.day for row in usage(store, days=USAGE_KEEP_DAYS + 200)] == ends

    def test_what_was_spent_is_known_after_the_session_is_deleted(self, store):
        claim = store.claim(P)
        store.put_session(session(P), claim)
        store.end_turn(spends(1, BIG, claim=claim, session=session(P, turns=1)))
        store.delete_session(P)
        assert store.end_turn(spends(2, BIG, claim=claim, session=session(P, turns=2))) is False
        assert [row.turns for row in usage(store, UsageBy.PROJECT)] == [2]

    def test_of_many_ends_at_once_each_is_counted(self, store):
        ends = [spends(number, BIG, SMALL) for number in range(16)]
        at_once([lambda end=end: store.end_turn(end) for end in ends])
        assert [row.turns for row in usage(store)] == [16]

    # -- the token

    @pytest.mark.parametrize("expires", [None, NOW])
    def test_the_token_is_kept_whole_and_forgotten(self, store, expires):
        token = XoToken("access", "refresh", expires, "u", "s")
        store.put_token(token)
        assert store.token() == token
        newer = XoToken("newer", None, None, None, None)
        store.put_token(newer)
        assert store.token() == newer
        store.put_token(None)
        assert store.token() is None

    def test_the_token_is_swapped_only_for_the_one_that_is_expected(self, store):
        first, second = (XoToken(name, None, NOW, None, None) for name in ("one", "two"))
        assert store.compare_and_set_token("one", first) is False
        assert store.token() is None
        assert store.compare_and_set_token(None, first) is True
        assert store.compare_and_set_token(None, second) is False
        assert store.compare_and_set_token("two", None) is False
        assert store.token() == first
        assert store.compare_and_set_token("one", second) is True
        assert store.token() == second
        assert store.compare_and_set_token("two", None) is True
        assert store.token() is None

    def test_of_many_swaps_at_once_one_succeeds(self, store):
        store.put_token(XoToken("old", "r", None, None, None))
        swaps = [
            lambda name=name: store.compare_and_set_token(
                "old", XoToken(name, None, None, None, None)
            )
            for name in "abcdefgh"
        ]
        assert at_once(swaps).count(True) == 1

    # -- the outbox

    def test_a_message_is_kept_whole(self, store):
        put = message(1, user_id=None, type=None, status="partial", message="日本\n\0'\"")
        put_message(store, put)
        assert heads(store) == [put]

    def test_the_oldest_message_of_a_project_comes_first(self, store):
        first, second = message(1), message(2)
        put_message(store, first)
        put_message(store, second)
        assert heads(store) == [first]
        assert store.outbox_counts().waiting == 2
        store.delete_message(first)
        assert heads(store) == [second]
        store.delete_message(second)
        assert heads(store) == []
        assert store.outbox_counts().waiting == 0

    def test_projects_come_in_the_order_of_their_oldest_messages(self, store):
        theirs = Project("you", "p")
        for each in (message(1, Q), message(1), message(2, Q), message(1, theirs)):
            put_message(store, each)
        assert heads(store) == [message(1, Q), message(1), message(1, theirs)]
        store.delete_message(message(1, Q))
        assert heads(store) == [message(1), message(2, Q), message(1, theirs)]

    def test_a_message_dropped_twice_takes_no_other_along(self, store):
        put_message(store, message(1))
        put_message(store, message(2))
        store.delete_message(message(1))
        store.delete_message(message(1))
        store.delete_message(message(9, Q))
        assert heads(store) == [message(2)]
        assert store.outbox_counts().waiting == 1

    def test_a_message_may_be_dropped_out_of_order(self, store):
        for number in (1, 2, 3):
            put_message(store, message(number))
        store.delete_message(message(2))
        store.delete_message(message(1))
        assert heads(store) == [message(3)]

    def test_messages_of_many_threads_all_arrive_in_each_projects_order(self, store):
        def put(name: str) -> None:
            for number in range(20):
                put_message(store, message(number, Project("", name)))

        at_once([lambda name=name: put(name) for name in "abcdefgh"])
        assert store.outbox_counts().waiting == 160
        for number in range(20):
            first = heads(store)
            assert {each.id.rpartition("-")[2] for each in first} == {str(number)}
            for each in first:
                store.delete_message(each)

    def test_as_many_projects_are_named_as_are_asked_for(self, store):
        for name in "cabd":
            put_message(store, message(1, Project("", name)))
        assert [project.name for project in store.waiting_projects(3)] == ["c", "a", "b"]
        assert store.next_message(Project("", "x")) is None

    def test_the_outbox_is_counted(self, store):
        empty = store.outbox_counts()
        assert empty == OutboxCounts(waiting=0, oldest=None, dead=0, dropped=0, full=False)
        for each in (message(3, Q), message(1), message(2)):
            put_message(store, each)
        store.move_to_dead_letters(message(1), "why", NOW)
        counts = store.outbox_counts()
        assert (counts.waiting, counts.dead) == (2, 1)
        assert counts.oldest == message(3, Q).created
        store.delete_message(message(3, Q))
        assert store.outbox_counts().oldest == message(2).created

    # -- dead letters

    def test_fault_t13_a_try_is_remembered_until_it_is_taken_back_or_the_message_revived(
        self, store
    ):
        for each in (message(1), message(2)):
            put_message(store, each)
        assert store.next_message(P).tried is False
        store.note_try(message(1))
        assert store.next_message(P).tried is True
        store.note_try(message(1), tried=False)
        assert store.next_message(P).tried is False
        store.note_try(message(1))
        store.move_to_dead_letters(message(1), "why", NOW)
        assert store.next_message(P) == message(2)
        assert store.next_message(P).tried is False
        store.requeue_dead_letters("")
        found = store.next_message(P)
        assert (found, found.tried) == (message(1), False)
        store.note_try(message(9))  # gone meanwhile

    def test_a_buried_message_waits_no_more_and_is_listed(self, store):
        put = message(1, type="agent", status="partial")
        for each in (put, message(2)):
            put_message(store, each)
        store.move_to_dead_letters(put, "the Chat API answered 422", NOW)
        assert heads(store) == [message(2)]
        assert store.outbox_counts().waiting == 1
        letter = DeadLetter(
            put.id, P, "agent", "partial", put.created, "the Chat API answered 422", NOW
        )
        assert store.dead_letters("") == [letter]

    def test_a_message_that_does_not_wait_is_not_buried(self, store):
        store.move_to_dead_letters(message(1), "why", NOW)
        put_message(store, message(2))
        store.delete_message(message(2))
        store.move_to_dead_letters(message(2), "why", NOW)
        assert store.dead_letters("") == []
        assert store.requeue_dead_letters("") == 0

    def test_dead_letters_are_their_owners_and_come_in_the_order_of_their_deaths(self, store):
        theirs = Project("you", "p")
        for each in (message(1, theirs), message(1), message(1, Q), message(2)):
            put_message(store, each)
        for each in (message(1, Q), message(1), message(1, theirs)):
            store.move_to_dead_letters(each, "why", NOW)
        assert [letter.id for letter in store.dead_letters("")] == ["-q-1", "-p-1"]
        assert [letter.id for letter in store.dead_letters("you")] == ["you-p-1"]
        assert store.requeue_dead_letters("you") == 1
        assert store.dead_letters("you") == []
        assert len(store.dead_letters("")) == 2

    def test_revived_letters_come_back_whole_before_what_waits_in_their_project(self, store):
        put = [message(number, message="日本\n", status="failed") for number in range(5)]
        for each in put[:4]:
            put_message(store, each)
        for each in put[:2]:
            store.move_to_dead_letters(each, "why", NOW)
        store.delete_message(put[2])
        put_message(store, put[4])
        assert store.requeue_dead_letters("") == 2
        assert store.dead_letters("") == []
        found = []
        while (head := store.next_message(P)) is not None:
            found.append(head)
            store.delete_message(head)
        assert found == [put[0], put[1], put[3], put[4]]
        assert store.outbox_counts().waiting == 0

    def test_a_revived_letter_may_die_again(self, store):
        put_message(store, message(1))
        store.move_to_dead_letters(message(1), "first", NOW)
        store.requeue_dead_letters("")
        store.move_to_dead_letters(message(1), "second", NOW)
        assert [letter.why for letter in store.dead_letters("")] == ["second"]

    def test_a_revived_letters_project_is_as_old_as_the_letter(self, store):
        for each in (message(1), message(1, Q), message(2)):
            put_message(store, each)
        store.move_to_dead_letters(message(1), "why", NOW)
        assert store.waiting_projects(9) == [Q, P]
        store.requeue_dead_letters("")
        assert store.waiting_projects(9) == [P, Q]
        assert store.outbox_counts().oldest == message(1).created

    def test_dead_letters_are_bounded(self, store, monkeypatch):
        monkeypatch.setattr(self.limited, "DEAD_LIMIT", 3)
        for number in range(5):
            put_message(store, message(number))
            store.move_to_dead_letters(message(number), "why", NOW)
        assert [letter.id for letter in store.dead_letters("")] == ["-p-2", "-p-3", "-p-4"]
        counts = store.outbox_counts()
        assert (counts.dead, counts.dropped) == (3, 2)
        assert store.requeue_dead_letters("") == 3
        assert store.next_message(P) == message(2)

    def test_fault_s4_an_owners_refused_messages_cost_no_other_its_own(self, store, monkeypatch):
        monkeypatch.setattr(self.limited, "DEAD_LIMIT", 3)
        others = Project("other", "p")
        put = [message(0, others), *(message(number) for number in range(1, 5))]
        for each in put:
            put_message(store, each)
            store.move_to_dead_letters(each, "why", NOW)
        assert [letter.id for letter in store.dead_letters("other")] == [put[0].id]
        assert [letter.id for letter in store.dead_letters(P.owner)] == [put[3].id, put[4].id]
        assert store.outbox_counts().dropped == 2

    # -- the relay

    def test_one_relay_at_a_time_delivers(self, store):
        assert store.acquire_delivery_lease("a", 60) is True
        assert store.acquire_delivery_lease("b", 60) is False
        assert store.acquire_delivery_lease("a", 60) is True
        store.acquire_delivery_lease("a", 0)
        assert store.acquire_delivery_lease("b", 60) is True
        assert store.acquire_delivery_lease("a", 0) is False
        assert store.acquire_delivery_lease("c", 60) is False

    def test_a_relay_that_is_gone_loses_its_lease(self, store):
        assert store.acquire_delivery_lease("a", 0.2) is True
        assert store.acquire_delivery_lease("b", 60) is False
        deadline = time.monotonic() + 10
        while not store.acquire_delivery_lease("b", 60):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert store.acquire_delivery_lease("a", 60) is False

    def test_of_many_relays_at_once_one_gets_the_lease(self, store):
        leases = [lambda name=name: store.acquire_delivery_lease(name, 60) for name in "abcdefgh"]
        assert at_once(leases).count(True) == 1

    def test_a_closed_store_may_be_closed_again(self, store):
        store.close()
        store.close()

    # -- tickets

    def test_fault_w9_a_ticket_is_of_its_turn_and_is_used_any_number_of_times(self, store: Store):
        assert store.put_ticket(ticket(1))
        assert store.put_ticket(ticket(2, owner="a.b-c_1", fingerprint="f"))
        for _ in range(3):
            assert store.use_ticket("turn-1", "digest-1") == ticket(1)
        assert store.use_ticket("turn-1", "digest-2") == ticket(2, owner="a.b-c_1", fingerprint="f")
        assert store.use_ticket("turn-1", "digest-3") is None
        assert store.use_ticket("turn-2", "digest-1") is None

    def test_fault_w9_a_ticket_that_is_not_used_in_time_is_gone_one_that_was_stays(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(self.ticket_module, "TICKET_TTL_S", 0.3)
        assert store.put_ticket(ticket(1))
        assert store.put_ticket(ticket(2))
        assert store.use_ticket("turn-1", "digest-2") == ticket(2)
        time.sleep(0.4)
        assert store.use_ticket("turn-1", "digest-1") is None
        assert store.use_ticket("turn-1", "digest-2") == ticket(2)

    def test_fault_w9_a_turn_has_eight_tickets_those_not_counted_that_are_too_late(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ):
        assert all(store.put_ticket(ticket(number)) for number in range(Ticket.LIMIT))
        assert store.put_ticket(ticket(Ticket.LIMIT)) is False
        assert store.use_ticket("turn-1", f"digest-{Ticket.LIMIT}") is None
        assert store.put_ticket(ticket(1, "turn-2"))
        monkeypatch.setattr(self.ticket_module, "TICKET_TTL_S", -1.0)
        assert all(store.put_ticket(ticket(number, "turn-3")) for number in range(12))

    # -- approvals

    def test_an_approval_waits_until_it_is_resolved_once(self, store: Store):
        asked = approval()
        assert store.put_approval(asked)
        assert store.approval(asked.id) == asked
        assert store.approvals("", pending=True, limit=9) == [asked]
        assert store.approval("another") is None
        answer = {"behavior": "allow", "updatedInput": {"command": "ls"}}
        assert store.resolve_approval(asked.id, resolution(), answer)
        assert not store.resolve_approval(asked.id, resolution("deny", "you"), {})
        assert not store.resolve_approval("another", resolution(), {})
        without = replace(asked, input={}, suggestions=(), resolution=resolution(), answer=answer)
        assert store.approval(asked.id) == without
        assert store.approvals("", pending=True, limit=9) == []
        assert store.approvals("", pending=False, limit=9) == [without]
        store.apply_approval(asked.id, NOW)
        assert store.approval(asked.id) == replace(without, answer=None, applied=NOW)

    def test_approvals_are_listed_by_owner_and_age(self, store: Store):
        mine = [approval(number) for number in range(4)]
        other = approval(1, Project("other", "p"))
        for each in (*mine, other):
            assert store.put_approval(each)
        assert store.approvals("", pending=True, limit=3) == mine[:3]
        assert store.approvals("other", pending=True, limit=9) == [other]
        assert store.approvals("nobody", pending=True, limit=9) == []
        assert store.approvals(None, pending=True, limit=9) == [*mine, other]
        for each in mine[:2]:
            store.resolve_approval(each.id, resolution(), {})
            time.sleep(0.002)  # a store may tell them apart by the millisecond
        newest = store.approvals(None, pending=False, limit=9)
        assert [each.id for each in newest] == [mine[1].id, mine[0].id]
        assert len(store.approvals("", pending=False, limit=1)) == 1

    def test_an_owner_has_so_many_approvals_that_wait_and_all_have_so_many(self, store: Store):
        for number in range(APPROVALS_OF_OWNER):
            assert store.put_approval(approval(number))
        assert not store.put_approval(approval(APPROVALS_OF_OWNER))
        store.resolve_approval(approval(0).id, resolution(), {})
        assert store.put_approval(approval(APPROVALS_OF_OWNER))
        for number in range(APPROVALS_LIMIT - APPROVALS_OF_OWNER):
            assert store.put_approval(approval(number, Project(f"owner-{number}", "p")))
        assert not store.put_approval(approval(1, Project("late", "p")))

    def test_of_many_who_answer_at_once_one_wins(self, store: Store):
        store.put_approval(approval())
        calls = [
            partial(store.resolve_approval, approval().id, resolution(by=str(number)), {})
            for number in range(8)
        ]
        won = at_once(calls)
        assert sum(won) == 1
        found = store.approval(approval().id)
        assert found is not None
        assert found.resolution is not None
        assert found.resolution.by == str(won.index(True))

    def test_a_session_has_a_title_as_long_as_it_is_there(self, store: Store):
        assert not store.put_title(P, "mine")
        kept(store, P)
        kept(store, Q)
        assert store.put_title(P, "日本: mine")
        assert store.titles("") == {"p": "日本: mine"}
        assert store.titles("other") == {}
        kept(store, P)  # a turn does not take it away
        assert store.titles("") == {"p": "日本: mine"}
        assert store.put_title(P, "again")
        assert store.titles("") == {"p": "again"}
        assert store.put_title(P, None)
        assert store.titles("") == {}
        store.put_title(P, "gone")
        store.delete_session(P)
        assert store.titles("") == {}
