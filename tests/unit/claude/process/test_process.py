"""One real process of the fake CLI: asked, interrupted, mistreated."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cowork.claude import command
from cowork.claude.installation import ClaudeCli
from cowork.claude.process.launcher import Launcher
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.process.stderr import TAIL
from cowork.claude.stream_json.failures import ProcessGone, SessionInUse, SessionMissing
from cowork.errors import ClaudeFailed, ClaudeUnavailable
from cowork.events import Replace, Token, ToolResult
from tests.fake_claude import configure, read_log
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.claude.captured import Heard

Start = Callable[..., ClaudeProcess]


@pytest.fixture
def start(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start fakes; keywords but `session`, `resume`, `timeout` are keys of the fake's config."""
    launchers, begun = [], []
    launch_config = command.LaunchConfig(passed=("FAKE_CLAUDE_CONFIG",))

    def begin(
        *, session: str = "", resume: bool = False, timeout: float = 10.0, **config: object
    ) -> ClaudeProcess:
        config = {"log": tmp_path / "log", **config}
        environ = {**fake_environ, **configure(tmp_path / f"{uuid4()}.json", **config)}
        cli = ClaudeCli(environ["CLAUDE_CLI_PATH"], environ=environ, launch_config=launch_config)
        launchers.append(
            Launcher(cli, environ=environ, launch_config=launch_config, timeout=timeout)
        )
        session = session or str(uuid4())
        begun.append(launchers[-1].start(session, str(tmp_path), resume=resume))
        return begun[-1]

    yield begin
    for process in begun:
        process.shorten_timeouts()
        process.end()
    for launcher in launchers:
        launcher.close()


def result_of(reply):
    """The result; a `wait` also returns without one, when something else has changed."""
    wait_for(lambda: reply.wait(time.monotonic() + 0.2) is not None, PATIENCE_S, "a result")
    return reply.result


def ask(process, question):
    """The result of a question, and the text of its tokens behind the last replacement."""
    heard = Heard()
    result = result_of(process.ask(question, heard.take))
    last = max((n for n, event in enumerate(heard) if isinstance(event, Replace)), default=0)
    texts = [event.text for event in heard[last:] if isinstance(event, Token | Replace)]
    return result, "".join(texts)


def begin_turn(process, question, tokens=1):
    """Ask, and wait for the first tokens; the reply."""
    heard = Heard()
    reply = process.ask(question, heard.take)
    wait_for(lambda: heard.tokens >= tokens, what="a token")
    return reply


def test_a_question_is_answered_in_tokens_and_a_result(start):
    result, streamed = ask(start(), "hi")
    assert result.text == streamed == "You said: hi"
    assert (result.error, result.interrupted) == (None, False)


def test_a_process_answers_one_question_after_another(start):
    process = start()
    assert ask(process, "[[say one]]")[0].text == "one"
    assert ask(process, "[[say two]]")[0].text == "two"
    assert process.turns == 2
    assert not process.busy


def test_fault_t6_a_turn_costs_the_same_whatever_process_serves_it(start):
    first = start()
    costs = [ask(first, question)[0].cost_usd for question in ("a", "b")]
    first.end()
    second = start(session=first.session_id, resume=True)
    costs += [ask(second, question)[0].cost_usd for question in ("c", "d")]
    assert costs[0] > 0
    assert costs == pytest.approx(costs[:1] * 4)


def test_every_event_is_there_before_the_result_is(start):
    process, heard = start(), Heard()
    reply = process.ask("[[words 300]]", heard.take)
    result_of(reply)
    assert heard[-1] == Token("w300")


def test_a_wait_ends_at_its_time_or_when_it_is_woken(start):
    reply = begin_turn(start(), "[[stall]] [[words 9]]", 3)
    begun = time.monotonic()
    assert reply.wait(begun + 0.1) is None
    assert 0.1 <= time.monotonic() - begun < 5
    reply.wake()
    assert reply.wait(time.monotonic() + PATIENCE_S) is None


@pytest.mark.parametrize("question", ["[[stall]] [[words 9]]", "[[tool 30]]"])
def test_an_interrupt_ends_a_turn_at_once_and_the_process_lives_on(start, question):
    process = start()
    reply = begin_turn(process, question)
    begun = time.monotonic()
    reply.interrupt()
    result = result_of(reply)
    assert result.interrupted
    assert result.text
    assert time.monotonic() - begun < 2
    assert ask(process, "[[say again]]")[0].text == "again"


def test_an_interrupt_before_the_first_token_leaves_no_text(start):
    process = start()
    reply = process.ask("[[hang]]", lambda _events: None)
    reply.interrupt()
    result = result_of(reply)
    assert (result.text, result.interrupted) == ("", True)


def test_an_interrupt_that_comes_late_does_not_hit_the_next_turn(start):
    process = start()
    first = process.ask("a", lambda _events: None)
    result_of(first)
    second = begin_turn(process, "[[delay 20]] [[words 10]]")
    first.interrupt()
    process.interrupt(first)
    result = result_of(second)
    assert not result.interrupted
    assert result.text.endswith("w10")


def test_garbage_between_the_events_costs_no_token(start):
    result, streamed = ask(start(), "[[garbage]] [[words 40]]")
    assert result.text == streamed == " ".join(f"w{n}" for n in range(1, 41))


def test_nothing_but_garbage_is_a_failure(start):
    process = start()
    result, streamed = ask(process, "[[nonsense]]")
    assert type(result.error) is ClaudeFailed
    assert streamed == ""
    assert not process.alive


def test_a_killed_process_fails_its_turn_at_once_and_keeps_the_text(start):
    begun = time.monotonic()
    result, streamed = ask(start(), "[[kill]] [[words 9]]")
    assert type(result.error) is ClaudeFailed
    assert result.error.facts == {"signal": signal.SIGKILL}
    assert result.text == streamed == "w1 w2 w3 "
    assert time.monotonic() - begun < 5


def test_a_process_that_exits_names_its_code_and_keeps_its_words_to_the_log(start):
    result, _ = ask(start(), "[[die 3]] [[words 9]]")
    assert result.error.facts == {"exit_code": 3}
    assert "told to die" not in result.error.message


def test_half_a_line_at_the_end_is_dropped(start):
    result, streamed = ask(start(), "[[partial]] [[words 9]]")
    assert result.text == streamed == "w1 w2 w3 "
    assert type(result.error) is ClaudeFailed


def test_a_process_that_closes_its_stdout_and_lives_on_has_failed(start):
    process = start()
    begun = time.monotonic()
    result, _ = ask(process, "[[close]] [[words 9]]")
    assert type(result.error) is ClaudeFailed
    assert result.error.facts == {"exit_code": None}
    assert time.monotonic() - begun < 5
    assert not process.alive


def test_ten_megabytes_on_stderr_hold_nothing_up_and_take_no_memory(start):
    process = start()
    result, _ = ask(process, "[[stderr 10485760]] [[say done]]")
    assert result.text == "done"
    assert len(process._stderr.text) <= TAIL


def test_a_line_of_sixteen_mebibytes_is_read(start):
    assert ask(start(), f"[[line {16 * 2**20}]] [[say done]]")[0].text.endswith("done")


def test_fault_t4_a_longer_line_that_the_answer_does_not_need_is_let_go(start):
    process, heard = start(), Heard()
    result = result_of(process.ask(f"[[line {51 * 2**20}]] [[say done]]", heard.take))
    assert result.error is None
    assert result.text.endswith("done")
    (given_back,) = [event for event in heard if isinstance(event, ToolResult)]
    assert (given_back.content, given_back.truncated) == ("", True)
    assert ask(process, "[[say again]]")[0].text == "again"


@pytest.mark.parametrize("megabytes", [1, 20])
def test_a_long_question_arrives_whole(start, megabytes, tmp_path):
    process, question = start(), "x" * (megabytes * 10**6)
    assert ask(process, f"[[say ok]] {question}")[0].text == "ok"
    process.end()
    (asked,) = [entry for entry in read_log(tmp_path / "log") if entry["event"] == "asked"]
    assert asked["text"].endswith(question)


@pytest.mark.parametrize("text", ["a\nb\r\n\x85\u2028", "\ud800", "\0\x1b", "-x --help", "日本 🎉"])
def test_any_text_arrives_as_it_is_and_kills_nothing(start, text):
    result, _ = ask(start(), f"q {text}")
    assert result.text == f"You said: q {text}".replace("\ud800", "\ufffd")


def test_fault_s1_a_turn_that_nobody_asked_for_ends_its_process(start):
    process = start()
    assert ask(process, "[[unsolicited]] [[say one]]")[0].text == "one"
    wait_for(lambda: not process.alive, what="its end")
    with pytest.raises(ProcessGone):
        process.ask("[[say two]]", lambda _events: None)
    assert process._child.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_flood_of_tokens_arrives_whole(start):
    result, streamed = ask(start(), "[[flood 30000]]")
    assert len(streamed) == 30_000 * 3
    assert result.text == streamed


def test_a_reader_of_events_that_breaks_ends_the_turn(start):
    def breaks(_events):
        raise RuntimeError("a reader broke")

    reply = start().ask("hi", breaks)
    assert type(result_of(reply).error) is ClaudeFailed


def test_a_process_that_died_while_idle_takes_no_question(start):
    process = start()
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.alive, what="its death")
    with pytest.raises(ProcessGone):
        process.ask("hi", lambda _events: None)


def test_a_session_goes_on_where_another_process_left_it(start):
    first = start()
    ask(first, "one")
    first.end()
    second = start(session=first.session_id, resume=True)
    assert ask(second, "[[count]]two")[0].text.startswith("I see 2 questions")


def test_a_session_that_is_gone_is_told_apart(start):
    with pytest.raises(SessionMissing):
        start(resume=True)


def test_a_session_that_is_there_already_is_told_apart(start):
    first = start()
    ask(first, "one")
    first.end()
    with pytest.raises(SessionInUse):
        start(session=first.session_id)


def test_a_process_that_exits_at_its_start_is_unavailable(start):
    with pytest.raises(ClaudeUnavailable) as caught:
        start(start="exit:7")
    assert caught.value.facts == {"exit_code": 7}


def test_a_process_that_hangs_at_its_start_is_given_up_in_time(start):
    begun = time.monotonic()
    with pytest.raises(ClaudeUnavailable, match=r"within 0\.2 s"):
        start(start="hang", timeout=0.2)
    assert time.monotonic() - begun < 15


def test_a_slow_start_is_waited_for(start):
    assert ask(start(start="slow:400"), "[[say ok]]")[0].text == "ok"


def test_the_cli_sees_nothing_of_ours_but_what_it_needs(start, monkeypatch):
    monkeypatch.setenv("COWORK_API_KEYS", "me=canary-secret")
    seen = json.loads(ask(start(), "[[env]]")[0].text)
    assert "canary" not in json.dumps(seen)
    assert {"HOME", "PATH", command.MARKER} <= seen.keys()
