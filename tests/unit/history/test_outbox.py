"""Chat messages arrive, in order, whatever the Chat API does; and nobody waits for them."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import structlog.testing

from cowork.errors import StoreUnavailable
from cowork.history.chat_api import ChatApi, LoginNeeded, NoChatApi, Refused, Unreachable
from cowork.history.delivery_backoff import DeliveryGate
from cowork.history.outbox import Outbox
from cowork.history.relay import Relay
from cowork.model import ChatMessage, Project
from cowork.runtime.backoff import Backoff
from cowork.stores.encryption import Encryption
from cowork.stores.memory.store import MemoryStore
from cowork.stores.sqlite.store import SqliteStore
from cowork.upstream.http import Limits, UpstreamClient
from cowork.web.outbox import counts_reply, status_reply
from tests.unit.stores.store_suite import put_message
from tests.upstream import Upstream, drops_reply, fails, hangs, says, until

NOW = datetime(2026, 1, 31, 12, 30, 15, tzinfo=UTC)
OUTAGE = ["outbox delivery failed, retrying", "outbox delivery recovered"]
QUICK = {"first_pause": 0.005, "longest_pause": 0.02}


IDLE = {
    "enabled": True,
    "pending": 0,
    "oldest_age_s": None,
    "dead": 0,
    "dropped": 0,
    "reachable": None,
    "wants_login": False,
}


def message(number, project="p", owner=""):
    name, where = f"{project}-{number}", Project(owner, project)
    return ChatMessage(name, where, "u", str(number), "@xo", created=NOW)


def heads(store):
    return [store.next_message(project) for project in store.waiting_projects(100)]


def sender_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("outbox-")]


class History:
    """A Chat API in memory: `answer` is called with each message and may raise; `taken` is kept."""

    def __init__(self, answer=None):
        self.answer = answer or (lambda _message: None)
        self.tried = []
        self.tokens = []
        self.taken = defaultdict(list)
        self.at_once = defaultdict(int)
        self.most_at_once = 0
        self._lock = threading.Lock()

    def add_message(self, message, token):
        with self._lock:
            self.tried.append((time.monotonic(), message))
            self.tokens.append(token)
            self.at_once[message.project] += 1
            assert self.at_once[message.project] == 1, "two messages of one project at once"
            self.most_at_once = max(self.most_at_once, sum(self.at_once.values()))
        try:
            self.answer(message)
            with self._lock:
                self.taken[message.project.name].append(message.message)
        finally:
            with self._lock:
                self.at_once[message.project] -= 1


class Gate:
    """An answer that waits until the gate is opened."""

    def __init__(self):
        self.opened = threading.Event()

    def __call__(self, _message):
        self.opened.wait(20)


class Weather:
    """An answer that fails while `bad`."""

    def __init__(self):
        self.bad = True

    def __call__(self, _message):
        if self.bad:
            raise Unreachable("the Chat API is down")


class Box(Outbox):
    """An outbox that is given messages as the recorder gives them to the store."""

    @property
    def state(self):
        return status_reply(self.status)

    def listed(self, owner):
        counts, letters = self.dead_letters(owner)
        return {**counts_reply(counts), "dead": len(letters)}, letters

    @property
    def pending(self):
        return self._store.outbox_counts().waiting

    def add(self, message):
        if self.enabled:
            put_message(self._store, message)
            self.wake()


class AwayStore(MemoryStore):
    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def _fail(self):
        if self.fault is not None:
            raise self.fault

    def start_turn(self, record, question):
        self._fail()
        return super().start_turn(record, question)

    def waiting_projects(self, limit):
        self._fail()
        return super().waiting_projects(limit)

    def outbox_counts(self):
        self._fail()
        return super().outbox_counts()


@pytest.fixture
def open_outbox():
    """Make outboxes that are closed at the end and must leave no thread."""
    opened = []

    def opener(history, store=None, bearer=lambda: "token-1", max_age=0.0, **settings):
        store = store or MemoryStore()
        holder = f"relay-{len(opened)}"  # each as if in a process of its own
        relay = Relay(store, history, bearer, **({"holder": holder} | QUICK | settings))
        box = Box(store, relay, max_age=max_age)
        opened.append(box)
        return box

    yield opener
    for box in opened:
        box.close(5)
    until(lambda: not sender_threads())


@pytest.fixture
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture
def chat_api(upstream):
    http = UpstreamClient(upstream.url, Limits(connect=1, read=0.1, total=0.2))
    yield ChatApi(http)
    http.close()


@pytest.fixture
def lines():
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_messages_arrive_in_order(open_outbox):
    history = History()
    box = open_outbox(history)
    for number in range(200):
        box.add(message(number))
    until(lambda: not box.pending)
    assert history.taken["p"] == [str(number) for number in range(200)]
    assert set(history.tokens) == {"token-1"}
    until(lambda: box.state == {**IDLE, "reachable": True})


def test_the_token_is_the_one_held_when_a_message_is_sent(open_outbox):
    tokens = iter(["before", None, "after"])
    history = History()
    box = open_outbox(history, bearer=lambda: next(tokens))
    for number in range(3):
        box.add(message(number))
    until(lambda: not box.pending)
    assert history.tokens == ["before", None, "after"]


def test_no_thread_runs_until_a_first_message_is_there(open_outbox):
    box = open_outbox(History())
    box.start()
    assert box.state == IDLE
    assert sender_threads() == []
    box.add(message(1))
    assert len(sender_threads()) == 4
    assert all(thread.daemon for thread in sender_threads())


def test_what_an_earlier_run_left_is_delivered_at_start(open_outbox):
    store, history = MemoryStore(), History()
    put_message(store, message(1))
    box = open_outbox(history, store)
    box.start()
    until(lambda: not box.pending)
    assert history.taken["p"] == ["1"]


def test_without_a_chat_api_nothing_is_kept_and_no_thread_runs(open_outbox):
    store = MemoryStore()
    box = open_outbox(NoChatApi(), store)
    box.add(message(1))
    box.start()
    assert store.outbox_counts().waiting == 0
    assert sender_threads() == []
    assert box.state == {**IDLE, "enabled": False}


def test_adding_does_not_wait_while_the_api_hangs(open_outbox):
    gate = Gate()
    box = open_outbox(History(gate))
    longest = 0.0
    for number in range(500):
        begun = time.monotonic()
        box.add(message(number, project=f"p{number % 50}"))
        longest = max(longest, time.monotonic() - begun)
    assert longest < 1
    assert box.pending == 500
    gate.opened.set()
    until(lambda: not box.pending)


def test_projects_do_not_wait_for_each_other(open_outbox):
    gate = Gate()
    history = History(lambda sent: gate(sent) if sent.project.name == "slow" else None)
    box = open_outbox(history)
    box.add(message(1, "slow"))
    until(lambda: history.tried)
    for number in range(20):
        box.add(message(number, "quick"))
    until(lambda: len(history.taken["quick"]) == 20)
    assert history.taken["slow"] == []
    gate.opened.set()


def test_two_owners_projects_of_one_name_do_not_wait_for_each_other(open_outbox):
    gate = Gate()
    history = History(lambda sent: gate(sent) if sent.project.owner == "alice" else None)
    box = open_outbox(history)
    box.add(message(1, owner="alice"))
    box.add(message(2, owner="bob"))
    until(lambda: history.taken["p"] == ["2"])
    gate.opened.set()


@pytest.mark.parametrize("senders", [1, 4])
def test_fault_s9_another_owners_message_does_not_wait_for_two_hundred(open_outbox, senders):
    gate = Gate()
    history = History(gate)
    box = open_outbox(history, senders=senders)
    for number in range(200):
        box.add(message(number, f"mine-{number}", "me"))
    until(lambda: len(history.tried) == senders)
    box.add(message(0, "yours", "you"))
    gate.opened.set()
    until(lambda: box.pending == 0)
    order = [each.project.owner for _, each in history.tried]
    # One may have been chosen already.
    assert order.index("you") <= senders + 1


def test_fault_s9_an_owner_whose_messages_hang_leaves_senders_to_the_others(open_outbox):
    gate = Gate()
    history = History(lambda each: gate(each) if each.project.owner == "slow" else None)
    store = MemoryStore()
    for owner, number in itertools.product(["slow", "quick"], range(9)):
        put_message(store, message(number, f"{owner}-{number}", owner))
    open_outbox(history, store, senders=2).start()
    until(lambda: len([name for name in history.taken if name.startswith("quick")]) == 9)
    assert sum(history.at_once.values()) <= 2
    gate.opened.set()


def test_no_more_than_the_senders_send_at_once(open_outbox):
    gate = Gate()
    history = History(gate)
    box = open_outbox(history, senders=3)
    for number in range(30):
        box.add(message(number, f"p{number}"))
    until(lambda: history.most_at_once == 3)
    gate.opened.set()
    until(lambda: not box.pending)
    assert history.most_at_once == 3


def test_a_message_delivered_while_the_store_is_read_is_not_sent_again(open_outbox):
    class SlowToAnswer(MemoryStore):
        """Tells what was there when it was asked; by then the message under way has arrived."""

        def waiting_projects(self, limit):
            projects = super().waiting_projects(limit)
            if projects and history.tried:
                gate.opened.set()
                until(lambda: not box._relay._picker.busy)
            return projects

    gate = Gate()
    history = History(gate)
    store = SlowToAnswer()
    box = open_outbox(history, store)
    box.add(message(1))
    until(lambda: not box.pending)
    box.close(5)
    assert history.taken["p"] == ["1"]


def test_order_holds_while_the_api_flaps(open_outbox):
    dice = random.Random(7)  # noqa: S311 - a repeatable play

    def flap(_message):
        if dice.random() < 0.3:
            raise Unreachable("not now")

    history = History(flap)
    box = open_outbox(history, first_pause=0.0005, longest_pause=0.002)
    for number in range(100):
        for project in ("a", "b", "c"):
            box.add(message(number, project))
    until(lambda: not box.pending)
    expected = [str(number) for number in range(100)]
    assert history.taken == {"a": expected, "b": expected, "c": expected}


@pytest.mark.parametrize("step", [0.008, 0.009, 0.01, 0.011, 0.012])
def test_a_rest_that_ends_while_it_is_looked_at_is_not_waited_for_forever(
    open_outbox, monkeypatch, step
):
    # Each look at the clock is `step` later: the rest ends between any two of them.
    looks = itertools.count()
    for module in ("relay", "picker"):
        monkeypatch.setattr(
            f"cowork.history.{module}.monotonic", lambda: 1000.0 + next(looks) * step
        )
    bad = iter([True])
    jitter = itertools.chain([0.0], itertools.repeat(1.0))  # the project's rest is the longer one

    def fail_once(_message):
        if next(bad, False):
            raise Unreachable("not now")

    history = History(fail_once)
    box = open_outbox(history, first_pause=0.1, longest_pause=0.1, jitter=lambda: next(jitter))
    box.add(message(1))
    until(lambda: history.taken["p"] == ["1"])


def test_a_refused_message_becomes_a_dead_letter_with_one_line_and_the_next_goes(
    open_outbox, lines
):
    def refuse(sent):
        if sent.message == "1":
            raise Refused(422)

    history = History(refuse)
    box = open_outbox(history)
    for number in range(3):
        box.add(message(number))
    until(lambda: not box.pending)
    assert history.taken["p"] == ["0", "2"]
    assert [(line["event"], line["status"]) for line in lines] == [
        ("chat message refused, now a dead letter", 422)
    ]
    assert lines[0]["message_id"] == "p-1"
    until(lambda: box.state["reachable"] is True)
    counts, letters = box.listed("")
    assert (counts["pending"], counts["dead"]) == (0, 1)
    assert [(letter.id, letter.why) for letter in letters] == [
        ("p-1", "the Chat API refused the message with 422")
    ]


def test_dead_letters_are_tried_again_when_asked_for_and_only_their_owners(open_outbox):
    strict = True

    def refuse(_sent):
        if strict:
            raise Refused(400)

    history = History(refuse)
    box = open_outbox(history)
    for number in range(3):
        box.add(message(number, "mine", "me"))
        box.add(message(number, "yours", "you"))
    until(lambda: not box.pending)
    assert (box.listed("me")[0]["dead"], box.state["dead"]) == (3, 6)
    strict = False
    assert box.requeue_dead_letters("me") == 3
    until(lambda: not box.pending)
    assert history.taken == {"mine": ["0", "1", "2"]}
    assert box.listed("me")[1] == []
    assert [letter.id for letter in box.listed("you")[1]] == ["yours-0", "yours-1", "yours-2"]
    assert box.requeue_dead_letters("me") == 0


class Door:
    """An answer that wants a certain token."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.held = None
        self.shown = []

    def bearer(self):
        return self.held

    def add_message(self, message, token):
        self.shown.append((message.message, token))
        if token != self.wanted:
            raise LoginNeeded(401, token)


def test_without_the_right_token_messages_wait_for_a_login_and_a_line_says_so(open_outbox, lines):
    door = Door("good")
    box = open_outbox(door, bearer=door.bearer, longest_pause=600.0)
    for number in range(5):
        for project in "abc":
            box.add(message(number, project))
    until(lambda: box.state["wants_login"])
    assert box.state["reachable"] is True
    tried = len(door.shown)
    assert tried <= 4
    box.add(message(5, "a"))
    assert box.pending == 16
    door.held = "good"
    box.token_changed()
    until(lambda: not box.pending)
    assert not box.state["wants_login"]
    assert sum(token is None for _, token in door.shown) == tried
    for project in "abc":
        box.add(message(9, project))
    until(lambda: not box.pending)
    assert [line["event"] for line in lines] == [
        "chat api needs a login, messages wait",
        "chat api available again",
    ]
    assert "good" not in str(lines)


def test_a_login_while_the_old_token_is_refused_is_not_overlooked(open_outbox):
    door = Door("good")

    def add_message(message, token):
        try:
            Door.add_message(door, message, token)
        except LoginNeeded:
            door.held = "good"
            box.token_changed()  # too early: nobody waits for a login yet
            raise

    door.add_message = add_message
    box = open_outbox(door, bearer=door.bearer, longest_pause=600.0)
    box.add(message(1))
    until(lambda: not box.pending)
    assert door.shown == [("1", None), ("1", "good")]


def test_a_refused_token_is_renewed_once(open_outbox):
    door, renewed = Door("good"), []

    def renew(rejected):
        renewed.append(rejected)
        door.held = "good"
        return True

    door.held = "old"
    box = open_outbox(door, bearer=door.bearer, refresh=renew)
    box.add(message(1))
    box.add(message(2))
    until(lambda: not box.pending)
    assert renewed == ["old"]
    assert door.shown == [("1", "old"), ("1", "good"), ("2", "good")]


def test_a_renewed_token_that_is_refused_too_is_not_renewed_again_at_once(open_outbox, lines):
    door, renewed = Door("good"), []

    def renew(rejected):
        renewed.append(rejected)
        door.held = f"new-{len(renewed)}"
        return True

    box = open_outbox(door, bearer=door.bearer, refresh=renew, longest_pause=600.0)
    box.add(message(1))
    until(lambda: box.state["wants_login"])
    box.add(message(2, "other"))
    time.sleep(0.1)
    assert renewed == [None]
    assert door.shown == [("1", None), ("1", "new-1")]
    assert [line["event"] for line in lines] == ["chat api needs a login, messages wait"]


def test_a_login_is_tried_now_and_then_even_if_nobody_says_there_was_one(open_outbox):
    door = Door("good")
    box = open_outbox(door, bearer=door.bearer)
    box.add(message(1))
    until(lambda: box.state["wants_login"])
    door.held = "good"  # another process logged in
    until(lambda: not box.pending)


def test_each_kind_of_trouble_has_its_line(open_outbox, lines):
    faults = [Unreachable("down"), Unreachable("down"), LoginNeeded(401, "token-1")]
    faults += [LoginNeeded(401, "token-1"), Unreachable("down")]

    def play(_message):
        if faults:
            raise faults.pop(0)

    box = open_outbox(History(play))
    box.add(message(1))
    until(lambda: not box.pending)
    until(lambda: box.state["reachable"])
    box.close(5)
    assert [line["event"] for line in lines] == [
        "chat api unavailable, messages wait",
        "chat api needs a login, messages wait",
        "chat api unavailable, messages wait",
        "chat api available again",
    ]


@pytest.mark.parametrize("refusal", [None, Refused(400)])
def test_a_message_whose_fate_the_store_does_not_take_is_not_sent_again(open_outbox, refusal):
    class FullDisk(MemoryStore):
        full = True

        def _write(self):
            if self.full:
                raise StoreUnavailable("disk full")

        def delete_message(self, message):
            self._write()
            super().delete_message(message)

        def move_to_dead_letters(self, message, why, died):
            self._write()
            super().move_to_dead_letters(message, why, died)

    def answer(_message):
        if refusal is not None:
            raise refusal

    store, history = FullDisk(), History(answer)
    box = open_outbox(history, store)
    box.add(message(1))
    until(lambda: box._relay._is_failing)
    time.sleep(0.2)
    assert len(history.tried) == 1
    store.full = False
    until(lambda: not box.pending)
    assert len(history.tried) == 1
    assert box.state["dead"] == (refusal is not None)


class Conflicting:
    """A Chat API that keeps what it is sent, loses its first reply and refuses repeats with 409."""

    def __init__(self, *, lost=1, busy=0):
        self.kept = []
        self.lost = lost
        self.busy = busy

    def __call__(self, sent):
        if sent.id in self.kept:
            raise Refused(409)
        if self.busy:
            self.busy -= 1
            raise Refused(409)
        self.kept.append(sent.id)
        if self.lost:
            self.lost -= 1
            raise Unreachable("the reply was lost")


def test_fault_t13_a_repeat_that_is_answered_409_is_there_already(open_outbox):
    history = History(Conflicting())
    box = open_outbox(history)
    for number in range(3):
        box.add(message(number))
    until(lambda: not box.pending)
    assert box.state["dead"] == 0
    # The first one is lost, then answered 409 twice; a pause lies between.
    assert [sent.id for _, sent in history.tried] == ["p-0", "p-0", "p-0", "p-1", "p-2"]


def test_fault_t13_a_repeat_that_is_still_being_taken_in_is_sent_once_more(open_outbox):
    answers = iter([Unreachable("lost"), Refused(409), None])

    def answer(_sent):
        if (fault := next(answers)) is not None:
            raise fault

    box = open_outbox(History(answer))
    box.add(message(1))
    until(lambda: not box.pending)
    assert box.state["dead"] == 0
    assert next(answers, "none left") == "none left"


def test_fault_t13_a_first_try_that_is_answered_409_is_a_refusal(open_outbox):
    box = open_outbox(History(Conflicting(lost=0, busy=1)))
    box.add(message(1))
    until(lambda: not box.pending)
    assert box.state["dead"] == 1


@pytest.mark.parametrize("first", [LoginNeeded(401, "token-1"), Unreachable("full", unseen=True)])
def test_fault_t13_a_try_that_was_not_taken_makes_no_repeat(open_outbox, first):
    answers = iter([first, Refused(409)])

    def answer(_sent):
        raise next(answers)

    box = open_outbox(History(answer))
    box.add(message(1))
    until(lambda: not box.pending)
    assert box.state["dead"] == 1


@pytest.mark.parametrize("status", [404, 412, 422])
def test_a_repeat_that_is_refused_otherwise_is_refused(open_outbox, status):
    answers = iter([Unreachable("lost"), Refused(status)])

    def answer(_sent):
        raise next(answers)

    box = open_outbox(History(answer))
    box.add(message(1))
    until(lambda: not box.pending)
    assert box.state["dead"] == 1


def test_fault_t13_a_try_of_an_earlier_run_counts(open_outbox, tmp_path):
    """The server dies between sending and hearing of it."""

    class Died(BaseException):
        pass

    def opened(holder):
        return SqliteStore(tmp_path / "state.db", Encryption(tmp_path / "key"), holder=holder)

    def answer(_sent):
        raise Died

    first = opened("a")
    put_message(first, message(1))
    relay = Relay(first, History(answer), lambda: None, holder="a")
    with pytest.raises(Died):
        relay._delivery.deliver(first.next_message(message(1).project))
    first.close()
    second = opened("b")
    history = History(Conflicting(lost=0))
    history.answer.kept.append("p-1")
    box = open_outbox(history, second)
    box.start()
    until(lambda: not box.pending)
    assert box.state["dead"] == 0
    assert len(history.tried) == 2
    box.close(5)
    second.close()


class SharedStore(MemoryStore):
    shared = True


def test_of_two_processes_on_one_store_one_delivers(open_outbox):
    store, history = SharedStore(), History()
    one, two = open_outbox(history, store), open_outbox(history, store)
    one.start()
    two.start()
    for number in range(50):
        for project in "abcd":
            (one if number % 2 else two).add(message(number, project))
    until(lambda: not store.outbox_counts().waiting)
    assert history.taken == {project: [str(number) for number in range(50)] for project in "abcd"}
    assert [one._relay._picker.lease.held, two._relay._picker.lease.held].count(True) == 1


def test_what_another_process_puts_in_the_store_is_seen(open_outbox):
    store, history = SharedStore(), History()
    box = open_outbox(history, store)
    box.start()
    put_message(store, message(1))
    until(lambda: history.taken["p"] == ["1"])


def test_a_relay_that_closes_hands_over_at_once(open_outbox):
    store = SharedStore()
    first, second = History(), History()
    one = open_outbox(first, store)
    one.add(message(1))
    until(lambda: first.taken["p"] == ["1"])
    two = open_outbox(second, store)
    two.add(message(2))
    one.close(5)
    until(lambda: second.taken["p"] == ["2"] or first.taken["p"] == ["1", "2"])
    two.add(message(3))
    until(lambda: second.taken["p"][-1:] == ["3"], 3)


def test_an_outbox_that_is_full_is_a_reason_not_to_be_ready(open_outbox):
    class Full(MemoryStore):
        def outbox_counts(self):
            return replace(super().outbox_counts(), full=True)

    assert open_outbox(History(), Full()).reasons() == [
        "the outbox is full: the Chat API takes no messages"
    ]
    assert open_outbox(NoChatApi(), Full()).reasons() == []
    assert open_outbox(History()).reasons() == []


def test_messages_that_wait_too_long_are_a_reason_only_where_an_age_is_set(open_outbox):
    store = MemoryStore()
    put_message(store, message(1))
    age = open_outbox(History(), store).state["oldest_age_s"]
    assert age > 0
    assert open_outbox(History(), store).reasons() == []
    assert open_outbox(History(), store, max_age=age * 2).reasons() == []
    assert open_outbox(History(), store, max_age=age / 2).reasons() == [
        f"chat messages have waited longer than {age / 2:g} s"
    ]
    store.delete_message(message(1))
    assert open_outbox(History(), store, max_age=1.0).reasons() == []


def test_a_dead_api_costs_two_lines_and_few_tries(open_outbox, lines):
    weather = Weather()
    history = History(weather)
    box = open_outbox(history, first_pause=0.05, longest_pause=0.1)
    begun = time.monotonic()
    for number in range(50):
        for project in range(20):
            box.add(message(number, f"p{project}"))
    until(lambda: len(history.tried) >= 10)
    spent = time.monotonic() - begun
    assert len(history.tried) <= 4 + spent / 0.025 + 1
    assert box.state["reachable"] is False
    weather.bad = False
    until(lambda: not box.pending and box.state["reachable"])
    box.close(5)
    assert [line["event"] for line in lines] == [
        "chat api unavailable, messages wait",
        "chat api available again",
    ]
    assert lines[0]["reason"] == "the Chat API is down"


def test_tries_grow_rarer_and_a_success_resets_them(open_outbox):
    weather = Weather()
    history = History(weather)
    box = open_outbox(history, first_pause=0.02, longest_pause=0.16, jitter=lambda: 0.0)
    box.add(message(1))
    until(lambda: len(history.tried) == 7)
    times = [at for at, _ in history.tried]
    pauses = [after - before for before, after in pairwise(times)]
    for pause, least in zip(pauses, [0.02, 0.04, 0.08, 0.16, 0.16, 0.16], strict=True):
        assert least <= pause < least + 0.5
    weather.bad = False
    until(lambda: not box.pending)
    weather.bad, history.tried = True, []
    box.add(message(2))
    until(lambda: len(history.tried) == 2)
    assert history.tried[1][0] - history.tried[0][0] < 0.16
    weather.bad = False


def test_a_dead_api_is_tried_by_one_project_after_the_other(open_outbox):
    weather = Weather()
    history = History(weather)
    box = open_outbox(history, senders=1)
    for project in "abcd":
        box.add(message(1, project))
    until(lambda: len(history.tried) >= 8)
    weather.bad = False
    assert {sent.project.name for _, sent in history.tried[:8]} == set("abcd")


def test_retry_after_is_honoured(open_outbox):
    answers = iter([Unreachable("busy", retry_after=0.3)])

    def once(_message):
        for fault in answers:
            raise fault

    history = History(once)
    box = open_outbox(history)
    box.add(message(1))
    until(lambda: not box.pending)
    first, second = (at for at, _ in history.tried)
    assert 0.3 <= second - first < 2


def test_a_message_that_always_fails_does_not_hold_up_other_projects(open_outbox):
    def poison(sent):
        if sent.project.name == "poisoned":
            raise Unreachable("500 each time")

    history = History(poison)
    box = open_outbox(history, first_pause=0.005, longest_pause=10.0)
    box.add(message(0, "poisoned"))
    for number in range(300):
        box.add(message(number, "well"))
    until(lambda: len(history.taken["well"]) == 300)
    assert sum(sent.project.name == "poisoned" for _, sent in history.tried) < 20
    assert box.pending == 1


def test_an_unforeseen_fault_loses_no_message(open_outbox, lines):
    faults = iter([TypeError("canary")])

    def once(_message):
        for fault in faults:
            raise fault

    history = History(once)
    box = open_outbox(history)
    box.add(message(1))
    until(lambda: not box.pending)
    assert history.taken["p"] == ["1"]
    assert lines[0]["reason"] == "TypeError"
    assert "canary" not in str(lines)


def test_senders_outlive_a_store_that_goes_away_for_a_while(open_outbox, lines):
    store, history = AwayStore(None), History()
    box = open_outbox(history, store)
    box.add(message(1))
    until(lambda: history.taken["p"] == ["1"])
    until(lambda: not box.pending)
    store.fault = StoreUnavailable("away")
    box.wake()
    until(lambda: lines)
    assert box.state["pending"] is None
    store.fault = None
    box.add(message(2))
    until(lambda: history.taken["p"] == ["1", "2"])
    until(lambda: len(lines) == len(OUTAGE))
    assert [line["event"] for line in lines] == OUTAGE


def test_a_token_that_cannot_be_read_tells_nothing_about_the_chat_api(open_outbox, lines):
    tokens = [StoreUnavailable("away"), "token-1"]

    def bearer():
        if isinstance(tokens[0], Exception):
            raise tokens.pop(0)
        return tokens[0]

    history = History()
    box = open_outbox(history, bearer=bearer)
    box.add(message(1))
    until(lambda: not box.pending)
    assert history.tokens == ["token-1"]
    box.close(5)
    assert [line["event"] for line in lines] == OUTAGE


def test_an_idle_outbox_does_nothing(open_outbox):
    class Counting(MemoryStore):
        reads = 0

        def waiting_projects(self, limit):
            self.reads += 1
            return super().waiting_projects(limit)

    store, history = Counting(), History()
    box = open_outbox(history, store)
    box.add(message(1))
    until(lambda: not box.pending)
    box.add(message(2))
    until(lambda: not box.pending)
    assert store.reads <= 8  # a few for each change, none for the time in between


def test_closing_delivers_what_waits_and_leaves_no_thread(open_outbox):
    history = History(lambda _message: time.sleep(0.001))
    box = open_outbox(history)
    for number in range(100):
        box.add(message(number))
    box.close(10)
    assert len(history.taken["p"]) == 100
    assert sender_threads() == []


def test_closing_does_not_wait_for_an_api_that_is_down(open_outbox):
    box = open_outbox(History(Weather()), longest_pause=30.0, first_pause=30.0)
    box.add(message(1))
    until(lambda: box.state["reachable"] is False)
    begun = time.monotonic()
    box.close(10)
    assert time.monotonic() - begun < 5
    assert sender_threads() == []
    assert box.pending == 1


def test_closing_ends_in_time_while_the_api_hangs(open_outbox):
    gate = Gate()
    box = open_outbox(History(gate))
    box.add(message(1))
    box.add(message(2, "other"))
    begun = time.monotonic()
    box.close(0.3)
    assert time.monotonic() - begun < 5  # the gate stays shut for 20
    assert box.pending == 2
    gate.opened.set()


def test_closing_twice_or_before_anything_is_no_error(open_outbox):
    box = open_outbox(History())
    box.close(1)
    box.close(1)


def test_a_message_added_after_closing_is_kept_and_starts_no_thread(open_outbox):
    box = open_outbox(History())
    box.close(1)
    box.add(message(1))
    assert box.pending == 1
    assert sender_threads() == []


def test_adding_from_many_threads_loses_nothing(open_outbox):
    history = History()
    box = open_outbox(history)

    def add_all(project):
        for number in range(50):
            box.add(message(number, project))

    threads = [threading.Thread(target=add_all, args=(f"p{n}",)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: not box.pending)
    expected = [str(number) for number in range(50)]
    assert history.taken == {f"p{n}": expected for n in range(10)}


def test_over_http_every_message_arrives_once_by_its_key(open_outbox, upstream, chat_api):
    weather = [hangs, drops_reply, fails(500), says(503, retry_after="0"), fails(429), drops_reply]
    box = open_outbox(chat_api)
    for number in range(30):
        for project in ("a", "b"):
            box.add(message(number, project))
        upstream.then(weather[number % len(weather)])
    until(lambda: not box.pending)
    for project in ("a", "b"):
        taken = [sent["message"] for sent in upstream.messages if sent["project_id"] == project]
        assert taken == [str(number) for number in range(30)]


def test_over_http_closing_everything_leaves_nothing_behind(open_outbox, upstream):
    upstream.always(hangs)
    http = UpstreamClient(upstream.url, Limits(read=50))
    box = open_outbox(ChatApi(http))
    box.add(message(1))
    until(lambda: upstream.seen)
    box.close(0.2)
    http.close()
    until(lambda: not sender_threads())
    assert box.pending == 1


def test_over_http_messages_survive_an_api_that_restarts(open_outbox, upstream, chat_api, lines):
    box = open_outbox(chat_api)
    box.add(message(1))
    until(lambda: not box.pending)
    upstream.stop()
    box.add(message(2))
    until(lambda: box.state["reachable"] is False)
    upstream.start()
    until(lambda: not box.pending)
    box.close(5)
    assert [sent["message"] for sent in upstream.messages] == ["1", "2"]
    assert [line["event"] for line in lines] == [
        "chat api unavailable, messages wait",
        "chat api available again",
    ]


class TestTheStoresOutbox:
    """The memory store's part, which order and bounds rest on."""

    def test_the_longest_waiting_head_comes_first(self):
        store = MemoryStore()
        for sent in (message(1, "a"), message(1, "b"), message(2, "a")):
            put_message(store, sent)
        store.delete_message(message(1, "a"))
        assert heads(store) == [message(1, "b"), message(2, "a")]

    def test_a_full_outbox_drops_the_message_that_waits_longest(self, lines):
        store = MemoryStore(outbox_limit=3)
        for sent in (message(1, "a"), message(1, "b"), message(2, "a")):
            put_message(store, sent)
        store.delete_message(message(1, "a"))
        put_message(store, message(3, "a"))
        put_message(store, message(4, "a"))
        assert heads(store) == [message(2, "a")]
        assert store.outbox_counts().waiting == 3
        assert [line["message_id"] for line in lines] == ["b-1"]

    @pytest.mark.parametrize(("limit", "size"), [(5, 1), (100, 200)])
    def test_fault_s9_who_floods_the_outbox_loses_its_own_messages(self, limit, size):
        store = MemoryStore(outbox_limit=limit, outbox_bytes=1200)
        put_message(store, message(0, "mine", "me"))
        for number in range(20):
            large = replace(message(number, f"p{number}", "you"), message="x" * size)
            put_message(store, large)
        assert store.next_message(Project("me", "mine")) is not None
        assert 1 < store.outbox_counts().waiting <= 5
        for project in store.waiting_projects(100):
            store.delete_message(store.next_message(project))
        assert (store.outbox_counts().waiting, store._outbox._bytes) == (0, 0)
        assert not store._outbox._counts

    def test_dropping_what_is_gone_is_no_error(self):
        store = MemoryStore()
        store.delete_message(message(1))
        put_message(store, message(2))
        store.delete_message(message(1))
        assert store.outbox_counts().waiting == 1


def test_projects_whose_messages_are_gone_are_forgotten():
    gate = DeliveryGate(lambda: Backoff(1.0, 60.0, lambda: 0.0))
    gate.failed(Project("", "p"), 10.0, 0.0)
    assert gate.project_retry_in(10.0) == 1.0
    gate.forget_all_but(set())
    assert gate.project_retry_in(10.0) is None
