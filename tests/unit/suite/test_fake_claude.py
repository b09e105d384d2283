"""The fake CLI does what the real one does, and the mishaps that its directions name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.fake_claude import Lifelines, configure, install, overlaps, read_log, wait_for_log
from tests.fake_claude.driver import (
    ARGUMENTS,
    Cli,
    Event,
    control_request,
    costs,
    outline,
    question,
    result_of,
    text_of,
)

PLAYER = Path(__file__).parents[2] / "fake_claude" / "player.py"
SCENES = sorted((Path(__file__).parents[2] / "fake_claude" / "scenes").glob("*.jsonl"))
Start = Callable[..., Cli]

OPENING = [
    "system session_state_changed running",
    "command_lifecycle  queued",
    "command_lifecycle  started",
    "system init",
    "system status",
]
MESSAGE = [
    "stream_event message_start",
    "stream_event content_block_start",
    "stream_event content_block_delta",
    "assistant",
    "stream_event content_block_stop",
    "stream_event message_delta",
    "stream_event message_stop",
]
CLOSING = ["command_lifecycle  completed", "system session_state_changed idle"]


@pytest.fixture
def lifelines(tmp_path: Path) -> Iterator[Lifelines]:
    with Lifelines(tmp_path) as lines:
        yield lines
        assert lines.wait_for(0), "a process is left"


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


@pytest.fixture
def start(claude: Path, tmp_path: Path, lifelines: Lifelines) -> Iterator[Start]:
    """Starts fakes; keyword `config` holds keys of the config file, the others go to `Cli`."""
    with ExitStack() as stack:

        def begin(*, config: dict[str, object] | None = None, **rest: object) -> Cli:
            environment = {**lifelines.environment, **rest.pop("environment", {})}
            if config is not None:
                environment |= configure(tmp_path / f"{uuid4()}.json", **config)
            return stack.enter_context(Cli(claude, tmp_path, environment=environment, **rest))

        yield begin


def run(claude: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([claude, *arguments], env=environment, capture_output=True, check=False)


def is_token(event: Event) -> bool:
    return "text_delta" in json.dumps(event)


def is_answer(subtype: str) -> Callable[[Event], bool]:
    return lambda event: event.get("response", {}).get("request_id") == f"of-{subtype}"


# -- turns


def test_a_turn_has_the_recorded_order_of_events(start):
    events = start().turn("one two")
    assert outline(events) == [*OPENING, *MESSAGE, "result success", *CLOSING]
    assert text_of(events) == result_of(events)["result"] == "You said: one two"


def test_a_turn_names_its_question_and_its_session(start):
    cli = start()
    uuid = cli.ask("hello")
    cli.wait_for(lambda event: event.get("state") == "idle")
    assert result_of(cli.events)["user_message_uuids"] == [uuid]
    assert {event["session_id"] for event in cli.events} == {cli.session}
    uuids = [event["uuid"] for event in cli.events]
    assert len(set(uuids)) == len(uuids)


def test_each_turn_has_its_own_opening_and_costs_add_up(start):
    cli = start()
    first, second = cli.turn("a"), cli.turn("b")
    assert outline(first) == outline(second)
    assert result_of(second)["total_cost_usd"] == 2 * result_of(first)["total_cost_usd"]
    assert [result_of(turn)["result_index"] for turn in (first, second)] == [0, 1]


def test_a_clean_end_carries_the_costs_into_the_next_process_and_a_kill_does_not(start):
    first = start()
    one = costs(first.turn("a"))[0]
    assert costs(first.turn("[[tool]] b")) == pytest.approx((3 * one, 2 * one))
    first.close_stdin()
    assert first.wait() == 0
    second = start(resume=first.session)
    assert costs(second.turn("c")) == pytest.approx((4 * one, one))
    second.process.kill()
    second.wait()
    third = start(resume=first.session)
    assert costs(third.turn("d")) == pytest.approx((4 * one, one))
    third.process.terminate()
    assert third.wait() == 143
    assert costs(start(resume=first.session).turn("e")) == pytest.approx((5 * one, one))


def test_an_idle_process_is_silent_until_it_is_asked(start):
    cli = start()
    cli.close_stdin()
    assert cli.wait() == 0
    assert cli.events == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("[[say three words here]]", "three words here"),
        ("[[delay 1]] [[words 4]]", "w1 w2 w3 w4"),
        ("/my-skill [[words 2]]", "w1 w2"),
        ("[[retry 2 1]] [[words 2]]", "w1 w2"),
        (" [[wrods 2]]", "Unknown direction: [[wrods]]"),
        ("\x00\u0085\u2028 \U0001f600  x ", "You said: \x00\u0085\u2028 \U0001f600  x "),
    ],
)
def test_directions_at_the_start_of_a_question_decide_the_answer(start, question, answer):
    events = start().turn(question)
    assert text_of(events) == result_of(events)["result"] == answer


def test_a_delay_stands_between_the_tokens(start):
    cli = start()
    begun = time.monotonic()
    cli.turn("[[delay 30]] [[words 5]]")
    assert 0.12 <= time.monotonic() - begun < 5


def test_without_partial_messages_there_are_no_stream_events(start):
    cli = start(arguments=tuple(a for a in ARGUMENTS if "partial" not in a))
    assert outline(cli.turn("x")) == [*OPENING, "assistant", "result success", *CLOSING]


def test_thoughts_come_before_the_answer_in_a_block_of_their_own(start):
    events = start().turn("[[think 3]] x")
    blocks = [e["message"]["content"][0] for e in events if e["type"] == "assistant"]
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    assert blocks[0]["thinking"] == "thought 0 thought 1 thought 2 "
    assert text_of(events) == "You said: x"


def test_a_turn_with_a_tool_has_two_messages_and_the_last_is_the_result(start):
    events = start().turn("[[tool]] x")
    blocks = [e["message"]["content"][0] for e in events if e["type"] == "assistant"]
    assert [block["type"] for block in blocks] == ["text", "tool_use", "text"]
    result = next(e for e in events if e["type"] == "user")["message"]["content"][0]
    assert result["tool_use_id"] == blocks[1]["id"]
    assert result_of(events)["result"] == "You said: x"
    assert text_of(events) == "Let me look. You said: x"


def test_what_an_agent_says_has_a_parent(start):
    events = start().turn("[[subagent]] x")
    private = [e for e in events if "for the agent alone" in json.dumps(e)]
    said = [e for e in private if e["type"] == "assistant"]
    assert said
    assert all(e["parent_tool_use_id"] for e in said)
    assert text_of(events) == "Let me ask an agent. You said: x"


def test_a_broken_connection_is_answered_again_with_another_text(start):
    events = start().turn("[[broken]] [[words 5]]")
    assert text_of(events) == "w1 w2 w3 w1 w2 w3 "
    assert "api_retry" in json.dumps(events)
    assistants = [e for e in events if e["type"] == "assistant"]
    assert [e["message"]["content"][0]["text"] for e in assistants] == [
        "Asked again: w1 w2 w3 w4 w5"
    ]
    assert result_of(events)["result"] == "Asked again: w1 w2 w3 w4 w5"


def test_a_connection_that_breaks_once_is_streamed_again_from_the_start(start):
    events = start().turn("[[broken 1]] [[words 4]]")
    assert text_of(events) == "w1 w2 w3 w1 w2 w3 w4"
    assert result_of(events)["result"] == "w1 w2 w3 w4"


def test_a_conversation_can_be_compacted_within_a_turn(start):
    events = start().turn("[[compact]] x")
    assert [e["status"] for e in events if e.get("subtype") == "status"] == [
        "requesting",
        "compacting",
        None,
    ]
    assert "compact_boundary" in [e.get("subtype") for e in events]
    assert result_of(events)["result"] == "You said: x"


def test_a_turn_that_nobody_asked_for_follows_the_result(start):
    cli = start()
    asked = cli.turn("[[unsolicited]] x")
    cli.wait_for(lambda event: event.get("state") == "idle", after=len(asked))
    unsolicited = cli.events[len(asked) :]
    assert result_of(unsolicited)["origin"]["kind"] == "task-notification"
    assert "user_message_uuids" not in result_of(unsolicited)
    assert text_of(unsolicited) == result_of(unsolicited)["result"]
    assert result_of(cli.turn("y"))["result"] == "You said: y"


def test_questions_that_wait_through_a_turn_are_asked_together(start):
    cli = start()
    uuids = [cli.ask("[[delay 20]] [[words 5]]"), cli.ask("b"), cli.ask("[[count]] c")]
    cli.wait_for(lambda event: event.get("state") == "idle")
    results = [e for e in cli.events if e["type"] == "result"]
    assert [r["user_message_uuids"] for r in results] == [uuids[:1], uuids[1:]]
    assert results[1]["result"] == "I see 3 questions:  | b | c"


def test_a_uuid_seen_before_is_dropped_without_a_result(start):
    cli = start()
    uuid = str(uuid4())
    cli.ask("a", uuid)
    cli.wait_for(lambda event: event.get("state") == "idle")
    seen = len(cli.events)
    cli.ask("b", uuid)
    cli.wait_for(lambda event: event.get("state") == "idle", after=seen)
    cli.turn("c")
    assert [e["result"] for e in cli.events if e["type"] == "result"] == [
        "You said: a",
        "You said: c",
    ]


# -- interrupts, signals, the end of stdin


@pytest.mark.parametrize(
    ("question", "at", "reason"),
    [
        ("[[delay 50]] [[words 1000]]", is_token, "aborted_streaming"),
        ("[[words 1000000]]", is_token, "aborted_streaming"),
        ("[[flood 30000000]]", is_token, "aborted_streaming"),
        ("[[stall]] [[words 9]]", is_token, "aborted_streaming"),
        ("[[delay 50]] [[think 1000]]", lambda e: "thought" in str(e), "aborted_streaming"),
        ("[[retry 9 5000]]", lambda e: e.get("subtype") == "api_retry", "aborted_streaming"),
        ("[[hang]]", lambda e: e.get("status") == "requesting", "aborted_streaming"),
        ("[[pause 9000]]", lambda e: e.get("status") == "requesting", "aborted_streaming"),
        ("[[tool 30]]", lambda e: "message_stop" in str(e), "aborted_tools"),
    ],
)
def test_an_interrupt_ends_a_turn_at_once_wherever_it_is(start, lifelines, question, at, reason):
    cli = start()
    cli.ask(question)
    cli.wait_for(at)
    asked = time.monotonic()
    cli.control("interrupt")
    result = cli.wait_for(lambda event: event["type"] == "result")
    assert time.monotonic() - asked < 2
    assert result["subtype"] == "error_during_execution"
    assert result["terminal_reason"] == reason
    cli.wait_for(lambda event: event.get("state") == "idle")
    cli.wait_for(is_answer("interrupt"))
    assert "cancelled" in [e.get("state") for e in cli.events]
    assert cli.litter == []
    assert lifelines.wait_for(1)
    assert result_of(cli.turn("[[count]] next"))["result"].endswith("| next")


def test_an_interrupt_keeps_the_text_so_far_and_closes_the_message(start):
    cli = start()
    cli.ask("[[stall]] [[words 9]]")
    cli.wait_for(lambda event: "w3" in json.dumps(event))
    cli.control("interrupt")
    cli.wait_for(lambda event: event.get("state") == "idle")
    tail = cli.events[[e["type"] for e in cli.events].index("control_response") :]
    assert outline(tail) == [
        "control_response",
        "assistant",
        "user",
        "stream_event content_block_stop",
        "stream_event message_delta",
        "stream_event message_stop",
        "result error_during_execution",
        "command_lifecycle  cancelled",
        "system session_state_changed idle",
    ]
    assert tail[1]["aborted"] is True
    assert tail[1]["message"]["content"][0]["text"] == "w1 w2 w3 "


def test_an_interrupt_of_an_idle_process_has_no_after_effect(start):
    cli = start()
    cli.turn("a")
    cli.control("interrupt")
    assert result_of(cli.turn("b"))["result"] == "You said: b"
    assert not any(e.get("is_error") for e in cli.events)


def test_an_interrupt_sent_with_its_question_aborts_it(start):
    cli = start()
    cli.send(question("a", str(uuid4())) + control_request("interrupt"))
    cli.wait_for(lambda event: event.get("state") == "idle")
    assert result_of(cli.events)["terminal_reason"] == "aborted_streaming"


@pytest.mark.parametrize(
    ("number", "question", "code", "results"),
    [
        (signal.SIGINT, "[[stall]] [[words 5]]", 0, ["error_during_execution"]),
        (signal.SIGTERM, "[[stall]] [[words 5]]", 143, []),
        (signal.SIGHUP, "[[stall]] [[words 5]]", 129, []),
        (signal.SIGINT, "[[words 3]]", 0, ["success"]),
        (signal.SIGTERM, "[[words 3]]", 143, ["success"]),
    ],
)
def test_signals_end_it_as_they_end_the_real_one(start, number, question, code, results):
    cli = start()
    cli.ask(question)
    cli.wait_for(lambda event: "w3" in json.dumps(event))
    if results == ["success"]:
        cli.wait_for(lambda event: event.get("state") == "idle")
    cli.process.send_signal(number)
    assert cli.wait() == code
    assert [e["subtype"] for e in cli.events if e["type"] == "result"] == results


def test_the_end_of_stdin_lets_a_turn_finish(start):
    cli = start()
    cli.ask("[[delay 10]] [[words 20]]")
    cli.wait_for(is_token)
    cli.close_stdin()
    assert cli.wait() == 0
    assert result_of(cli.events)["result"].endswith("w20")


def test_the_exit_code_at_the_end_of_stdin_is_that_of_the_last_result(start):
    cli = start()
    cli.turn("[[fail 401]]")
    cli.close_stdin()
    assert cli.wait() == 1


def test_end_session_ends_it(start):
    cli = start()
    cli.turn("x")
    cli.control("end_session")
    assert cli.wait() == 0


def test_a_reader_that_lags_blocks_nothing_and_loses_nothing(start):
    cli = start(reading=False)
    cli.ask("[[words 30000]]")
    cli.control("mcp_status")
    cli.start_reading()
    cli.wait_for(lambda event: event.get("state") == "idle")
    assert text_of(cli.events) == result_of(cli.events)["result"]
    assert cli.litter == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"nope\n", "Error parsing streaming input line (type=unknown, 4 chars): SyntaxError\n"),
        (
            b'{"type":"keep_alive"}{"type":"keep_alive"}\n',
            "Error parsing streaming input line (type=keep_alive, 42 chars): SyntaxError\n",
        ),
        (b'{"type":"user"}\n', "Error: Expected message role 'user', got 'undefined'\n"),
        (
            b'{"type":"user","message":{"role":"assistant","content":"x"}}\n',
            "Error: Expected message role 'user', got 'assistant'\n",
        ),
        (b'{"type":"control_request"}\n', "Error: Missing request on control_request\n"),
    ],
)
def test_a_bad_line_kills_it_in_mid_turn(start, line, complaint):
    cli = start()
    cli.ask("[[stall]] [[words 5]]")
    cli.wait_for(is_token)
    cli.send(line)
    assert cli.wait() == 1
    assert cli.errors.decode() == complaint
    assert not [e for e in cli.events if e["type"] == "result"]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"  \n",
        b"5\n",
        b"[1]\n",
        b'{"type":"new"}\n',
        b'{"type":"control_response"}\n',
        b"\r\n",
    ],
)
def test_a_line_that_the_real_one_ignores_is_ignored(start, line):
    cli = start()
    cli.send(line)
    assert result_of(cli.turn("x"))["result"] == "You said: x"


# -- sessions


def test_a_resumed_session_remembers_what_was_asked(start):
    first = start()
    first.turn("a")
    first.turn("b")
    first.close_stdin()
    assert first.wait() == 0
    again = start(resume=first.session)
    assert result_of(again.turn("[[count]] c"))["result"] == "I see 3 questions: a | b | c"


def test_a_session_killed_in_its_first_turn_can_be_resumed(start):
    cli = start()
    cli.ask("[[kill]] a")
    assert cli.wait() == -signal.SIGKILL
    again = start(resume=cli.session)
    assert result_of(again.turn("[[count]] b"))["result"] == "I see 2 questions: a | b"


def test_resuming_an_unknown_session_is_a_result_and_an_exit(start):
    cli = start(resume=str(uuid4()))
    assert cli.wait() == 1
    complaint = f"No conversation found with session ID: {cli.session}"
    assert [e["errors"] for e in cli.events] == [[complaint]]
    assert cli.events[0]["subtype"] == "error_during_execution"
    assert cli.errors.decode() == f"{complaint}\n"


def test_a_session_id_can_be_used_once_it_has_been_spoken_to_no_more(start):
    silent = start()
    same = start(session=silent.session)
    same.turn("x")
    late = start(session=silent.session)
    assert late.wait() == 1
    assert late.events == []
    assert late.errors.decode() == f"Error: Session ID {silent.session} is already in use.\n"


def test_a_session_lies_where_the_real_one_keeps_it(claude, tmp_path):
    place = tmp_path / "a b_c.d" / "é-x"
    place.mkdir(parents=True)
    linked = tmp_path / "link"
    linked.symlink_to(place)
    with Cli(claude, linked, environment={"CLAUDE_CONFIG_DIR": str(tmp_path / "kept")}) as cli:
        assert result_of(cli.turn("[[cwd]]"))["result"] == str(place.resolve())
    files = list((tmp_path / "kept" / "projects").glob("*/*.jsonl"))
    assert [file.name for file in files] == [f"{cli.session}.jsonl"]
    assert files[0].parent.name.endswith("-a-b-c-d---x")
    assert files[0].stat().st_mode & 0o777 == 0o600
    kinds = [json.loads(line)["type"] for line in files[0].read_text().splitlines()]
    assert kinds == ["user", "assistant"]


@pytest.mark.parametrize(("eager", "kept"), [("1", True), ("0", False)])
def test_an_answer_is_on_disk_with_its_result_only_when_flushed_eagerly(
    start, tmp_path, eager, kept
):
    cli = start(environment={"CLAUDE_CODE_EAGER_FLUSH": eager})
    cli.ask("[[unsolicited]] x")
    cli.wait_for(lambda event: event["type"] == "result")
    cli.process.kill()
    cli.wait()
    transcript = next((tmp_path / "home").glob(".claude/projects/*/*.jsonl")).read_text()
    assert ("You said: x" in transcript) is kept


def test_a_home_that_cannot_be_written_costs_the_session_and_nothing_else(start, tmp_path):
    (tmp_path / "home").write_text("a file")
    assert result_of(start().turn("x"))["result"] == "You said: x"


# -- failures


@pytest.mark.parametrize(
    ("kind", "error", "status", "words"),
    [
        ("401", "authentication_failed", 401, "Invalid API key"),
        ("429", "rate_limit", 429, "You've hit your limit"),
        ("429_key", "rate_limit", 429, "Request rejected (429)"),
        ("500", "server_error", 500, "500 Internal server error"),
        ("529", "server_error", 529, "529 Overloaded"),
        ("unreachable", "server_error", None, "ECONNREFUSED"),
        ("not_logged_in", "authentication_failed", None, "Not logged in"),
        ("refusal", "invalid_request", None, "safeguards"),
    ],
)
def test_a_failure_looks_as_recorded(start, kind, error, status, words):
    events = start().turn(f"[[fail {kind}]] x")
    result = result_of(events)
    synthetic = [e for e in events if e.get("message", {}).get("model") == "<synthetic>"][-1]
    assert (result["subtype"], result["is_error"]) == ("success", True)
    assert result["terminal_reason"] == "api_error"
    assert result["api_error_status"] == status
    assert words in result["result"]
    assert synthetic["error"] == error
    assert synthetic["message"]["content"][0]["text"] == result["result"]
    assert outline(events)[-2:] == ["command_lifecycle  cancelled", CLOSING[1]]


def test_the_limit_of_a_subscription_says_when_it_ends(start):
    events = start().turn("[[fail 429]]")
    limit = next(e for e in events if e["type"] == "rate_limit_event")["rate_limit_info"]
    assert limit["status"] == "rejected"
    assert limit["resetsAt"] > time.time()


def test_too_many_turns_is_an_error_without_a_result_text(start):
    result = result_of(start().turn("[[fail max_turns]]"))
    assert (result["subtype"], result["is_error"]) == ("error_max_turns", True)
    assert "result" not in result


def test_a_process_lives_on_after_a_failure(start):
    cli = start()
    cli.turn("[[retry 2 1]] [[fail 500]]")
    assert [e["attempt"] for e in cli.events if e.get("subtype") == "api_retry"] == [1, 2]
    assert result_of(cli.turn("x"))["result"] == "You said: x"


# -- mishaps


def test_it_can_die_in_mid_turn(start):
    cli = start()
    cli.ask("[[die 7]] [[words 9]]")
    assert cli.wait() == 7
    assert text_of(cli.events) == "w1 w2 w3 "
    assert b"told to die" in cli.errors


def test_it_can_kill_itself_in_mid_turn(start):
    cli = start()
    cli.ask("[[kill]] [[words 9]]")
    assert cli.wait() == -signal.SIGKILL
    assert text_of(cli.events) == "w1 w2 w3 "


def test_it_can_stop_in_the_middle_of_a_line(start):
    cli = start()
    cli.ask("[[partial]] [[words 9]]")
    assert cli.wait() == 0
    assert cli.cut.startswith(b'{"type":')
    assert not [e for e in cli.events if e["type"] == "result"]


def test_it_can_close_its_stdout_and_live_on(start):
    cli = start()
    cli.ask("[[close]] [[words 9]]")
    with pytest.raises(AssertionError, match="it ended"):
        cli.wait_for(lambda event: event["type"] == "result")
    assert text_of(cli.events) == "w1 w2 w3 "
    assert cli.process.poll() is None
    cli.close_stdin()
    assert cli.wait() == 0


def test_garbage_between_the_events_leaves_the_turn_whole(start):
    cli = start()
    cli.turn("[[garbage]] [[words 40]]")
    assert result_of(cli.events)["result"].endswith("w40")
    assert len(cli.litter) > 10


def test_nonsense_is_all_there_is(start):
    cli = start()
    cli.ask("[[nonsense]]")
    assert cli.wait() == 0
    assert not [e for e in cli.events if e["type"] in ("result", "init")]


def test_it_can_be_deaf_to_everything_but_sigkill(start, tmp_path):
    cli = start(config={"log": tmp_path / "log"})
    cli.ask("[[deaf]] x")
    cli.control("interrupt")
    assert wait_for_log(tmp_path / "log", "deaf")
    for number in (signal.SIGINT, signal.SIGTERM):
        cli.process.send_signal(number)
    cli.close_stdin()
    with pytest.raises(subprocess.TimeoutExpired):
        cli.process.wait(0.3)
    assert cli.events == []
    cli.process.kill()
    assert cli.wait() == -signal.SIGKILL


def test_a_line_can_have_any_size(start):
    cli = start(reading=False)
    assert cli.process.stdout is not None
    cli.ask("[[line 3000000]] x")
    while b"tool_use_result" not in (line := cli.process.stdout.readline()):
        assert line
    assert len(line) == 3_000_001
    cli.start_reading()
    cli.wait_for(lambda event: event.get("state") == "idle")


def test_stderr_can_be_flooded_in_mid_turn(start):
    cli = start()
    cli.turn("[[stderr 300000]] x")
    cli.close_stdin()
    cli.wait()
    assert len(cli.errors) == 300_000


def test_a_flood_is_complete(start):
    cli = start()
    cli.turn("[[flood 100000]]")
    assert sum(map(is_token, cli.events)) == 100_000
    assert text_of(cli.events) == result_of(cli.events)["result"]


# -- children


def test_a_tool_is_a_process_in_a_session_of_its_own_that_ends_with_its_work(start, lifelines):
    cli = start()
    cli.ask("[[tool 0.3]]")
    assert lifelines.wait_for(2)
    cli.wait_for(lambda event: event.get("state") == "idle")
    assert lifelines.wait_for(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_tool_survives_what_ends_its_cli(start, lifelines, tmp_path, number):
    cli = start(config={"log": tmp_path / "log"})
    cli.ask("[[tool 2]]")
    assert wait_for_log(tmp_path / "log", "child")
    os.killpg(cli.process.pid, number)
    cli.wait()
    assert lifelines.wait_for(1, timeout=1)


@pytest.mark.parametrize(
    ("number", "code", "kills"), [(signal.SIGINT, 0, False), (signal.SIGTERM, 143, True)]
)
def test_a_tool_ends_with_sigint_and_where_the_config_says_so_with_sigterm(
    start, lifelines, number, code, kills
):
    cli = start(config={"term_kills_tools": kills})
    cli.ask("[[tool 30]]")
    assert lifelines.wait_for(2)
    cli.process.send_signal(number)
    assert cli.wait() == code
    assert lifelines.wait_for(0)


def test_a_background_process_outlives_turn_and_cli(start, lifelines):
    cli = start()
    assert result_of(cli.turn("[[background 1]] x"))["result"] == "You said: x"
    assert lifelines.held == 2
    cli.close_stdin()
    assert cli.wait() == 0
    assert lifelines.wait_for(1)


# -- what a test can set and see


def test_it_tells_its_version(claude, tmp_path):
    assert run(claude, "--version").stdout == b"2.1.332 (Claude Code)\n"
    config = configure(tmp_path / "config", version="9.0.1")
    assert run(claude, "--version", **config).stdout == b"9.0.1 (Claude Code)\n"
    config = configure(tmp_path / "config", probe="exit:3")
    assert run(claude, "--version", **config).returncode == 3


def test_its_settings_can_be_written_into_the_program_itself(tmp_path, lifelines):
    config = configure(tmp_path / "config", version="it's 5")
    claude = install(tmp_path / "bin", {**config, **lifelines.environment})
    assert run(claude, "--version").stdout == b"it's 5\n"
    with Cli(claude, tmp_path) as cli:
        cli.turn("x")
        assert lifelines.held == 1


def test_it_tells_whether_it_is_logged_in(claude, tmp_path):
    answer = run(claude, "auth", "status")
    assert (answer.returncode, json.loads(answer.stdout)["loggedIn"]) == (0, True)
    answer = run(claude, "auth", "status", ANTHROPIC_API_KEY="k")
    assert json.loads(answer.stdout)["authMethod"] == "api_key"
    config = configure(tmp_path / "config", start="not_logged_in")
    answer = run(claude, "auth", "status", **config)
    assert (answer.returncode, json.loads(answer.stdout)["loggedIn"]) == (1, False)


@pytest.mark.parametrize("environ", [{}, {"ANTHROPIC_API_KEY": "k"}])
@pytest.mark.parametrize("asked", [["--version"], ["auth", "status"]])
def test_the_shell_answers_what_python_would(claude, tmp_path, environ, asked):
    player = [sys.executable, "-S", "-E", str(PLAYER), *asked]
    told = configure(tmp_path / "config", log=tmp_path / "log")
    by_python = subprocess.run(player, env={**environ, **told}, capture_output=True, check=True)
    by_shell = run(claude, *asked, **environ, **told)
    assert (by_shell.returncode, by_shell.stdout) == (0, by_python.stdout)
    wrapper = claude.read_text().replace("\nexec ", "\nexit 9 ")
    claude.write_text(wrapper)
    assert run(claude, *asked, **environ, **told).stdout == by_python.stdout
    probed = configure(tmp_path / "config", probe="ok")
    assert run(claude, *asked, **environ, **probed).returncode == 9


def test_without_a_login_every_turn_says_so(start):
    cli = start(config={"start": "not_logged_in"})
    for _ in range(2):
        assert result_of(cli.turn("x"))["result"] == "Not logged in · Please run /login"


def test_it_can_fail_hang_or_dawdle_at_its_start(start):
    dead = start(config={"start": "exit:4"})
    assert dead.wait() == 4
    hung, slow = start(config={"start": "hang"}), start(config={"start": "slow:200"})
    begun = time.monotonic()
    slow.turn("x")
    assert time.monotonic() - begun >= 0.15
    hung.control("initialize")
    with pytest.raises(subprocess.TimeoutExpired):
        hung.process.wait(0.1)
    assert hung.events == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--nosuch"], "error: unknown option '--nosuch'\n"),
        ([*ARGUMENTS, "--session-id=x"], "Error: Invalid session ID. Must be a valid UUID.\n"),
        (
            ["--print", "--output-format=stream-json"],
            "Error: When using --print, --output-format=stream-json requires --verbose\n",
        ),
    ],
)
def test_arguments_that_the_real_one_refuses_are_refused(claude, arguments, complaint):
    answer = run(claude, *arguments)
    assert (answer.returncode, answer.stderr.decode()) == (1, complaint)


def test_initialize_lists_the_skills_and_the_account(start, tmp_path):
    (tmp_path / "home/.claude/skills/mine").mkdir(parents=True)
    cli = start(environment={"ANTHROPIC_API_KEY": "k"})
    cli.control("initialize")
    answer = cli.wait_for(is_answer("initialize"))["response"]["response"]
    assert {"mine", "verify"} <= {command["name"] for command in answer["commands"]}
    assert answer["account"]["apiKeySource"] == "ANTHROPIC_API_KEY"
    assert answer["pid"] == cli.process.pid
    opening = next(e for e in cli.turn("x") if e.get("subtype") == "init")
    assert {"mine", "verify"} <= set(opening["skills"])


def test_the_skills_that_come_along_are_those_of_an_empty_folder(start, tmp_path):
    (tmp_path / "home/.claude/skills/verify").mkdir(parents=True)
    (tmp_path / "home/.claude/skills/mine").mkdir()
    empty = start(environment={"CLAUDE_CONFIG_DIR": str(tmp_path / "empty")})
    brought, all_of_them = (
        next(e for e in cli.turn("x") if e.get("subtype") == "init")["skills"]
        for cli in (empty, start())
    )
    assert all_of_them == [*brought, "mine"]


def test_a_model_can_be_set_and_an_unknown_request_is_refused(start):
    cli = start()
    cli.control("set_model", model="haiku")
    opening = next(e for e in cli.turn("x") if e.get("subtype") == "init")
    assert opening["model"] == "claude-haiku-5-5"
    cli.control("nosuch")
    refusal = cli.wait_for(is_answer("nosuch"))["response"]
    assert refusal["error"] == "Unsupported control request subtype: nosuch"


def test_it_tells_its_surroundings(start):
    cli = start(environment={"PATH": "/nowhere", "COWORK_THING": "m"})
    environment = json.loads(result_of(cli.turn("[[env]]"))["result"])
    assert (environment["PATH"], environment["COWORK_THING"]) == ("/nowhere", "m")
    argv = json.loads(result_of(cli.turn("[[argv]]"))["result"])
    assert argv == [*ARGUMENTS, f"--session-id={cli.session}"]


def test_the_log_tells_of_starts_turns_and_overlaps(start, tmp_path):
    log = tmp_path / "log"
    one = start(config={"log": log})
    one.turn("a")
    one.ask("[[delay 20]] [[words 20]]")
    one.wait_for(lambda event: "w2 " in json.dumps(event))
    assert overlaps(log) == []
    two = start(config={"log": log}, resume=one.session)
    two.turn("b")
    one.wait_for(lambda event: event.get("result", "").endswith("w20"))
    one.close_stdin()
    assert one.wait() == 0
    entries = read_log(log)
    assert next(e["argv"] for e in entries if e["event"] == "start")[:-1] == list(ARGUMENTS)
    assert sum(e["event"] == "turn" for e in entries) == 3
    assert [e["what"] for e in entries if e["event"] == "overlap"] == ["process"]
    assert [(a["text"], b["text"]) for a, b in overlaps(log)] == [
        ("[[delay 20]] [[words 20]]", "b")
    ]


def test_a_question_during_a_turn_is_logged_as_an_overlap(start, tmp_path):
    cli = start(config={"log": tmp_path / "log"})
    cli.ask("[[delay 20]] [[words 5]]")
    cli.ask("b")
    cli.wait_for(lambda event: event.get("state") == "idle")
    assert [e["what"] for e in read_log(tmp_path / "log") if e["event"] == "overlap"] == ["message"]


def test_it_starts_fast(claude, tmp_path):
    config = configure(tmp_path / "config", version="1")  # answered by Python

    def cpu_s() -> float:
        before = os.times()
        run(claude, "--version", **config)
        after = os.times()
        used = zip(
            after[2:4], before[2:4], strict=True
        )  # Of children, so a busy machine adds none.
        return sum(now - then for now, then in used)

    assert min(cpu_s() for _ in range(10)) < 0.06


@pytest.mark.parametrize("scene", SCENES, ids=lambda path: path.stem)
def test_a_scene_is_json_and_tells_nothing_of_where_it_was_recorded(scene):
    text = scene.read_text(encoding="utf-8")
    for line in text.splitlines():
        assert isinstance(json.loads(line), dict)
    assert not any(trace in text for trace in ("/tmp/", "/home/", "/root/", "/work/", "sk-dummy"))  # noqa: S108 - looked for


def test_what_the_model_is_not_asked_about_has_a_turn_without_an_answer(start, tmp_path):
    cli = start()
    line = json.loads(question("", "u1")) | {"shouldQuery": False}
    cli.send(json.dumps(line).encode() + b"\n")
    cli.wait_for(lambda event: event.get("state") == "idle")
    assert outline(cli.events) == [
        "system session_state_changed running",
        "command_lifecycle  queued",
        "command_lifecycle  started",
        "system init",
        "result success",
        *CLOSING,
    ]
    assert result_of(cli.events)["num_turns"] == 0
    assert result_of(cli.events)["result"] == ""
    assert list((tmp_path / "home").glob(".claude/projects/*/*.jsonl")) == []
    assert text_of(cli.turn("[[count]] one")) == "I see 1 questions: one"
