"""A stream goes on behind its last event, whatever the server and the network do."""

from __future__ import annotations

import time

import pytest

from cowork.client import (
    ApprovalRequested,
    BadReply,
    Client,
    DeadlineExceeded,
    Done,
    Lost,
    NotFound,
    Other,
    Replace,
    Token,
    ToolResult,
    ToolUse,
    TryLater,
    TurnFailed,
    Unreachable,
)
from tests.lying_server import (
    DONE,
    HEAD,
    answer,
    dripping,
    frame,
    lying,
    refused,
    silent,
    stream,
    token,
)


def asked(server, patience=20.0, deadline=60.0):
    """The answer to a question, and the connections that were lost meanwhile."""
    lost: list[Lost] = []
    with (
        Client(server.url, patience=patience) as client,
        client.stream("why?", project="p", deadline=deadline, on_lost=lost.append) as events,
    ):
        return events.answer(), lost


def test_a_stream_that_was_cut_goes_on_behind_its_last_event_and_nothing_comes_twice():
    cut = HEAD + frame(1, token("one ")) + frame(2, token("two ")) + b'id: t1.3\ndata: {"typ'
    rest = stream(token("two "), token("three"), DONE, first=2)
    with lying(cut, rest) as server:
        answered, lost = asked(server)
    assert answered.text == "one two three"
    assert (answered.turn_id, answered.session_id, answered.cost_usd) == ("t1", "s1", 0.5)
    assert [each.error.code for each in lost] == ["unreachable"]
    first, second = server.requests
    assert (first.method, first.path) == ("POST", "/ask_question_streaming")
    assert first.body == {"project_name": "p", "question": "why?"}
    assert first.headers["accept"] == second.headers["accept"] == "text/event-stream"
    assert (second.method, second.path) == ("GET", "/turns/t1/events")
    assert second.headers["last-event-id"] == "t1.2"


def test_a_question_whose_request_was_lost_is_sent_again_under_its_own_key():
    def hang_up(_connection):
        return None

    with lying(hang_up, b"HTTP/1.1 200 OK\r\nContent-", stream(token("yes"), DONE)) as server:
        assert asked(server)[0].text == "yes"
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    with lying(stream(DONE)) as server:
        asked(server)
    assert server.requests[0].headers["idempotency-key"] != keys[0]


@pytest.mark.parametrize(
    "passing",
    [
        refused(503, "shutting_down", Retry_After="0"),
        refused(503, "store_unavailable"),
        refused(503, "worker_unreachable"),
        answer(502, b"<html>Bad Gateway</html>"),
        answer(504, b""),
        HEAD + b"id: t1.1\ndata: {not json}\n\n",
        HEAD + b"id: t1.1\ndata: [1]\n\n",
        HEAD + b'data: {"type": "token", "token": "without a number"}\n\n',
        HEAD + b"id: t1.1\ndata: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_what_passes_is_waited_for(passing):
    with lying(passing, stream(token("yes"), DONE)) as server:
        answered, lost = asked(server)
    assert answered.text == "yes"
    assert len(lost) == 1
    assert len(server.requests) == 2


def test_pauses_grow_and_have_an_end():
    lost: list[Lost] = []
    with (
        lying(refused(503, "shutting_down")) as server,
        Client(server.url, patience=2.0) as client,
        pytest.raises(TryLater) as fault,
    ):
        client.stream("why?", project="p", on_lost=lost.append).answer()
    assert fault.value.code == "shutting_down"
    pauses = [each.pause for each in lost]
    assert [each.attempt for each in lost] == list(range(1, len(lost) + 1))
    assert sum(pauses) <= 2.0
    assert pauses == sorted(pauses)
    assert len(server.requests) == len(lost) + 1


@pytest.mark.parametrize(
    ("code", "status"), [("unauthorized", 401), ("at_capacity", 503), ("internal", 500)]
)
def test_what_does_not_pass_is_told_at_once(code, status):
    with lying(refused(status, code)) as server, pytest.raises(Exception, match=code) as fault:
        asked(server)
    assert (fault.value.code, fault.value.status) == (code, status)
    assert len(server.requests) == 1


def test_a_turn_that_a_restarted_server_does_not_know_is_said():
    with (
        lying(stream(token("one ")), refused(404, "turn_not_found")) as server,
        Client(server.url) as client,
        client.stream("why?", project="p") as events,
    ):
        assert next(events).frame["token"] == "one "
        with pytest.raises(NotFound) as fault:
            next(events)
        assert events.text == "one "
    assert fault.value.code == "turn_not_found"


def test_another_servers_page_is_no_stream():
    with lying(answer(200, b"<html>hello</html>", Content_Type="text/html")) as server:
        with pytest.raises(BadReply):
            asked(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        dripping(HEAD, b": keep-alive\n"),
        silent(HEAD),
    ],
    ids=["keep-alives", "silence"],
)
def test_a_server_that_never_ends_does_not_keep_its_client(reply):
    with lying(reply) as server:
        begun = time.monotonic()
        with pytest.raises((DeadlineExceeded, Unreachable)):
            asked(server, deadline=1.0, patience=1.0)
        assert time.monotonic() - begun < 20


def test_a_failed_turn_is_an_error_with_what_was_said():
    failed = {"type": "error", "error": "no luck", "code": "claude_failed"}
    done = {**DONE, "success": False}
    with lying(stream(token("half"), failed, done)) as server, pytest.raises(TurnFailed) as fault:
        asked(server)
    assert (fault.value.code, fault.value.text, fault.value.turn_id) == (
        "claude_failed",
        "half",
        "t1",
    )
    assert str(fault.value) == "no luck"


@pytest.mark.parametrize(
    "said",
    [
        [token("wrong"), {"type": "replace", "text": "right"}, DONE],
        [token("wrong"), {**DONE, "message": "right"}],
        [token("wrong"), {"type": "replace", "text": "ri"}, token("ght"), DONE],
    ],
)
def test_what_was_replaced_is_not_in_the_answer(said):
    with lying(stream(*said)) as server:
        assert asked(server)[0].text == "right"


def test_events_are_values_and_unknown_ones_are_passed_on():
    frames = [
        {"type": "tool_use", "id": "u", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_result", "id": "u", "content": "x", "is_error": False, "duration_ms": 3},
        {"type": "approval", "id": "a", "kind": "tool", "tool": "Bash", "input": {}, "suggestions": [], "expires_at": "z"},
        {"type": "replace", "text": "x"},
        {"type": "hologram", "of": "x"},
        {"type": "tool_use", "id": "u"},
        {"type": "approval", "id": "a", "kind": "tool", "tool": "Bash", "input": 3},
        {"type": ["x"]},
        token("x"),
        {**DONE, "files_changed": 3, "total_cost_usd": "much", "model": []},
    ]  # fmt: skip
    with (
        lying(stream(*frames)) as server,
        Client(server.url) as client,
        client.events("t1", events=["tool", "approval"]) as events,
    ):
        seen = list(events)
        answered = events.answer()
    kinds = [
        ToolUse,
        ToolResult,
        ApprovalRequested,
        Replace,
        Other,
        Other,
        Other,
        Other,
        Token,
        Done,
    ]
    assert [type(event) for event in seen] == kinds
    assert [event.number for event in seen] == list(range(1, 11))
    assert seen[4].frame["of"] == "x"
    assert (answered.files_changed, answered.cost_usd, answered.model) == ((), None, None)
    assert server.requests[0].path == "/turns/t1/events?events=tool%2Capproval"


def test_a_turn_that_was_read_to_its_end_has_no_more_events():
    reply = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    with lying(reply) as server, Client(server.url) as client:
        assert list(client.events("t1", after=7)) == []
    assert server.requests[0].headers["last-event-id"] == "t1.7"


def test_a_stream_goes_on_after_an_exception_of_the_programs_own():
    def interrupt(_lost: Lost) -> None:
        raise KeyboardInterrupt

    replies = [stream(token("one ")), stream(token("two"), DONE, first=2)]
    with lying(*replies) as server, Client(server.url) as client:
        events = client.stream("why?", project="p", on_lost=interrupt)
        assert next(events).number == 1
        with pytest.raises(KeyboardInterrupt):
            next(events)
        assert events.answer().text == "one two"
