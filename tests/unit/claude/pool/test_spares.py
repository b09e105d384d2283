"""Processes started ahead: who takes them, who makes them go, and what a broken CLI does to them."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cowork.claude.launch_options import LaunchOptions
from cowork.claude.pool.slot import PoolCounts
from cowork.claude.pool.spares import Spares
from cowork.claude.process.launcher import Launcher
from cowork.claude.stream_json.failures import ProcessGone
from cowork.errors import ClaudeUnavailable
from cowork.model import Project
from tests.background import BackgroundCalls
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.claude.pool_of_fakes import EMPTY, answer, seconds


@pytest.fixture
def new_pool(new_pool):
    """With a spare, and started."""

    def begin(**rules):
        pool = new_pool(**{"spares": 1, "limit": 4, **rules})
        pool.start()
        return pool

    return begin


def wait_spares(pool, count=1):
    wait_for(lambda: pool.count("spare") == count, PATIENCE_S, f"{count} spares")


def the_spare(pool):
    (process,) = [slot.process for slot in pool._slots if slot.state == "spare"]
    return process


def test_a_new_session_takes_the_spare_and_another_is_made(new_pool):
    pool = new_pool()
    wait_spares(pool)
    spare = the_spare(pool)
    process = pool.get()
    assert process is spare
    assert answer(process, "[[count]]a").startswith("I see 1 questions")
    wait_spares(pool)
    assert pool.counts() == replace(EMPTY, busy=1, spare=1, limit=4)
    pool.give_back(process)
    assert pool.again(process) is process
    assert len(pool.did("start")) == 2


def test_fault_t12_a_spare_of_a_former_cli_is_replaced_and_that_is_no_failure(
    new_pool, fake_environ
):
    pool = new_pool()
    wait_spares(pool)
    spare = the_spare(pool)
    path = Path(fake_environ["CLAUDE_CLI_PATH"])
    new = path.with_name("new")
    shutil.copy(path, new)
    new.replace(path)
    wait_for(lambda: not spare.alive, PATIENCE_S, "the end of the spare")
    wait_spares(pool)
    assert pool.get() is not spare
    assert pool.spares._breaker.failures == 0


def test_a_session_that_is_resumed_takes_no_spare(new_pool):
    pool = new_pool()
    process = pool.get()
    answer(process, "a")
    pool.discard(process)
    wait_spares(pool)
    spare, resumed = the_spare(pool), pool.again(process)
    assert resumed is not spare
    assert answer(resumed, "[[count]]b").startswith("I see 2 questions")
    assert the_spare(pool) is spare


def test_a_new_session_elsewhere_takes_no_spare(new_pool, tmp_path):
    pool = new_pool()
    wait_spares(pool)
    spare = the_spare(pool)
    process = pool.lease(None, str(tmp_path / "elsewhere"))
    assert process is not spare
    assert answer(process, "[[cwd]]") == str(tmp_path / "elsewhere")


@pytest.mark.parametrize(("limit", "spares"), [(1, 0), (2, 1), (3, 2), (4, 3)])
def test_spares_leave_a_slot_for_a_turn(new_pool, limit, spares):
    pool = new_pool(limit=limit, spares=3)
    process = pool.get()
    wait_for(lambda: pool.count("starting") == 0, what="the end of starts")
    pool.discard(process)
    wait_spares(pool, spares)
    assert pool.count("spare") == spares


def test_there_are_none_where_nobody_said_where(new_pool):
    pool = new_pool(spare_cwd=None)
    assert not [thread for thread in threading.enumerate() if thread.name == "claude-spares"]
    assert pool.counts() == replace(EMPTY, limit=4)


def test_a_spare_goes_before_an_idle_process(new_pool):
    pool = new_pool(limit=3)
    first, second = pool.get(), pool.get()
    for process in (first, second):
        answer(process, "a")
    pool.discard(first)
    pool.give_back(second)
    wait_spares(pool)
    third = pool.get(options=LaunchOptions(system_prompt="be brief"))
    assert pool.counts() == PoolCounts(busy=1, idle=1, spare=1, starting=0, limit=3)
    resumed = pool.again(first)
    assert pool.counts() == PoolCounts(busy=2, idle=1, spare=0, starting=0, limit=3)
    assert all(process.alive for process in (second, third, resumed))


def test_a_spare_that_starts_gives_up_its_slot_to_a_turn_it_would_not_serve(new_pool):
    pool = new_pool(limit=2, slot_timeout=PATIENCE_S, spares=0)
    known, busy = pool.get(), pool.get()
    answer(known, "a")
    pool.discard(known)
    pool.tell(start="hang")
    pool.spares = Spares(pool._slots, pool._launcher, count=1, cwd=str(pool.folder))
    pool.start()
    wait_for(lambda: len(pool.did("start")) == 3, what="the start of a spare")
    pool.tell(start="ok")
    assert answer(pool.again(known), "[[count]]b").startswith("I see 2 questions")
    assert busy.alive
    assert pool.spares.problem is None


def test_a_killed_spare_is_replaced(new_pool):
    pool = new_pool()
    wait_spares(pool)
    spare = the_spare(pool)
    os.kill(spare.pid, signal.SIGKILL)
    wait_for(lambda: pool.count("spare") == 1 and the_spare(pool) is not spare, what="another")
    assert pool.get().alive


def test_a_spare_that_is_dying_loses_no_question(new_pool):
    pool = new_pool(limit=2)
    for _ in range(10):
        wait_spares(pool)
        os.kill(the_spare(pool).pid, signal.SIGKILL)
        for _ in range(3):  # as often as a turn tries
            process = pool.get()
            try:
                said = answer(process, "[[say x]]")
            except ProcessGone:
                said = None
            pool.discard(process)
            if said == "x":
                break
        else:
            pytest.fail("the question was lost")


def test_a_spare_whose_directory_was_removed_is_not_used(new_pool, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    pool = new_pool(spare_cwd=str(folder))
    wait_spares(pool)
    spare = the_spare(pool)
    folder.rmdir()
    folder.mkdir()
    process = pool.lease(None, str(folder))
    assert process is not spare
    assert answer(process, "[[cwd]]") == str(folder)


def test_a_spare_does_not_bring_a_removed_directory_back(new_pool, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    pool = new_pool(spare_cwd=str(folder))
    wait_spares(pool)
    folder.rmdir()
    wait_spares(pool, 0)
    assert not folder.exists()
    assert pool.spares.problem is None
    folder.mkdir()
    wait_spares(pool)


def test_closing_ends_spares_and_starts_no_more(new_pool):
    pool = new_pool(spares=2)
    wait_spares(pool, 2)
    pool.close()
    assert pool.lines.wait_for(0)
    assert pool.counts() == replace(EMPTY, limit=4)
    assert len(pool.did("start")) == 2


def test_closing_while_a_spare_starts_leaves_nothing(new_pool):
    pool = new_pool(config={"start": "hang"})
    wait_for(lambda: pool.did("start"), what="the start of a spare")
    assert seconds(pool.close) < 4
    assert pool.lines.wait_for(0)


def test_no_more_are_made_once_that_was_stopped(new_pool):
    pool = new_pool()
    wait_spares(pool)
    pool.spares.stop()
    process = pool.get()
    answer(process, "[[say x]]")
    assert pool.counts() == replace(EMPTY, busy=1, limit=4)
    assert len(pool.did("start")) == 1


def test_twenty_new_sessions_at_once_stay_within_the_limit(new_pool):
    pool = new_pool(limit=3, slot_timeout=PATIENCE_S)
    wait_spares(pool)
    most, counting, threads = [], threading.Lock(), BackgroundCalls(20)

    def turn(number):
        process = pool.get()
        with counting:
            most.append(pool.lines.held)
        said = answer(process, f"[[say {number}]]")
        pool.give_back(process)
        return said

    calls = [threads(turn, number) for number in range(20)]
    assert [call.result(PATIENCE_S) for call in calls] == [str(number) for number in range(20)]
    threads.close()
    assert max(most) <= 3
    assert pool.counts().busy == 0


# -- a broken CLI


def test_a_cli_that_is_missing_at_the_start_is_used_when_it_appears(
    new_pool, fake_environ, tmp_path
):
    wrapper = Path(fake_environ["CLAUDE_CLI_PATH"])
    wrapper.rename(tmp_path / "away")
    pool = new_pool()
    wait_for(lambda: pool.spares.problem is not None, what="the breaker")
    assert "5 times in a row" in pool.spares.problem
    assert pool.count("spare") == 0
    (tmp_path / "away").rename(wrapper)
    wait_spares(pool)
    process = the_spare(pool)
    assert pool.get() is process
    assert pool.spares.problem is None


def test_a_broken_cli_does_not_make_the_spares_spin(new_pool):
    pool = new_pool(config={"start": "exit"})
    wait_for(lambda: pool.spares.problem is not None, what="the breaker")
    begun = time.monotonic()
    wait_for(lambda: len(pool.did("start")) >= 7, PATIENCE_S, "two more tries")
    # At least the halves of the first two pauses, one and two seconds.
    assert time.monotonic() - begun > 1.0


def test_questions_are_tried_while_the_breaker_is_open_and_one_success_closes_it(new_pool):
    pool = new_pool(config={"start": "exit"})
    wait_for(lambda: pool.spares.problem is not None, what="the breaker")
    with pytest.raises(ClaudeUnavailable):
        pool.get()
    pool.tell(start="ok")
    assert answer(pool.get(), "[[say x]]") == "x"
    assert pool.spares.problem is None
    wait_spares(pool)


# -- warm-up


def test_a_spare_has_warmed_up_and_nothing_of_that_is_in_its_session(new_pool, home):
    pool = new_pool()
    wait_spares(pool)
    assert len(pool.did("told")) == 1
    assert list(home.glob(".claude/projects/*/*.jsonl")) == []
    process = pool.get()
    assert (process.turns, process._earlier.total_cost_usd) == (0, 0)
    assert answer(process, "[[count]] one") == "I see 1 questions: one"
    assert len(pool.did("asked")) == 1


def test_a_spare_tells_the_skills(new_pool, home):
    (home / ".claude" / "skills" / "code-writer").mkdir(parents=True)
    pool = new_pool()
    wait_spares(pool)
    assert pool.has_skill("code-writer", str(pool.folder))
    assert len(pool.did("start")) == 1


def test_a_cli_that_knows_no_warm_up_has_spares_all_the_same(new_pool):
    pool = new_pool(limit=8, config={"asks_always": True})
    for starts in (2, 4, 6, 7, 8):  # after three tries it is asked no more
        wait_spares(pool)
        assert len(pool.did("start")) == starts
        process = pool.get()
        assert answer(process, "[[count]] one") == "I see 1 questions: one"
        pool.discard(process)
    assert pool.spares.problem is None


class Killed(BaseException):
    """What is thrown into a thread from outside, as gevent's GreenletExit is."""


class WarmingUp:
    """A process whose starter is ended while it warms up."""

    ended = False

    def warm_up(self):
        raise Killed

    def shorten_timeouts(self):
        """It has nothing to finish."""

    def end(self):
        self.ended = True


class LauncherOf(Launcher):
    """Starts that process."""

    def __init__(self, process):
        self._process, self._warm_up_failures = process, 0

    def start(self, *_given, **_wanted):
        return self._process


def test_a_process_is_ended_whose_warm_up_fails():
    process = WarmingUp()
    with pytest.raises(Killed):
        LauncherOf(process).start_prewarmed("/", given_up=lambda: False, on_spawn=lambda _: None)
    assert process.ended


def test_a_process_that_is_started_for_a_new_session_warms_up(new_pool):
    pool = new_pool(spares=0)
    project = Project("", "p")
    pool.warm(project, str(pool.folder), None)
    assert len(pool.did("told")) == 1
    process = pool.lease(project, str(pool.folder))
    assert answer(process, "[[count]] one") == "I see 1 questions: one"
    assert len(pool.did("start")) == 1


def test_a_session_that_is_resumed_does_not_warm_up(new_pool):
    pool = new_pool(spares=0)
    process = pool.get()
    answer(process, "one")
    pool.discard(process)
    pool.warm(pool.projects[process.session_id], str(pool.folder), process.session_id)
    assert pool.did("told") == []
    assert answer(pool.again(process), "[[count]] two") == "I see 2 questions: one | two"


def test_spares_have_the_options_that_they_were_told(new_pool):
    asking = LaunchOptions(approvals=True, todo=True)
    pool = new_pool(spare_options=asking)
    wait_spares(pool)
    spare = the_spare(pool)
    other = pool.get()
    assert other is not spare
    assert pool.get(options=asking) is spare
