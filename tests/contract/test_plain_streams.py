"""The bytes of a stream: the founding document's for who asks for nothing more, else with ids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.contract.replies import problem
from tests.serving import Served, wait_for

ASK = "/ask_question_streaming"
TOKEN = r'data: \{"type": "token", "token": "(?:[^"\\]|\\.)*"\}\n\n'
LAST = r'data: \{"done": true, "type": "done", "success": true, .*\}\n\n'
# Silence before the first frame, between frames and before the last, each longer than a keep-alive.
SILENT = "[[pause 500]] [[delay 400]] [[linger 500]] [[words 3]]"
ANSWER = "w1 w2 w3"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
SHOWN = [
    ({"Accept": "text/event-stream"}, {}),
    ({"Accept": "application/json, Text/Event-Stream;q=0.9"}, {}),
    ({"Last-Event-ID": ""}, {}),
    ({"Idempotency-Key": "k"}, {}),
    ({}, {"events": []}),
]


def asked(served: Served, text: str, headers: dict[str, str | bytes] | None = None, **more):
    body = {"project_name": "p", "question": text, **more}
    return served.post(ASK, body, headers=headers or {})


@pytest.fixture
def silent(serve: Callable[..., Served]) -> Served:
    """A server that fills silence often."""
    return serve(COWORK_KEEPALIVE="0.15", COWORK_FIRST_EVENT_WAIT="0.1")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/plain"])
def test_fault_w1_a_plain_stream_is_data_and_blank_lines(served: Served, accept) -> None:
    reply = asked(served, "[[words 3]]", {"Accept": accept} if accept else {})
    assert re.fullmatch(f"(?:{TOKEN}){{3}}{LAST}", reply.text)
    assert reply.text.startswith('data: {"type": "token", "token": "w1 "}\n\ndata: {"type"')


def test_fault_w1_w2_the_silence_of_a_plain_stream_is_empty_lines(silent: Served) -> None:
    text = asked(silent, SILENT).text
    assert re.fullmatch(rf"\n+(?:{TOKEN}\n*){{3}}{LAST}", text)
    before, *between, last = re.split(TOKEN, text)
    assert all(len(silence) >= 2 and len(silence) % 2 == 0 for silence in (before, *between))
    assert re.match("(?:\n\n)+data: ", last)


@pytest.mark.parametrize(("headers", "body"), SHOWN)
def test_fault_w1_who_knows_server_sent_events_gets_ids(
    silent: Served, headers: dict[str, str], body: dict[str, object]
) -> None:
    reply = asked(silent, SILENT, headers, **body)
    turn = reply.headers["X-Turn-ID"]
    events = re.sub("(?m)^: keep-alive\n", "", reply.text)
    # The first token's number leaves room for the events that this client did not ask for.
    frame = rf"id: {turn}\.\d+\n"
    assert re.fullmatch(f"(?:{frame}{TOKEN}){{3}}{frame}{LAST}", events)


def test_fault_w2_a_comment_is_no_empty_message(silent: Served) -> None:
    text = asked(silent, SILENT, {"Accept": "text/event-stream"}).text
    comments = re.findall(r"(?m)^: keep-alive\n(?=id: |: keep-alive\n)", text)
    assert len(comments) == text.count("keep-alive") >= 6
    assert "\n\n\n" not in text


def test_fault_w1_every_frame_has_a_blank_after_each_colon_and_comma(served: Served) -> None:
    scene = '[[tool]] [[retry 1 10]] [[say a\\b "c" ü \u2028 😀]]'
    for text in (asked(served, scene, events=["tool", "status"]).text, asked(served, scene).text):
        for line in re.findall("(?m)^data: (.*)$", text.replace("\u2028", "\\u2028")):
            value = json.loads(line)
            assert line in {
                json.dumps(value, ensure_ascii=False).replace("\u2028", "\\u2028"),
                json.dumps(value),
            }


def test_fault_w1_an_error_in_mid_stream_is_a_frame_and_then_the_end(served: Served) -> None:
    *_, error, last, nothing = asked(served, "[[die]] [[words 9]]").text.split("\n\n")
    assert error.startswith('data: {"type": "error", "error": "')
    assert '"code": "claude_failed"' in error
    assert last.startswith('data: {"done": true, "type": "done", "success": false')
    assert nothing == ""


def test_fault_w3_a_post_with_the_id_of_a_running_turn_attaches_to_it(served: Served) -> None:
    body = {"project_name": "p", "question": "[[words 30]] [[delay 20]]"}
    with served.stream(body["question"]) as reply:
        lines = reply.iter_lines(chunk_size=1)
        seen = [next(lines) for _ in range(9)]
        last_id = next(line for line in reversed(seen) if line.startswith(b"id: "))[4:].decode()
        again = served.post(ASK, body, headers={"Last-Event-ID": last_id})
        rest = b"\n".join([*seen, *lines]).decode()
    assert again.headers["X-Turn-ID"] == reply.headers["X-Turn-ID"]
    behind = rest.partition(f"id: {last_id}\n")[2].partition("\n\n")[2]
    assert again.text.removeprefix(": keep-alive\n").strip() == behind.strip()
    assert served.ask("[[count]]").json()["message"].startswith("I see 2 questions")


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}])
def test_fault_w3_who_has_read_all_gets_the_last_frame_once_more(
    served: Served, key: dict[str, str]
) -> None:
    first = asked(served, "[[words 3]]", {"Accept": "text/event-stream", **key})
    *_, last, nothing = first.text.split("\n\n")
    assert nothing == ""
    for _ in range(2):
        again = asked(served, "[[words 3]]", {"Last-Event-ID": _id_of(last), **key})
        assert again.status_code == 200
        assert again.text == f"{last}\n\n"
    assert served.ask("[[count]]").json()["message"].startswith("I see 2 questions")


def test_fault_w3_a_failed_turn_is_read_on_as_a_stream(served: Served) -> None:
    first = asked(served, "[[die]] [[words 9]]", {"Accept": "text/event-stream"})
    frames = first.text.split("\n\n")
    again = asked(served, "[[die]] [[words 9]]", {"Last-Event-ID": _id_of(frames[-4])})
    assert again.status_code == 200
    assert again.text == "\n\n".join(frames[-3:])


def test_fault_w3_an_id_whose_turn_is_not_kept_is_expired_and_nothing_is_asked(
    serve: Callable[..., Served],
) -> None:
    served = serve(COWORK_TURN_RETENTION="1")
    frames = asked(served, "hi", {"Accept": "text/event-stream"}).text.split("\n\n")
    turn = _id_of(frames[0]).partition(".")[0]
    wait_for(lambda: served.get(f"/turns/{turn}").status_code == 410, what="the forgetting")
    for gone in (_id_of(frames[0]), f"{UNKNOWN}.1"):
        problem(asked(served, "hi", {"Last-Event-ID": gone}), 410, "turn_expired")
    assert served.ask("[[count]]").json()["message"].startswith("I see 2 questions")


def test_fault_w3_another_callers_id_is_expired_too(serve: Callable[..., Served], another) -> None:
    alice_key, bob_key = "alice-" + "a" * 32, "bob-" + "b" * 32
    served = serve(COWORK_API_KEYS=f"alice={alice_key},bob={bob_key}")
    alice, bob = another(served, alice_key), another(served, bob_key)
    frames = asked(alice, "hi", {"Accept": "text/event-stream"}).text.split("\n\n")
    problem(asked(bob, "hi", {"Last-Event-ID": _id_of(frames[0])}), 410, "turn_expired")
    assert bob.get("/sessions").json()["count"] == 0


@pytest.mark.parametrize(
    ("project", "text", "given"),
    [
        ("q", "hi", "{id}"),
        ("p", "another", "{id}"),
        ("p", "hi", "7"),
        ("p", "hi", "x{id}"),
        ("p", "hi", "{id}.1"),
        ("p", "hi", "ü"),
    ],
)
def test_fault_w3_any_other_id_is_ignored(
    served: Served, project: str, text: str, given: str
) -> None:
    frames = asked(served, "hi", {"Accept": "text/event-stream"}).text.split("\n\n")
    header = given.format(id=_id_of(frames[0])).encode()
    again = served.post(
        ASK, {"project_name": project, "question": text}, headers={"Last-Event-ID": header}
    )
    tokens = re.findall('"token": "([^"]+)"', again.text)
    assert "".join(tokens) == f"You said: {text}"
    assert again.headers["X-Turn-ID"] not in _id_of(frames[0])


def test_fault_w4_no_proxy_may_hold_a_stream_back_to_compress_it(served: Served) -> None:
    assert asked(served, "hi").headers["Cache-Control"] == "no-cache, no-transform"


def test_fault_w8_times_are_the_founding_documents_in_its_endpoints(served: Served) -> None:
    reply = served.ask("hi").json()
    founding = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
    assert founding.fullmatch(reply["timestamp"])
    assert founding.fullmatch(served.get("/health").json()["timestamp"])
    turn = served.get(f"/turns/{reply['turn_id']}").json()
    used = [each["last_used"] for each in served.get("/processes").json()["processes"]]
    for name in ("created_at", "started_at", "ended_at"):
        assert re.fullmatch(founding.pattern + "Z", turn[name])
    assert used
    assert all(re.fullmatch(founding.pattern + "Z", each) for each in used if each)


def _id_of(frame: str) -> str:
    return frame.rpartition("id: ")[2].partition("\n")[0]
