"""The resident processes: leased, kept for the next turn, bounded in number."""

from __future__ import annotations

import functools
import gc
import os
import re
import signal
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from cowork.claude.launch_options import LaunchOptions
from cowork.claude.pool.pool import Pool
from cowork.claude.process.launcher import find_setpriv
from cowork.claude.stream_json.failures import SessionMissing
from cowork.errors import AtCapacity, ClaudeUnavailable
from cowork.model import Project
from cowork.runtime.fair_queue import FairSemaphore
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.claude.pool_of_fakes import (
    EMPTY,
    answer,
    ask,
    seconds,
    wait_result,
)

PROJECT = Project("", "p")


def test_a_sessions_process_is_kept_for_its_next_turn(new_pool):
    pool = new_pool()
    process = pool.get()
    answer(process, "a")
    assert (pool.count("busy"), pool.count("idle")) == (1, 0)
    pool.give_back(process)
    assert (pool.count("busy"), pool.count("idle")) == (0, 1)
    assert pool.again(process) is process
    assert len(pool.did("start")) == 1


def test_a_process_that_died_while_idle_is_replaced(new_pool):
    pool = new_pool()
    process = pool.get()
    answer(process, "a")
    pool.give_back(process)
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.alive, what="its death")
    second = pool.again(process)
    assert second.pid != process.pid
    assert answer(second, "[[count]]b").startswith("I see 2 questions")
    assert pool.counts().busy == 1


def test_a_process_that_missed_turns_of_its_session_is_replaced(new_pool):
    pool = new_pool()
    process = pool.get()
    answer(process, "a")
    pool.give_back(process, 1)
    assert pool.again(process, turns=1) is process
    pool.give_back(process)  # it was not asked
    assert pool.again(process, turns=1) is process
    pool.give_back(process, 2)
    # Another server has taken the third.
    second = pool.again(process, turns=3)
    assert second is not process
    assert not process.alive
    assert answer(second, "[[count]]b").startswith("I see 2 questions")
    pool.give_back(second, 4)
    assert pool.again(process, turns=4) is second


def test_a_process_that_is_unfit_is_not_kept(new_pool):
    pool = new_pool()
    failed, busy = pool.get(), pool.get()
    answer(failed, "[[kill]] [[words 9]]")
    ask(busy, "[[hang]]")
    pool.give_back(failed)
    pool.give_back(busy)
    assert (pool.count("busy"), pool.count("idle")) == (0, 0)


def test_the_process_that_was_used_longest_ago_makes_room(new_pool):
    pool = new_pool()
    first, second = pool.get(), pool.get()
    answer(first, "[[say used later]]")
    for process in (first, second):
        pool.give_back(process)
    third = pool.get()
    assert pool.again(first) is first
    assert not second.alive
    assert third.alive


def test_a_busy_process_never_makes_room(new_pool):
    pool = new_pool(limit=1, slot_timeout=0.2)
    process = pool.get()
    begun = time.monotonic()
    with pytest.raises(AtCapacity) as caught:
        pool.get()
    assert 0.2 <= time.monotonic() - begun < 3
    assert caught.value.retry_after > 0
    assert answer(process, "[[say still here]]") == "still here"


@pytest.mark.parametrize("end", [Pool.give_back, Pool.discard])
def test_whoever_waits_for_a_slot_gets_the_next_that_is_free(new_pool, background, end):
    pool = new_pool(limit=1, slot_timeout=PATIENCE_S)
    process = pool.get()
    waiting = background(pool.get)
    assert not waiting.done()
    end(pool, process)
    assert waiting.result(PATIENCE_S).alive
    assert pool.counts().busy == 1


def test_a_wait_for_a_slot_can_be_given_up(new_pool):
    pool, gone = new_pool(limit=1, slot_timeout=60), threading.Event()
    pool.get()
    gone.set()
    with pytest.raises(AtCapacity):
        pool.get(given_up=gone.is_set)


def test_what_is_to_be_checked_before_a_start_is_so_then_alone_and_keeps_no_slot(new_pool):
    pool, checked = new_pool(limit=1), []

    def refuse():
        checked.append("before a start")
        raise SessionMissing("its directory is gone")

    with pytest.raises(SessionMissing):
        pool.get(before_start=refuse)
    process = pool.get()
    answer(process, "a")
    pool.give_back(process)
    again = pool.again(process, before_start=refuse)
    assert again is process
    assert checked == ["before a start"]


def test_a_process_that_has_ended_is_freed_at_once_and_not_by_the_garbage_collector(new_pool):
    """That comes rarely to a worker, and a question may take mebibytes."""
    pool = new_pool()
    process = pool.get()
    answer(process, "a")
    ended = weakref.ref(process)
    gc.collect()
    gc.disable()
    try:
        pool.discard(process)
        pool.projects.clear()
        del process
        wait_for(lambda: ended() is None, what="the process object's end")
    finally:
        gc.enable()


def test_there_are_never_more_processes_than_the_limit(new_pool, background):
    pool, most, counting = new_pool(limit=2, slot_timeout=PATIENCE_S), [], threading.Lock()

    def turn():
        process = pool.get()
        with counting:
            most.append(pool.lines.held)
        answer(process, "[[say x]]")
        pool.give_back(process)

    for call in [background(turn) for _ in range(8)]:
        call.result(PATIENCE_S)
    assert max(most) <= 2


def test_a_forgotten_session_has_no_process_any_more(new_pool):
    pool = new_pool()
    process = pool.get()
    pool.give_back(process)
    pool.forget(pool.projects[process.session_id], process.session_id)
    pool.forget(PROJECT, "no-such-session")
    assert pool.counts().idle == 0
    assert pool.lines.wait_for(0)


def test_a_process_that_idles_too_long_is_ended(new_pool):
    pool = new_pool(idle_timeout=0.2)
    process = pool.get()
    pool.give_back(process)
    assert pool.lines.wait_for(0)
    wait_for(lambda: pool.counts() == replace(EMPTY, limit=2), what="an empty pool")
    assert not process.alive


@pytest.mark.skipif(find_setpriv() is None, reason="setpriv is missing: apt-get install util-linux")
def test_a_process_lives_on_when_the_thread_that_asked_for_it_ends(new_pool, background):
    pool = new_pool(launch_config={"setpriv": find_setpriv()})
    process = background(pool.get).result(PATIENCE_S)
    background.close()
    assert answer(process, "[[say alive]]") == "alive"


# -- another CLI in the place of the one that runs


def replace_cli(environ: dict[str, str], text: str | None = None) -> None:
    """Put another file in the CLI's place, as an update does; the same program unless told."""
    path = Path(environ["CLAUDE_CLI_PATH"])
    new = path.with_name("new")
    new.write_text(path.read_text() if text is None else text)
    new.chmod(0o755)
    new.replace(path)


def test_fault_t12_a_process_of_a_former_cli_is_replaced_between_two_turns(new_pool, fake_environ):
    pool = new_pool(limit=4)
    used, idle, busy = (pool.get() for _ in range(3))
    for process in (used, idle):
        answer(process, "a")
        pool.give_back(process)
    running = ask(busy, "[[delay 100]] [[words 9]]", tokens=1)
    pool.saw_skills("/x", ("mine",))
    replace_cli(fake_environ)
    second = pool.again(used)
    assert second.pid != used.pid
    assert answer(second, "[[count]]b").startswith("I see 2 questions")
    wait_for(lambda: not idle.alive, PATIENCE_S, "the end of what idles")
    wait_result(running)
    assert running.result.error is None
    assert running.result.text.count(" ") == 8
    pool.give_back(busy)
    assert not busy.alive
    pool.give_back(second)
    assert pool.again(used) is second
    assert not pool.has_skill("mine", str(pool.folder))


def test_fault_t12_while_another_cli_is_half_there_the_processes_of_the_former_are_kept(
    new_pool, fake_environ
):
    whole = Path(fake_environ["CLAUDE_CLI_PATH"]).read_text()
    pool = new_pool()
    process = pool.get()
    answer(process, "a")
    pool.give_back(process)
    replace_cli(fake_environ, "\0\0")
    assert pool.again(process) is process
    pool.give_back(process)
    with pytest.raises(ClaudeUnavailable):
        pool.get()
    assert "failed" in pool.start_problem
    assert pool.again(process) is process
    pool.give_back(process)
    replace_cli(fake_environ, whole)
    pool.get()
    wait_for(lambda: pool.start_problem is None, what="the end of the problem")


# -- starting


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory of numbers


class NoThread:
    """What watches descriptors, where no thread can be started."""

    def __init__(self, real):
        self.close = real.close

    def watch(self, _watched):
        raise RuntimeError("can't start new thread")


class Watcher:
    """What watches descriptors; notes the number of each that it is to let go of."""

    def __init__(self, real):
        self.watch, self.close, self._real = real.watch, real.close, real
        self.let_go = []

    def unwatch(self, watched):
        self.let_go.append(watched.fileno())
        self._real.unwatch(watched)


def test_a_process_that_nobody_can_read_is_ended(new_pool):
    pool = new_pool()
    launcher = pool._launcher
    launcher._watcher, watching = NoThread(launcher._watcher), launcher._watcher
    with pytest.raises(ClaudeUnavailable):
        pool.get()
    assert pool.lines.wait_for(0)
    assert pool.counts().busy == 0
    launcher._watcher = watching
    answer(pool.get(), "a")


def test_fault_t5_what_is_watched_is_closed_by_its_watcher_alone(new_pool, monkeypatch):
    """Closed by another, it makes gevent's loop abort."""
    start = threading.Thread.start

    def refuse(thread):
        if re.fullmatch(r"claude-\d+", thread.name):
            raise RuntimeError("can't start new thread")
        start(thread)

    pool = new_pool()
    launcher = pool._launcher
    launcher._watcher = watcher = Watcher(launcher._watcher)
    answer(pool.get(), "a")
    before = descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ClaudeUnavailable):
            pool.get()
    assert len(watcher.let_go) == 1
    wait_for(lambda: descriptors() <= before, what="the end of every descriptor")
    answer(pool.get(), "a")


def broken(kind: str, folder: Path) -> str:
    path = folder / "broken"
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        path.write_text({"exits": "#!/bin/sh\nexit 1\n", "silent": "#!/bin/sh\n"}.get(kind, "\0x"))
        path.chmod(0o644 if kind == "not executable" else 0o755)
    return str(path)


KINDS = ["missing", "not executable", "directory", "no program", "exits", "silent"]


@pytest.mark.parametrize("setpriv", [None, find_setpriv()])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cli_that_cannot_be_started_is_unavailable_and_costs_nothing(
    new_pool, tmp_path, kind, setpriv
):
    environ = {"CLAUDE_CLI_PATH": broken(kind, tmp_path)}
    pool = new_pool(environ=environ, launch_config={"setpriv": setpriv}, start_timeout=3.0)

    def fail():
        with pytest.raises(ClaudeUnavailable) as caught:
            pool.get()
        assert str(tmp_path) not in caught.value.message
        assert "in time" not in caught.value.message

    fail()
    before = descriptors()
    for _ in range(100 if setpriv is None else 5):
        fail()
    # What standard error was read from is closed by another thread, a moment later.
    wait_for(lambda: descriptors() <= before, what="the end of every descriptor")
    assert pool.counts().busy == 0


def test_a_cli_that_is_mended_is_used_without_a_restart(new_pool, fake_environ, tmp_path):
    wrapper = Path(fake_environ["CLAUDE_CLI_PATH"])
    wrapper.rename(tmp_path / "away")
    pool = new_pool()
    with pytest.raises(ClaudeUnavailable):
        pool.get()
    (tmp_path / "away").rename(wrapper)
    assert pool.get().alive


def test_a_cli_that_hangs_at_its_start_is_ended_in_time(new_pool):
    pool = new_pool(config={"start": "hang"}, start_timeout=0.3)
    assert seconds(pytest.raises, ClaudeUnavailable, pool.get) < 4
    assert pool.lines.wait_for(0)
    assert pool.counts().busy == 0


def test_a_cli_that_does_not_even_read_what_it_is_told_is_ended_in_time(new_pool):
    pool = new_pool(config={"start": "hang"}, start_timeout=0.3)
    options = LaunchOptions(system_prompt="x" * 200_000)  # more than a pipe holds
    call = functools.partial(pool.get, options=options)
    assert seconds(pytest.raises, ClaudeUnavailable, call) < 10
    assert pool.lines.wait_for(0)
    assert pool.counts().busy == 0


def test_fault_s9_a_start_that_hangs_does_not_keep_others_from_starting(
    new_pool, background, monkeypatch
):
    monkeypatch.setattr("cowork.claude.process.launcher.MAX_CPU_START_S", 0.3)
    pool = new_pool(config={"start": "hang"}, start_timeout=PATIENCE_S)
    pool._launcher._start_permits = FairSemaphore(1)
    gone = threading.Event()
    hanging = background(lambda: pool.get(given_up=gone.is_set))
    wait_for(lambda: pool.did("start"), what="the start that hangs")
    pool.tell()
    assert answer(pool.get(), "[[say hi]]") == "hi"
    assert not hanging.done()
    gone.set()
    with pytest.raises(ClaudeUnavailable):
        hanging.result(PATIENCE_S)


def test_a_directory_that_cannot_be_made_is_no_place_to_start_in(new_pool, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ClaudeUnavailable):
        new_pool().lease(PROJECT, str(tmp_path / "file" / "x"))


def test_a_project_whose_directory_is_broken_does_not_make_the_server_unready(new_pool, tmp_path):
    pool = new_pool()
    (tmp_path / "file").touch()
    with pytest.raises(ClaudeUnavailable):
        pool.lease(PROJECT, str(tmp_path / "file"))
    assert pool.start_problem is None
    wait_for(lambda: pool.did("start"), what="a try beside")
    wait_for(lambda: pool.counts() == replace(EMPTY, limit=2), what="its end")
    assert pool.start_problem is None


def test_a_cli_that_does_not_start_in_a_projects_directory_or_elsewhere_is_told_of(
    new_pool, tmp_path
):
    pool = new_pool(config={"start": "exit"})
    with pytest.raises(ClaudeUnavailable):
        pool.lease(PROJECT, str(tmp_path / "project"))
    wait_for(lambda: pool.start_problem, what="what a try beside has shown")


# -- starts


def test_fault_t11_starts_that_wait_for_something_do_not_hold_up_the_others(new_pool, background):
    cores = os.cpu_count() or 1
    pool = new_pool(limit=cores + 1, start_timeout=60, config={"start": "slow:8000"})
    slow = [background(pool.get) for _ in range(cores)]
    wait_for(lambda: len(pool.did("start")) == cores, what="slow starts")
    pool.tell()
    assert answer(pool.get(), "a") == "You said: a"
    assert not any(each.done() for each in slow)


# -- skills


@pytest.fixture
def _own_skill(home):
    (home / ".claude" / "skills" / "code-writer").mkdir(parents=True)


@pytest.mark.usefixtures("_own_skill")
def test_the_skills_are_those_that_the_cli_lists_and_are_asked_for_once(new_pool):
    pool = new_pool(bundled_skills=True)
    for skill, there in [("code-writer", True), ("verify", True), ("nonesuch", False)] * 2:
        assert pool.has_skill(skill, str(pool.folder)) is there
        assert pool.has_skill(skill, "/anywhere/else") is there
    assert len(pool.did("start")) == 1
    assert pool.counts().busy == 0
    assert pool.lines.wait_for(0)


@pytest.mark.usefixtures("_own_skill")
def test_fault_s10_what_the_cli_brings_along_is_asked_for_once_a_version(new_pool, fake_environ):
    pool = new_pool()
    pool.saw_skills("/x", ("code-writer", "verify", "plugin:mine"))
    assert pool.has_skill("code-writer", "/x")  # the folder says enough
    assert len(pool.did("start")) == 0
    for skill, there in [("verify", False), ("plugin:mine", True)] * 2:
        assert pool.has_skill(skill, "/x") is there
    assert len(pool.did("start")) == 1
    folder = Path(pool.did("start")[0]["cwd"])
    assert folder.name.startswith("cowork-")
    assert not folder.exists()
    assert pool.lines.wait_for(0)
    # Another CLI may bring others.
    Path(fake_environ["CLAUDE_CLI_PATH"]).touch()
    wait_for(lambda: not pool.has_skill("verify", "/x") and len(pool.did("start")) == 2)


def test_fault_s10_while_it_is_not_known_what_the_cli_brings_along_nothing_is_let_through(new_pool):
    pool = new_pool(config={"start": "exit"})
    pool.saw_skills("/x", ("verify",))
    for _ in range(2):
        with pytest.raises(ClaudeUnavailable):
            pool.has_skill("verify", "/x")
    assert pool.counts().busy == 0


def test_skills_that_a_turn_has_told_need_no_process(new_pool):
    pool = new_pool(bundled_skills=True)
    pool.saw_skills("/x", ("mine",))
    pool.saw_skills("/x", None)
    assert pool.has_skill("mine", "/x")
    assert len(pool.did("start")) == 0


@pytest.mark.usefixtures("_own_skill")
def test_a_skill_that_was_installed_meanwhile_is_asked_for(new_pool):
    pool = new_pool()
    pool.saw_skills("/x", ("mine",))
    assert pool.has_skill("code-writer", str(pool.folder))
    assert len(pool.did("start")) == 1


@pytest.mark.parametrize("known", [(), tuple(f"skill-{each}" for each in range(8))])
def test_fault_s9_who_waits_while_another_asks_for_skills_in_vain_hears_it_too(
    new_pool, background, known
):
    """Also where a skill is known, and what is asked for is those that the CLI brings along."""
    pool = new_pool(config={"start": "hang"}, start_timeout=3.0)
    pool.saw_skills("/x", known or None)
    calls = [background(pool.has_skill, f"skill-{each}", str(pool.folder)) for each in range(8)]
    for call in calls:
        with pytest.raises(ClaudeUnavailable):
            call.result(PATIENCE_S * 2)
    assert len(pool.did("start")) <= 2  # who came last may have come later


def test_trusted_projects_have_skills_of_their_own(new_pool):
    pool = new_pool(launch_config={"trust_projects": True}, bundled_skills=True)
    pool.saw_skills("/x", ("mine",))
    assert not pool.has_skill("mine", str(pool.folder))
    assert pool.has_skill("mine", "/x")


def test_skills_that_could_not_be_asked_for_are_asked_for_again(new_pool):
    pool = new_pool(config={"start": "exit"})
    for _ in range(2):
        with pytest.raises(ClaudeUnavailable):
            pool.has_skill("verify", str(pool.folder))
    assert len(pool.did("start")) == 2
    assert pool.counts().busy == 0
