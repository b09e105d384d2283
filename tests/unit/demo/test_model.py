"""The demo model: it reads what the CLI sends, and streams as the Messages API does."""

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from cowork.demo import talk, wire
from cowork.demo.directives import ALWAYS, TABLE, ToolCall, parse
from cowork.demo.model import serve
from cowork.demo.script import Scene, direct, pieces
from cowork.demo.transcript import ToolResult, is_side_request, read

ROOT = Path(__file__).parents[3]
REMINDER = "<system-reminder>\nAttribution.\n</system-reminder>\n"
RESUME = "Output token limit hit. Resume directly - no apology."
COMPACT = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."
BASH = '[[tool Bash {"command": "echo hi"}]]'


def text(*texts):
    return [{"type": "text", "text": one} for one in texts]


def user(*texts):
    return {"role": "user", "content": text(*texts)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def called(name="Bash", *, result="hi", error=False):
    use = {"type": "tool_use", "id": "t1", "name": name, "input": {}}
    content = [{"type": "tool_result", "tool_use_id": "t1", "content": result, "is_error": error}]
    return [assistant(use), {"role": "user", "content": content}]


def body(*messages, **more):
    messages = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return {"model": "m", "stream": True, "messages": messages, **more}


def said(scene: Scene) -> str:
    return "".join(scene.text)


@pytest.fixture
def model():
    with serve(delay=0) as model:
        yield model


def ask(model, question, *, stream=True, **options):
    asked = body(question, stream=stream)
    return requests.post(f"{model.url}/v1/messages", json=asked, stream=True, timeout=20, **options)


def events(response):
    with response:
        for line in response.iter_lines(chunk_size=None):
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def words(response):
    return (e["delta"]["text"] for e in events(response) if "text" in e.get("delta", {}))


# What the CLI sends


@pytest.mark.parametrize(
    ("messages", "questions"),
    [
        ([user("hello")], ["hello"]),
        ([{"role": "user", "content": "hello"}], ["hello"]),
        ([user(REMINDER, "hello"), {"role": "system", "content": "# Environment"}], ["hello"]),
        ([user(f"{REMINDER}hello\n{REMINDER}")], ["hello"]),
        ([user("one"), assistant(*text("1")), user("two")], ["one", "two"]),
        # A failed turn leaves its question in the next one's message.
        ([user(REMINDER, "failed\n", "again")], ["failed", "again"]),
        ([user("[Request interrupted by user]\n", "again")], ["again"]),
        ([user("one"), *called()], ["one"]),
        ([user("one"), assistant(*text("1")), user(RESUME)], ["one"]),
        ([user("one"), assistant(*text("1")), user(f"<system-reminder>\n{RESUME}\n</system-reminder>")], ["one"]),
        ([user("This session is being continued from a previous one."), user("on")], ["on"]),
        ([user("(no content)")], [""]),
        ([user("<command-message>w</command-message>\n<command-name>/w</command-name>\n<command-args>a b</command-args>", "Write tidy code: a b")], ["/w a b"]),
        ([user("<command-name>/compact</command-name>", "<local-command-stdout>Done</local-command-stdout>", "on")], ["on"]),
    ],
)  # fmt: skip
def test_the_users_own_questions_are_found(messages, questions):
    assert list(read(messages).questions) == questions


def test_only_what_tools_gave_since_the_last_question_counts():
    asked = [user("one"), *called(result="old"), assistant(*text("1")), user("two")]
    assert read(asked).tool_results == ()
    later = read([*asked, *called("Read", result=text("new"), error=True)])
    assert later.tool_results == (ToolResult("Read", "new", failed=True),)


@pytest.mark.parametrize(
    ("request_body", "side"),
    [
        (body("hello"), False),
        (body("hello", tools=[], system=[{"type": "text", "text": "You are X"}]), False),
        (body("quota", max_tokens=1), True),
        (body("<session>x</session>", output_config={"format": {"schema": {}}}), True),
        (body("x", output_config={"format": {"schema": {}}}, tools=[{"name": "Bash"}]), False),
        (body("x", output_config={"effort": "low"}), False),
        (body("x", system="You are naming a coding session so ..."), True),
        (body("hello", assistant(*text("hi")), COMPACT), True),
    ],
)
def test_requests_on_the_clis_own_behalf_are_told_apart(request_body, side):
    assert is_side_request(request_body) is side


def test_a_title_fits_the_schema_it_is_asked_for_in():
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    asked = body("<session>x</session>", output_config={"format": {"schema": schema}})
    assert json.loads(said(direct(asked))) == {"title": "Demo session"}


def test_a_summary_keeps_the_questions_and_obeys_none_of_their_directives():
    asked = body("my [[status 400]] question", assistant(*text("hi")), COMPACT)
    assert "<summary>\nThe user asked:\n- my [[status 400]] question\n" in said(direct(asked))


# Directives


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("[[words 50]]", {"words": 50}),
        ("a [[delay 200]] b", {"delay_ms": 200, "rest": "a  b"}),
        ("[[say  two  words ]]", {"say": "two  words"}),
        ("[[say [a] list[0]]]", {"say": "[a] list[0]"}),
        ("[[say]]", {"say": ""}),
        ("[[echo]] me", {"echo": True, "rest": "me"}),
        ('[[tool A {"x": [["]]"]]}]] on', {"tools": (ToolCall("A", {"x": [["]]"]]}),), "rest": "on"}),
        ("[[tool A {}]][[tool B {}]]", {"tools": (ToolCall("A", {}), ToolCall("B", {}))}),
        ('[[tool A {}]][[then B {"x": [[1]]}]]', {"tools": (ToolCall("A", {}),), "then": (ToolCall("B", {"x": [[1]]}),)}),
        ("[[think 10]]", {"think": 10}),
        ("[[status 429]] [[retry-after 3600]]", {"status": 429, "status_times": ALWAYS, "retry_after_s": 3600}),
        ("[[status 529 2]]", {"status": 529, "status_times": 2}),
        ("[[hang]]", {"hang_s": 600}),
        ("[[hang 2]]", {"hang_s": 2}),
        ("[[stall 0.5]]", {"stall_s": 0.5}),
        ("[[break]]", {"cut_times": ALWAYS}),
        ("[[break 1]]", {"cut_times": 1}),
        ("[[refuse]]", {"refuse": True}),
        ("[[max_tokens]]", {"max_tokens": True}),
        ("[[count]]", {"count": True}),
        ("[[big 1000000]]", {"big": 1000000}),
        # Brackets that are no directives are the user's own.
        ("if [[ -f x ]] [[wordy 3]] [[words", {"rest": "if [[ -f x ]] [[wordy 3]] [[words"}),
    ],
)  # fmt: skip
def test_a_directive_is_understood(question, wanted):
    parsed = parse(question)
    assert {name: getattr(parsed, name) for name in wanted} == wanted
    assert parsed.faults == ()


@pytest.mark.parametrize(
    "question",
    [
        *("[[words]]", "[[words -1]]", "[[words ²]]", "[[echo x]]", "[[stall 601]]", "[[stall x]]"),
        *("[[status 200]]", "[[status 500 x]]", "[[tool Bash]]", "[[tool A [1]]]", "[[tool A {]]"),
    ],
)
def test_a_directive_that_makes_no_sense_is_said_in_the_answer(question):
    assert said(direct(body(question))).startswith(f"I do not understand {question}")


def test_a_tool_is_called_behind_another_one_and_then_both_are_quoted():
    asked = '[[tool A {"n": 1}]] [[then B {"n": 2}]]'
    assert [call.name for call in direct(body(asked)).tools] == ["A"]
    one = called("A", result="1")
    assert [call.name for call in direct(body(asked, *one)).tools] == ["B"]
    both = [*one, *called("B", result="2")]
    scene = direct(body(asked, *both))
    assert (scene.tools, said(scene)) == ((), "A answered: 1\nB answered: 2")


def test_a_poisoned_session_is_refused_from_then_on():
    poisoned = {"role": "user", "content": "[[poison]] look"}
    answer = {"role": "assistant", "content": "I see"}
    assert direct({"messages": [poisoned]}).failure is None
    failed = direct({"messages": [poisoned, answer, {"role": "user", "content": "and?"}]}).failure
    assert failed is not None
    assert (failed.status, failed.kind) == (400, "invalid_request_error")


def test_every_directive_is_tried_above_and_is_in_the_help():
    here = Path(__file__).read_text(encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, "-m", "cowork.demo.model", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert [n for n in TABLE if f"[[{n}" not in here or f"[[{n}" not in shown.stdout] == []


@given(st.text())
@settings(deadline=None)
def test_pieces_of_a_text_join_to_the_text(anything):
    assert "".join(pieces(anything)) == anything
    assert all(len(piece.split()) <= 1 for piece in pieces(anything))


@given(st.text(alphabet="[] \n") | st.text())
@settings(deadline=None)
def test_a_question_without_directives_is_left_alone(anything):
    assert parse(anything).rest == anything.strip()


# What it says


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 2+2?", "2 + 2 = 4"),
        ("2*(3+4)", "2 * (3 + 4) = 14"),
        ("how much is 1 / 3", "1 / 3 = 0.3333333333"),
        ("-7 - 0.5 =", "-7 - 0.5 = -7.5"),
        ("Tell me: what is 6 \u00d7 7, please?", "6 * 7 = 42"),
        ("1/0", "1 / 0 has no value: nothing can be divided by zero."),
        ("what is my name?", "You have not told me your name in this session yet."),
    ],
)
def test_an_easy_question_gets_its_answer(question, answer):
    assert talk.reply(question) == answer


@pytest.mark.parametrize(
    "question", ["2 ** 9999", "9//2", "What is 5?", "(((", "1(2)+3", "2024", "2024-11-15, why?"]
)
def test_what_is_not_a_sum_is_not_worked_out(question):
    assert talk.reply(question).startswith(f'You asked: "{question}".')


def test_a_session_is_remembered():
    asked = body("My name is Ada.", assistant(*text("hi")), "What is my name?")
    assert said(direct(asked)).startswith("Your name is Ada")
    later = said(direct(body("[[words 2]] first", assistant(*text("x")), "Why is the sky blue?")))
    assert 'This is question 2 of this session; the first was "first".' in later
    assert "`claude /login`" in later


def test_a_greeting_is_returned():
    assert talk.reply("Hello!").startswith("Hello! I am the demo model")
    assert talk.reply("hi", ["2+2"]).startswith("Hello! I am")
    assert talk.reply("hi", ["hello"]).startswith("Hello again!")
    both = talk.reply("Hello! Who are you, and what is 2+2?")
    assert both.startswith("Hello! I am the demo model")
    assert both.endswith("2 + 2 = 4")
    assert talk.reply("Hey, why?").startswith('Hello! You asked: "Hey, why?".')
    assert not talk.reply("Hi-fi?").startswith("Hello")


# Scenes


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("[[words 3]]", "word1 word2 word3"),
        ("[[say a  b]] not this", "a  b"),
        ("[[echo]] a\n b ", "a\n b"),
        ("[[count]]", 'I see 1 question: "[[count]]"'),
        ("[[refuse]]", "I cannot help with that."),
    ],
)
def test_an_answer_is_prescribed(question, answer):
    assert said(direct(body(question))) == answer


def test_a_directive_of_an_earlier_question_does_not_fire_again():
    scene = direct(body(user("[[status 400]]\n", f"{BASH} [[think 3]] [[words 2]]", "[[count]]")))
    assert scene.failure is None
    assert (scene.tools, scene.thoughts) == ((), ())
    assert said(scene).startswith('I see 3 questions: "[[status 400]]", ')


def test_a_tool_is_called_and_its_result_quoted():
    first = direct(body(f"[[think 2]] {BASH} [[status 500]] [[delay 7]]"), delay_s=1)
    assert first.tools == (ToolCall("Bash", {"command": "echo hi"}),)
    assert (said(first), first.stop_reason, first.delay_s) == (
        "I will use Bash.",
        "tool_use",
        0.007,
    )
    assert first.thoughts == ("thought1 ", "thought2")
    second = direct(body(f"[[think 2]] {BASH}", *called(result="out")))
    assert (said(second), second.tools, second.thoughts) == ("Bash answered: out", (), ())
    failed = direct(body(BASH, *called(result="no", error=True)))
    assert said(failed) == "Bash failed: no"
    assert said(direct(body(f"{BASH} [[say done]]", *called()))) == "done"
    assert direct(body(f"{BASH} [[status 500]]", *called())).failure is not None


def test_an_answer_cut_at_max_tokens_goes_on_where_it_stopped():
    asked = body("[[max_tokens]] [[words 5]]")
    first = direct(asked)
    second = direct(body(*asked["messages"], assistant(*text(said(first))), RESUME))
    assert (said(first), first.stop_reason) == ("word1 word2 word3 ", "max_tokens")
    assert (said(second), second.stop_reason) == ("word4 word5", "end_turn")
    reminded = f"<system-reminder>\n{RESUME}\n</system-reminder>"
    again = direct(body(*asked["messages"], assistant(*text(said(first))), reminded))
    assert said(again) == said(second)
    rest = [assistant(*text(said(first))), user(RESUME), assistant(*text(said(second)))]
    third = direct(body(*asked["messages"], *rest, "[[max_tokens]] [[words 2]]"))
    assert (said(third), third.stop_reason) == ("word1 ", "max_tokens")


def test_an_error_or_a_cut_can_be_limited_to_the_first_attempts():
    asked = body("[[status 529 2]] [[break 3]] [[words 1]]")
    scenes = [direct(asked, attempt=n) for n in (1, 2, 3, 4)]
    assert [bool(s.failure) for s in scenes] == [True, True, False, False]
    assert [s.cut for s in scenes] == [False, False, True, False]
    assert said(scenes[3]) == "Once more, in one piece: word1"


@pytest.mark.parametrize("size", [0, 1, 1024, 1025, 5000])
def test_a_big_answer_has_exactly_the_size_and_comes_by_the_kilobyte(size):
    scene = direct(body(f"[[big {size}]]"), delay_s=1)
    assert len(said(scene).encode()) == size
    assert scene.delay_s == 0
    assert all(len(piece) == 1024 for piece in scene.text[:-1])


# Over HTTP


def test_a_stream_has_the_events_of_the_messages_api(model):
    question = '[[think 1]] [[tool Bash {"command": "echo a longer command"}]]'
    response = ask(model, question)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    seen = list(events(response))
    start, stop = "content_block_start", "content_block_stop"
    shown = [
        e["type"] + (f" {e['index']} {e['delta']['type']}" if "index" in e and "delta" in e else "")
        for e in seen
    ]
    assert shown == [
        "message_start",
        "ping",
        *[start, "content_block_delta 0 thinking_delta", "content_block_delta 0 signature_delta"],
        *[stop, start, *["content_block_delta 1 text_delta"] * 4, stop],
        *[start, *["content_block_delta 2 input_json_delta"] * 3, stop],
        "message_delta",
        "message_stop",
    ]
    arguments = "".join(e["delta"].get("partial_json", "") for e in seen if "delta" in e)
    assert json.loads(arguments) == {"command": "echo a longer command"}
    assert seen[-2]["delta"]["stop_reason"] == "tool_use"
    assert seen[-2]["usage"]["output_tokens"] > 0
    assert seen[0]["message"]["usage"]["input_tokens"] > 0


def test_each_message_has_an_id_of_its_own(model):
    ids = {next(events(ask(model, "hello")))["message"]["id"] for _ in range(3)}
    assert len(ids) == 3


def test_without_streaming_the_same_comes_as_one_message(model):
    whole = ask(model, f"[[think 1]] {BASH}", stream=False).json()
    assert [block["type"] for block in whole["content"]] == ["thinking", "text", "tool_use"]
    assert whole["content"][2]["input"] == {"command": "echo hi"}
    assert (whole["type"], whole["role"], whole["model"]) == ("message", "assistant", "m")
    assert whole["stop_reason"] == "tool_use"


def test_a_word_reaches_the_client_before_the_next_is_written(model):
    response = ask(model, "[[stall 600]] [[words 9]]")
    reader = words(response)
    for number in (1, 2, 3):
        assert next(reader) == f"word{number} "
        assert len(model.words_written[0]) >= number
    assert model.wait_until(lambda m: len(m.words_written[0]) == 3)
    assert model.exchanges[0].ending == "running"
    response.close()
    assert model.wait_until(lambda m: m.exchanges[0].ending == "left")
    assert [word.text for word in model.words_written[0]] == ["word1 ", "word2 ", "word3 "]


def test_words_keep_their_distance(model):
    assert "".join(words(ask(model, "[[delay 30]] [[stall 0.2]] [[words 5]]"))).endswith("word5")
    at = [word.at for word in model.words_written[0]]
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert all(gap >= least for gap, least in zip(gaps, (0.03, 0.03, 0.23, 0.03), strict=True))


def test_an_answer_of_few_words_stalls_at_its_end(model):
    assert list(words(ask(model, "[[stall 0.2]] [[say one]]"))) == ["one"]
    (exchange,) = model.exchanges
    assert exchange.ended_at - exchange.words[0].at >= 0.2


def test_the_end_of_an_answer_is_in_the_record_before_the_client_has_it(model):
    for seen in events(ask(model, "[[words 2]]")):
        if seen["type"] == "message_stop":
            assert model.exchanges[0].ending == "whole"


def test_a_client_that_leaves_while_a_lot_is_written_is_noticed(model):
    response = ask(model, "[[big 50000000]]")
    assert next(words(response)).startswith("00000000 ..")
    response.close()
    assert model.wait_until(lambda m: m.exchanges[0].ending == "left")


def test_a_client_that_hangs_long_enough_is_hung_up_on(model):
    with pytest.raises(requests.exceptions.ConnectionError):
        ask(model, "[[hang 0.1]]")
    assert model.wait_until(lambda m: m.exchanges[0].ending != "running")
    (exchange,) = model.exchanges
    assert (exchange.status, exchange.ending) == (0, "left")
    assert exchange.ended_at - exchange.at >= 0.1


def test_a_broken_answer_ends_after_three_words_and_is_whole_without_streaming(model):
    reader, got = words(ask(model, "[[break]] [[words 9]]")), []
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        got.extend(iter(lambda: next(reader), None))
    whole = ask(model, "[[break]] [[words 9]]", stream=False).json()["content"][0]["text"]
    assert whole.startswith("Once more, in one piece: word1 word2")
    assert whole.endswith(" word9")
    assert [e.ending for e in model.exchanges] == ["cut", "whole"]
    assert len(model.words_written[0]) == 3


def test_nothing_is_sent_to_a_client_that_is_left_hanging(model):
    port = int(model.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        sent = json.dumps(body("[[hang]]")).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sent)}\r\n\r\n"
        client.sendall(head.encode() + sent)
        assert model.wait_until(lambda m: m.questions == ["[[hang]]"])
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        (connection,) = model._server._open
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert model.wait_until(lambda m: m.exchanges[0].ending == "left")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_error_has_the_shape_of_the_service(model, status, kind):
    response = ask(model, f"[[status {status}]] [[retry-after 9]]")
    assert (response.status_code, response.headers["Retry-After"]) == (status, "9")
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == kind


def test_an_error_can_pass_when_asked_again(model):
    assert [ask(model, "[[status 500 2]]").status_code for _ in range(3)] == [500, 500, 200]
    assert [e.attempt for e in model.exchanges] == [1, 2, 3]
    assert model.questions == ["[[status 500 2]]"]


def test_questions_are_listed_once_and_without_side_requests(model):
    url, headers = f"{model.url}/v1/messages", {"X-Claude-Code-Session-Id": "s1"}
    asked = [body("one"), body("one", *called()), body("quota", max_tokens=1)]
    asked += [body("one", assistant(*text("1")), "two")]
    for one in asked:
        requests.post(url, json=one, headers=headers, timeout=20).close()
    agent = {**headers, "X-Claude-Code-Agent-Id": "a1"}
    requests.post(url, json=body("an agent's"), headers=agent, timeout=20).close()
    assert model.questions == ["one", "two"]
    assert [e.kind for e in model.exchanges] == ["question"] * 2 + ["side", "question", "agent"]
    assert model.requests[:4] == asked


def test_only_the_latest_requests_are_kept():
    with serve(delay=0, keep=2) as model:
        for question in ("one", "two", "three"):
            ask(model, question).close()
        assert model.wait_until(lambda m: m.questions == ["two", "three"])


def test_it_answers_what_else_the_cli_asks(model):
    assert requests.head(model.url, timeout=20).status_code == 200
    assert requests.get(model.url, timeout=20).json() == {"status": "demo model running"}
    count = requests.post(f"{model.url}/v1/messages/count_tokens", json=body("x" * 400), timeout=20)
    assert 100 <= count.json()["input_tokens"] < 200
    assert model.requests == []


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"{}", b'{"messages": 1}'])
def test_a_body_that_is_no_request_is_refused(model, sent):
    response = requests.post(f"{model.url}/v1/messages", data=sent, timeout=20)
    assert (response.status_code, response.json()["error"]["type"]) == (
        400,
        "invalid_request_error",
    )


def test_an_unknown_path_is_not_found(model):
    response = requests.get(f"{model.url}/v2", timeout=20)
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")


# Its life


def sockets():
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(descriptor.readlink()))
    return sorted(link for link in links if link.startswith("socket:"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to count sockets in")
def test_closing_cuts_every_connection_and_leaves_nothing_behind():
    with serve():
        pass  # Whatever is made once, such as gevent's hub, exists from here on.
    before = sockets(), set(threading.enumerate())
    with serve(delay=600) as model, contextlib.ExitStack() as clients:
        address = ("127.0.0.1", int(model.url.rpartition(":")[2]))
        idle = [clients.enter_context(socket.create_connection(address)) for _ in range(30)]
        reader = words(clients.enter_context(ask(model, "[[words 2]]")))
        assert next(reader) == "word1 "
        started = time.monotonic()
        model.close()
        threads = set(threading.enumerate())
        assert time.monotonic() - started < 5
        assert {one.recv(1) for one in idle} == {b""}
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            next(reader)
        assert model.exchanges[0].ending == "left"
    assert (sockets(), threads) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_as_a_program_it_tells_its_address_logs_each_request_and_ends_on_sigterm(tmp_path):
    log = tmp_path / "log.jsonl"
    arguments = ["--port", "0", "--delay-ms", "0", "--log", str(log)]
    with subprocess.Popen(
        [sys.executable, "-m", "cowork.demo.model", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said_first = process.stdout.readline()
            assert said_first.startswith("demo model listening on http://127.0.0.1:")
            url = f"{said_first.split()[-1]}/v1/messages"
            requests.post(url, json=body("[[words 2]]"), timeout=20).close()
        finally:
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")
    (line,) = [json.loads(one) for one in log.read_text().splitlines()]
    assert (line["question"], line["status"], line["ending"]) == ("[[words 2]]", 200, "whole")
    assert line["words"] == 2


def test_tokens_are_guessed_from_bytes():
    assert (wire.tokens(0), wire.tokens(4000)) == (1, 1000)
