"""An answer reaches no other question than its own, whatever order a CLI prints its lines in."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.failures import ProcessGone
from cowork.errors import ClaudeFailed
from cowork.events import Replace, Token
from cowork.runtime.fd_watcher import FdWatcher
from cowork.turns.event_log import EventLog
from tests.patience import PATIENCE_S

_numbers = count(1)


class Child:
    """A child of which there is nothing but its pipes; the test says what it prints."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.returncode: int | None = None
        self.waits = 0
        read, self._stdin = os.pipe()
        self.stdin = os.fdopen(self._stdin, "wb", buffering=0)
        self._others = [os.fdopen(read, "rb", buffering=0)]
        self.stdout, self.stderr = self._output(), self._output()

    def _output(self) -> Any:
        read, write = os.pipe()
        self._others.append(os.fdopen(write, "wb", buffering=0))
        return os.fdopen(read, "rb", buffering=0)

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.returncode = -9

    terminate = kill

    def wait(self, timeout: float | None = None) -> int:
        self.waits += 1
        raise subprocess.TimeoutExpired("child", timeout or 0)

    def close(self) -> None:
        self.kill()
        for pipe in self._others:
            pipe.close()


@contextmanager
def a_process(**settings: Any) -> Iterator[ClaudeProcess]:
    """A process to which the test hands blocks of lines, as its reader thread would."""
    watcher, child = FdWatcher("test-stderr"), Child()
    process = ClaudeProcess(
        child,  # type: ignore[arg-type]
        process_id="none",
        session_id="00000000-0000-4000-8000-000000000000",
        cwd="/",
        watcher=watcher,
        **settings,
    )
    process._dispatcher._become_ready()
    try:
        yield process
    finally:
        child.close()
        process._stdout_reader.thread.join(PATIENCE_S)
        process.shorten_timeouts()
        process.end()
        watcher.close()


@dataclass(frozen=True)
class Manners:
    """What a CLI tells: whose turn it is, which message a line is of, whether it is at work."""

    names: bool = True
    states: bool = True
    premature: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a turn; one that is `anchored` is the only word of whose message it begins."""

    fields: dict[str, Any]
    anchored: bool = False

    @property
    def names_in_message(self) -> bool:
        of_message = self.fields["type"] in ("stream_event", "assistant")
        return of_message and "user_message_uuids" in self.fields

    @property
    def data(self) -> bytes:
        return json.dumps(self.fields, separators=(",", ":")).encode() + b"\n"


@dataclass
class Turn:
    """The lines that a CLI prints for one question."""

    manners: Manners
    uuid: str
    text: str
    lines: list[Line] = field(default_factory=list)

    def whole(self, messages: int) -> list[Line]:
        if self.manners.states:
            self.add("system", subtype="session_state_changed", state="running")
        if self.manners.names:
            self.add("command_lifecycle", command_uuid=self.uuid, state="started")
        self.add("system", named=True, subtype="init")
        if self.manners.premature:
            self.result(num_turns=0, result="")
        for number in range(messages):
            self.message(first=number == 0)
        self.result(num_turns=messages, result=self.text)
        if self.manners.states:
            self.add("system", subtype="session_state_changed", state="idle")
        return self.lines

    def message(self, *, first: bool) -> None:
        name, tool = f"msg_{next(_numbers)}", f"toolu_{next(_numbers)}"
        begins = {"message": {"id": name}, "type": "message_start"}
        self.stream(begins, name, named=first)
        for part in (f"{self.text}-a ", f"{self.text}-b"):
            delta = {"type": "text_delta", "text": part}
            self.stream({"index": 0, "delta": delta, "type": "content_block_delta"}, name)
        thought = {"type": "thinking_delta", "thinking": f"{self.text}-thought"}
        self.stream({"index": 1, "delta": thought, "type": "content_block_delta"}, name)
        said = {"type": "text", "text": f"{self.text}-a {self.text}-b"}
        call = {"type": "tool_use", "id": tool, "name": "X", "input": {"of": self.text}}
        self.add("assistant", named=first, message={"id": name, "content": [said]})
        self.add("assistant", message={"id": name, "content": [call]})
        self.stream({"type": "message_stop"}, name)
        given_back = {"type": "tool_result", "tool_use_id": tool, "content": f"{self.text}-tool"}
        self.add("user", message={"content": [given_back]})

    def result(self, **fields: Any) -> None:
        self.add("result", named=True, subtype="success", is_error=False, **fields)

    def stream(self, event: dict[str, Any], name: str, *, named: bool = False) -> None:
        line_tag = {"api_message_id": name} if self.manners.names else {}
        anchored = event["type"] == "message_start" and not named
        self.add("stream_event", named=named, anchored=anchored, event=event, **line_tag)

    def add(self, kind: str, *, named: bool = False, anchored: bool = False, **fields: Any) -> None:
        line_tag = fields.pop("api_message_id", None)
        line = {"type": kind, **fields, "session_id": "s", "parent_tool_use_id": None}
        line["uuid"] = f"line-{next(_numbers)}"
        if line_tag is not None:
            line["api_message_id"] = line_tag
        if named and self.manners.names:
            line["user_message_uuids"] = [self.uuid]
        self.lines.append(Line(line, anchored))


class Conversation:
    """Asks one question after the other, and keeps what each reply was given."""

    def __init__(self, process: ClaudeProcess) -> None:
        self.process = process
        self.told: list[EventLog] = []
        self.replies: list[Any] = []

    def ask(self) -> str:
        """Ask; the question's uuid."""
        log = EventLog()

        def take(events: Any) -> None:
            for event in events:
                log.append(event)

        self.process._dispatcher._is_idle = True  # a CLI that never says so is waited for elsewhere
        reply = self.process.ask("?", take)
        self.told.append(log)
        self.replies.append(reply)
        return str(reply.answer.uuid)

    @property
    def over(self) -> bool:
        """Whether the latest question has its answer."""
        return self.replies[-1].result is not None

    def heard(self, number: int) -> str:
        """All that the reader of a question was told."""
        result = self.replies[number].result
        events = self.told[number].read(0) if len(self.told[number]) else []
        return repr([*events]) + (repr(result.text) if result is not None else "")


FATES = st.sampled_from(["drop", "double", "late", "both", "exchange"])
DISTURBANCES = st.lists(st.tuples(st.integers(0, 40), FATES, st.integers(0, 40)), max_size=8)


def disturbed(
    draw: Any, lines: list[Line], names: bool
) -> tuple[list[Line], list[tuple[int, Line]]]:
    """The lines with some of them dropped, doubled or exchanged, and those that come late.

    One line at least tells that this CLI names questions in messages.
    """
    kept: list[Line | None] = [*lines]
    doubled: dict[int, int] = {}
    late: list[tuple[int, Line]] = []
    for where, fate, later in draw(DISTURBANCES):
        at = where % len(kept)
        line = kept[at]
        if line is None:
            continue
        if line.anchored and names and fate in ("drop", "late"):
            continue
        last = sum(each is not None and each.names_in_message for each in kept) == 1
        if line.names_in_message and last and fate in ("drop", "late"):
            continue
        if fate == "exchange" and at + 1 < len(kept):
            kept[at], kept[at + 1] = kept[at + 1], line
        if fate == "double":
            doubled[at] = 2
        if fate in ("late", "both"):
            late.append((later, line))
        if fate in ("late", "drop"):
            kept[at] = None
    found = [
        line for at, line in enumerate(kept) if line is not None for _ in range(doubled.get(at, 1))
    ]
    return found, late


def mixed(late: list[tuple[int, Line]], own: list[Line], names: bool) -> list[Line]:
    """A turn's lines with an earlier turn's among them.

    Where the CLI names nobody, a line that comes after a question's own `init` is that question's.
    """
    mine = [n for n, line in enumerate(own) if line.fields.get("subtype") == "init"]
    most = len(own) if names else (mine[0] if mine else len(own))
    found = own[:]
    for at, line in late:
        found.insert(at % (most + 1), line)
        most += 1
    return found


@given(st.data(), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_fault_t2_no_answer_reaches_another_question(data, names, states, premature):
    draw, manners = data.draw, Manners(names=names, states=states, premature=premature)
    with a_process() as process:
        talk, late = Conversation(process), []
        for number in range(draw(st.integers(2, 4))):
            try:
                uuid = talk.ask()
            except ProcessGone:
                break
            whole = Turn(manners, uuid, f"text-of-{number}").whole(draw(st.integers(1, 2)))
            own, behind = disturbed(draw, whole, names)
            rest, size = mixed(late, own, names), draw(st.integers(1, 6))
            note(f"{manners}: {[line.data for line in rest]}")
            asked_at_once = draw(st.booleans())
            while rest and not (talk.over and asked_at_once):
                process._dispatcher.take(b"".join(line.data for line in rest[:size]))
                rest = rest[size:]
            if not talk.over:
                break  # its time runs out, and its process goes with it
            # What is left is printed while the next question waits already.
            unread = [line for line in rest if not (line.anchored and names)]
            late = [*enumerate(unread), *behind]
        for number in range(len(talk.replies)):
            others = [f"text-of-{n}" for n in range(4) if n != number]
            assert not [other for other in others if other in talk.heard(number)]


@pytest.mark.parametrize("open_", [True, False])
def test_fault_t2_a_message_whose_beginning_was_lost_is_not_the_next_answers(open_):
    """Its deltas alone have said that it was there, in its own turn or before any."""
    with a_process() as process:
        talk = Conversation(process)
        for line in Turn(Manners(), talk.ask(), "shown").whole(1):
            process._dispatcher.take(line.data)  # that this CLI names questions in messages
        whole = Turn(Manners(), talk.ask(), "first").whole(1)
        first = next(n for n, line in enumerate(whole) if line.fields["type"] == "stream_event")
        named, called = (n for n, line in enumerate(whole) if line.fields["type"] == "assistant")
        for number, line in enumerate(whole):
            opens = line.fields["type"] in ("command_lifecycle", "system") and not open_
            if number not in (first, named, called) and not opens:
                process._dispatcher.take(line.data)
        assert talk.over
        for line in Turn(Manners(), talk.ask(), "second").whole(1):
            process._dispatcher.take(line.data)
            if line.fields.get("subtype") == "init":
                process._dispatcher.take(whole[called].data)
        assert talk.replies[2].result.text == "second-a second-b"
        assert "first" not in talk.heard(2)


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("names", [True, False])
def test_fault_t2_a_conversation_in_order_is_told_whole(names, states):
    with a_process() as process:
        talk = Conversation(process)
        for number in range(3):
            text = f"text-of-{number}"
            lines = Turn(Manners(names=names, states=states), talk.ask(), text).whole(2)
            for line in lines:
                process._dispatcher.take(line.data)
            message = f"{text}-a {text}-b"
            assert talk.replies[-1].result.text == f"{message}\n\n{message}"
            assert f"{text}-tool" in talk.heard(number)
            assert f"{text}-thought" in talk.heard(number)


@pytest.mark.parametrize("names", [True, False])
def test_fault_t2_a_result_before_the_model_speaks_is_not_the_end(names):
    with a_process() as process:
        talk = Conversation(process)
        lines = Turn(Manners(names=names, premature=True), talk.ask(), "true").whole(1)
        for line in lines:
            process._dispatcher.take(line.data)
        assert talk.replies[0].result.text == "true-a true-b"


def test_fault_t2_a_model_that_is_slow_to_speak_is_waited_for_while_the_cli_is_at_work(monkeypatch):
    monkeypatch.setattr("cowork.claude.process.dispatcher.RESULT_GRACE_S", 0.05)
    with a_process() as process:
        talk = Conversation(process)
        lines = Turn(Manners(names=False, premature=True), talk.ask(), "true").whole(1)
        early = next(n for n, line in enumerate(lines) if line.fields["type"] == "result") + 1
        for line in lines[:early]:
            process._dispatcher.take(line.data)
        until = process.last_activity + 0.3
        while time.monotonic() < until:
            assert talk.replies[0].wait(until) is None
        for line in lines[early:]:
            process._dispatcher.take(line.data)
        assert talk.replies[0].result.text == "true-a true-b"


def test_fault_t2_what_comes_after_an_end_is_not_the_next_answer():
    """Without state events and names an early result ends its turn; its answer goes nowhere."""
    manners = Manners(names=False, states=False, premature=True)
    with a_process() as process:
        talk = Conversation(process)
        init, early, *rest = Turn(manners, talk.ask(), "first").whole(1)
        process._dispatcher.take(init.data + early.data)
        assert talk.replies[0].result.text == ""
        second = Turn(replace(manners, premature=False), talk.ask(), "second").whole(1)
        for line in [*rest, *second]:
            process._dispatcher.take(line.data)
        assert talk.replies[1].result.text == "second-a second-b"
        assert "first" not in talk.heard(1)


def test_fault_s1_a_turn_of_the_clis_own_is_no_answer_to_a_question_that_came_meanwhile():
    with a_process() as process:
        talk = Conversation(process)
        for line in Turn(Manners(), talk.ask(), "first").whole(1):
            process._dispatcher.take(line.data)
        talk.ask()
        for line in Turn(replace(Manners(), names=False), "", "unbidden").whole(1):
            process._dispatcher.take(line.data)
        assert isinstance(talk.replies[1].result.error, ProcessGone)
        assert "unbidden" not in talk.heard(1)
        assert process._child.returncode == -9


def test_a_result_that_says_nothing_is_the_end_when_the_cli_is_idle():
    with a_process() as process:
        talk = Conversation(process)
        turn = Turn(Manners(), talk.ask(), "none")
        turn.whole(0)
        turn.lines[-2].fields["result"] = ""
        for line in turn.lines[:-1]:
            process._dispatcher.take(line.data)
        assert not talk.over
        process._dispatcher.take(turn.lines[-1].data)
        assert (talk.replies[0].result.text, talk.replies[0].result.error) == ("", None)


def test_fault_t10_a_cli_that_is_idle_without_a_result_ends_its_turn_in_seconds(monkeypatch):
    monkeypatch.setattr("cowork.claude.process.dispatcher.RESULT_GRACE_S", 0.1)
    with a_process() as process:
        talk = Conversation(process)
        lines = Turn(Manners(), talk.ask(), "half").whole(1)
        for line in lines:
            if line.fields["type"] != "result":
                process._dispatcher.take(line.data)
        reply = talk.replies[0]
        for _ in range(100):
            if reply.wait(process.last_activity + 20) is not None:
                break
        assert isinstance(reply.result.error, ClaudeFailed)
        assert "without a result" in reply.result.error.message
        assert reply.result.text == "half-a half-b"
        assert not process.alive


def test_an_end_that_is_late_is_waited_for_while_the_cli_speaks(monkeypatch):
    monkeypatch.setattr("cowork.claude.process.dispatcher.RESULT_GRACE_S", 0.2)
    with a_process() as process:
        talk = Conversation(process)
        *lines, result, idle = Turn(Manners(), talk.ask(), "whole").whole(1)
        for line in [*lines, idle]:
            process._dispatcher.take(line.data)
        reply = talk.replies[0]
        process.overdue(reply)
        assert reply.result is None
        process._dispatcher.take(result.data)
        assert reply.wait(process.last_activity + 20).text == "whole-a whole-b"


def test_tokens_of_one_block_go_to_their_own_messages():
    """Deltas of another message, in one block with ours."""
    with a_process() as process:
        talk = Conversation(process)
        first = Turn(Manners(), talk.ask(), "first").whole(1)
        for line in first:
            process._dispatcher.take(line.data)
        late = [line for line in first if "text_delta" in json.dumps(line.fields)]
        second = Turn(Manners(), talk.ask(), "second").whole(1)
        begin = next(n for n, line in enumerate(second) if "text_delta" in str(line.fields))
        process._dispatcher.take(b"".join(line.data for line in second[:begin]))
        process._dispatcher.take(
            b"".join(line.data for line in [second[begin], *late, second[begin + 1]])
        )
        assert [*talk.told[1].read(0)] == [Token("second-a "), Token("second-b")]
        assert not any(isinstance(event, Replace) for event in talk.told[1].read(0))


def test_fault_t5_a_child_is_looked_at_and_never_waited_on():
    """Of two that wait on one child, gevent loses one when the other's time is up."""
    with a_process() as process:
        process._child.kill()
        process.end()
    assert process._child.waits == 0
    assert process._child.stdout.closed
