"""Calls: what is sent, what is refused, and that nothing waits or grows for ever."""

from __future__ import annotations

import time
import traceback

import pytest

from cowork.client import (
    BadReply,
    Client,
    Conflict,
    CoworkError,
    InvalidRequest,
    NotFound,
    RequestFailed,
    TryLater,
    Unauthorized,
    Unreachable,
    attachment,
)
from tests.lying_server import answer, dripping, lying, refused
from tests.serving import free_port

KEY = "a-key-that-nobody-may-see-0123456789"


def failed(reply, **options) -> CoworkError:
    with (
        lying(reply) as server,
        Client(server.url, **options) as client,
        pytest.raises(CoworkError) as fault,
    ):
        client.health()
    return fault.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (409, Conflict),
        (410, NotFound),
        (422, InvalidRequest),
        (429, TryLater),
        (500, RequestFailed),
        (502, RequestFailed),
        (503, TryLater),
    ],
)
def test_a_refusal_says_what_to_do_about_it(status, kind):
    fault = failed(refused(status, "some_code", Retry_After="7", X_Request_ID="r1"))
    assert type(fault) is kind
    assert (fault.status, fault.code, fault.sentence) == (
        status,
        "some_code",
        "a sentence on some_code",
    )
    assert (fault.retry_after, fault.request_id) == (7.0, "r1")
    assert str(fault) == fault.sentence


def test_a_request_that_does_not_fit_names_the_place():
    faults = [
        {"type": "x", "loc": ["body", "attachments", 0, "data"], "msg": "no base64"},
        {"type": "x", "loc": ["body", "approvals"], "msg": "off"},
    ]
    fault = failed(answer(422, {"detail": faults}))
    assert isinstance(fault, InvalidRequest)
    assert fault.faults == ("attachments.0.data", "approvals")
    assert fault.sentence == "attachments.0.data: no base64; approvals: off"


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (answer(502, b"<html>"), Unreachable, "server_unreachable"),
        (answer(404, {"detail": "Not Found"}), NotFound, "http_404"),
        (answer(302, b"", Location="http://127.0.0.1:1/evil"), RequestFailed, "http_302"),
        (answer(418, b"\xff\xfe"), RequestFailed, "http_418"),
        (answer(200, b"<html>hi</html>"), BadReply, "bad_reply"),
        (answer(200, ["a", "list"]), BadReply, "bad_reply"),
        (answer(200, b"[" * 100_000), BadReply, "bad_reply"),
        (answer(500, {"detail": {"error": ["x"], "code": {"a": 1}}}), RequestFailed, "{'a': 1}"),
        (answer(422, {"detail": [{"loc": 3, "msg": None}, 7]}), InvalidRequest, "invalid_request"),
        (answer(500, {"detail": {"error": "x" * 10**6, "code": "long"}}), RequestFailed, "long"),
        (b"not http at all\r\n\r\n", Unreachable, "unreachable"),
        (b"", Unreachable, "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", Unreachable, "unreachable"),
    ],
)
def test_whatever_a_server_answers_is_one_of_the_tree(reply, kind, code):
    fault = failed(reply)
    assert type(fault) is kind
    assert fault.code == code
    assert len(str(fault)) <= 2000


def test_nobody_there_is_said_soon():
    with (
        Client(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(Unreachable, match="Connection refused") as fault,
    ):
        client.health()
    assert not fault.value.was_connected


def test_a_reply_that_drips_has_a_deadline():
    drip = dripping(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" ")
    with lying(drip) as server, Client(server.url) as client:
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            client.call("GET", "/health", timeout=0.5)
        assert time.monotonic() - begun < 10


def test_a_key_goes_in_a_header_and_is_seen_nowhere_else():
    with lying(refused(401, "unauthorized")) as server, Client(server.url, KEY) as client:
        assert KEY not in repr(client)
        with pytest.raises(Unauthorized) as fault:
            client.health()
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in server.requests[0].path
    assert KEY not in "".join(traceback.format_exception(fault.value))


@pytest.mark.parametrize("bad", [f"{KEY}\r\nX: y", f"{KEY}\x00", f"{KEY}é", f"{KEY} x", "  "])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(bad):
    with pytest.raises(ValueError, match="API key") as fault:
        Client("http://localhost", bad)
    assert KEY not in "".join(traceback.format_exception(fault.value))


@pytest.mark.parametrize(
    "url",
    ["localhost:5002", "ftp://x", "http://", "http://u:p@x", "http://x:99999", "http://x/?a=1", "", "http://[::1"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="address"):
        Client(url)


@pytest.mark.parametrize(
    ("project", "path"),
    [
        ("a/b", "/sessions/a%2Fb"),
        ("..", "/sessions/%2E%2E"),
        (".", "/sessions/%2E"),
        ("x?y#z%", "/sessions/x%3Fy%23z%25"),
        ("é ", "/sessions/%C3%A9%20"),
    ],
)
def test_a_name_is_one_segment_of_the_path(project, path):
    with lying(answer(200, {})) as server, Client(f"{server.url}/") as client:
        client.session(project)
    assert server.requests[0].path == path


def test_pages_are_read_to_their_end():
    pages = [answer(200, {"messages": [{"id": n}], "next": f"c{n}"}) for n in range(2)]
    last = answer(200, {"messages": [], "next": None})
    with lying(*pages, last) as server, Client(server.url) as client:
        assert [each["id"] for each in client.messages("p", limit=1)] == [0, 1]
    assert [request.path.partition("?")[2] for request in server.requests] == [
        "limit=1",
        "limit=1&after=c0",
        "limit=1&after=c1",
    ]


@pytest.mark.parametrize(
    "page",
    [{"sessions": [], "next": "again"}, {"sessions": [3], "next": None}, {"sessions": {}}, {}],
)
def test_pages_that_lie_have_an_end(page):
    with lying(answer(200, page)) as server, Client(server.url) as client, pytest.raises(BadReply):
        list(client.sessions())


def test_what_changes_something_has_a_key_of_its_own_each_time():
    with lying(answer(200, {"success": True})) as server, Client(server.url) as client:
        client.fork("a", "b", at_turn="t")
        client.rewind("a", "t", files="preview")
        client.steer("t", "go left")
        client.steer("t", "go left", idempotency_key="mine")
    bodies = [{"to": "b", "at_turn": "t"}, {"to_turn": "t", "files": "preview"}]
    assert [request.body for request in server.requests] == [*bodies, *[{"text": "go left"}] * 2]
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(set(keys)) == 4
    assert keys[-1] == "mine"


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n...", "x.txt", "image/png"),
        (b"\xff\xd8\xff...", "x", "image/jpeg"),
        (b"GIF89a", "x", "image/gif"),
        (b"RIFF....WEBP", "x", "image/webp"),
        (b"%PDF-1.7", "x", "application/pdf"),
        (b"# hi", "x.MD", "text/markdown"),
        (b"a,b", "x.csv", "text/csv"),
        ("é".encode(), "x.py", "text/plain"),
    ],
)
def test_an_attachments_type_is_that_of_its_bytes(content, name, kind):
    made = attachment(content, name)
    assert made["media_type"] == kind
    assert made["type"] == ("image" if kind.startswith("image/") else "document")


def test_what_the_server_does_not_take_is_no_attachment():
    with pytest.raises(ValueError, match="neither"):
        attachment(b"\x7fELF\xff\xfe", "x")
