"""However a process behaves, it is ended in bounded time, and nothing of it is left."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cowork.claude.stream_json.failures import ProcessGone
from cowork.errors import ClaudeFailed, ShuttingDown
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.claude.pool_of_fakes import (
    EMPTY,
    answer,
    ask,
    seconds,
    wait_result,
)

EVICTIONS = 50
FDS = Path("/proc/self/fd")


@pytest.mark.parametrize(
    ("question", "tokens", "limit"),
    [
        (None, 0, 2),
        ("[[stall]] [[words 9]]", 3, 2),
        ("[[hang]]", 0, 2),
        ("[[tool 30]]", 1, 2),
        ("[[deaf]]", 0, 8),
        ("[[close]] [[words 9]]", 3, 8),
    ],
)
def test_a_process_is_ended_in_bounded_time_whatever_it_does(new_pool, question, tokens, limit):
    pool = new_pool()
    process = pool.get()
    reply = ask(process, question, tokens) if question else None
    if question == "[[deaf]]":
        wait_for(lambda: pool.did("deaf"), what="deafness")
    assert seconds(pool.discard, process) < limit
    assert pool.lines.wait_for(0)
    assert reply is None or reply.result is not None
    assert seconds(process.end) < 1


def test_an_idle_process_ends_by_itself_when_its_stdin_does(new_pool):
    pool = new_pool()
    process = pool.get()
    answer(process, "a")
    pool.discard(process)
    assert [entry["code"] for entry in pool.did("exit")] == [0]


def test_what_a_tool_left_in_the_background_ends_with_its_process(new_pool):
    pool = new_pool()
    process = pool.get()
    answer(process, "[[background 60]]")
    assert pool.lines.wait_for(2)
    pool.discard(process)
    assert pool.lines.wait_for(0)


def test_what_a_tool_left_can_be_swept_while_the_process_lives(new_pool):
    pool = new_pool()
    process = pool.get()
    answer(process, "[[background 60]]")
    process.sweep()
    assert pool.lines.wait_for(1)
    assert answer(process, "[[say alive]]") == "alive"


def test_a_question_that_nobody_reads_does_not_hold_the_end_up(new_pool, background):
    pool = new_pool()
    process = pool.get()
    os.kill(process.pid, signal.SIGSTOP)
    asking = background(process.ask, "x" * 5_000_000, lambda _events: None)
    wait_for(lambda: process.busy, what="the question")
    assert seconds(pool.discard, process) < 10
    assert isinstance(asking.exception(PATIENCE_S), ClaudeFailed)


def test_many_may_end_a_process_at_once(new_pool, background):
    process = new_pool().get()
    for call in [background(process.end) for _ in range(4)]:
        call.result(PATIENCE_S)
    assert not process.alive


def test_closing_ends_every_process_with_short_timeouts(new_pool, background):
    pool = new_pool(limit=4)
    idle, deaf, stalled = pool.get(), pool.get(), pool.get()
    pool.give_back(idle)
    replies = [ask(deaf, "[[deaf]]"), ask(stalled, "[[stall]] [[words 9]]", 3)]
    wait_for(lambda: pool.did("deaf"), what="deafness")

    def hold(process, reply):
        wait_result(reply)
        pool.give_back(process)

    held = [background(hold, *pair) for pair in zip((deaf, stalled), replies, strict=True)]
    assert seconds(pool.close) < 3.5
    assert pool.lines.wait_for(0)
    for call in held:
        call.result(PATIENCE_S)
    assert pool.counts() == replace(EMPTY, limit=4)
    with pytest.raises(ShuttingDown):
        pool.get()


# A CLI that asks for a permission in each turn, and is at one of its own from its start if it
# `begins`.
MOODY = """#!{python} -S
import json, sys

def say(**fields):
    print(json.dumps(fields), flush=True)

def turn(state):
    say(type="system", subtype="session_state_changed", state=state)

for line in sys.stdin:
    got = json.loads(line)
    if got["type"] == "user":
        turn("running")
        say(type="system", subtype="init")
        say(type="control_request", request_id="c1", request={{"subtype": "can_use_tool"}})
        told = json.loads(sys.stdin.readline())["response"]
        said = told["subtype"] + " " + told["request_id"]
        say(type="result", subtype="success", is_error=False, result=said)
        turn("idle")
    elif got["request"]["subtype"] == "initialize":
        if {begins}:
            turn("running")
        say(type="control_response", response={{"subtype": "success", "request_id": "initialize"}})
"""


@pytest.fixture
def moody(new_pool, tmp_path):
    """A pool of CLIs with a mind of their own."""

    def start(*, begins):
        program = tmp_path / "moody"
        program.write_text(MOODY.format(python=sys.executable, begins=begins))
        program.chmod(0o755)
        return new_pool(environ={"CLAUDE_CLI_PATH": str(program)})

    return start


def test_a_permission_that_the_cli_asks_for_is_refused_and_the_turn_goes_on(moody):
    assert answer(moody(begins=False).get(), "hi") == "error c1"


def test_fault_s1_a_cli_that_begins_a_turn_at_its_start_is_not_used(moody):
    with pytest.raises(ProcessGone):
        moody(begins=True).get()


def test_fault_t5_what_fifty_processes_held_is_given_back(new_pool):
    def held():
        gc.collect()
        children = [each for each in gc.get_objects() if isinstance(each, subprocess.Popen)]
        return len([*FDS.iterdir()]), threading.active_count(), len(children)

    pool = new_pool(limit=4)
    answer(warm := pool.get(), "[[say warm]]")
    pool.discard(warm)
    before = held()
    for _ in range(EVICTIONS):
        answer(process := pool.get(), "[[say hi]]")
        pool.discard(process)
        assert process._child.stdin.closed
        assert process._child.stdout.closed
        del process

    def as_before():
        return all(now <= then for now, then in zip(held(), before, strict=True))

    wait_for(as_before, what=f"as little as before: {before}")


def test_fault_t5_a_pipe_is_closed_by_a_writer_who_was_stuck_in_it(new_pool, background):
    pool = new_pool()
    process = pool.get()
    os.kill(process.pid, signal.SIGSTOP)
    sent = background(process._stdin.send, b"x" * 5_000_000, 60)
    wait_for(process._stdin._lock.locked, what="the writer")
    pool.discard(process)
    assert sent.result(PATIENCE_S) is False
    assert process._child.stdin.closed
