"""Libraries that are cut in mid-answer, and go on when the server was restarted meanwhile.

The question is asked once, and the text comes once.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
import requests
import sseclient

from tests.background import BackgroundCalls
from tests.clients.node import node, require_node
from tests.clients.proxy import cutting
from tests.serving import TIMEOUT_S, Client, Gunicorn, free_port, wait_for

KEY = "a-key-of-the-libraries-0123456789-abcd"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
EVENT_STREAM = {**AUTHORIZED, "Accept": "text/event-stream"}
QUESTION = "[[delay 25]] [[words 40]]"
ANSWER = " ".join(f"w{n}" for n in range(1, 41))
CUT_BYTES = 1500

Event = tuple[str, dict[str, Any]]
Request = tuple[str, str, dict[str, str], dict[str, str] | None]
Library = Callable[[Request], Iterator[Event]]


def of_httpx(request: Request) -> Iterator[Event]:
    """httpx-sse."""
    method, url, headers, body = request
    with (
        httpx.Client(trust_env=False) as client,
        httpx_sse.connect_sse(client, method, url, headers=headers, json=body) as source,
    ):
        for event in source.iter_sse():
            yield event.id, json.loads(event.data)


def of_sseclient(request: Request) -> Iterator[Event]:
    """sseclient-py over requests."""
    method, url, headers, body = request
    with requests.request(
        method, url, headers=headers, json=body, stream=True, timeout=TIMEOUT_S
    ) as reply:
        chunks: Any = reply.iter_content(None)
        for event in sseclient.SSEClient(chunks).events():
            yield event.id, json.loads(event.data)


def of_requests(request: Request) -> Iterator[Event]:
    """Requests, by line."""
    method, url, headers, body = request
    with requests.request(
        method, url, headers=headers, json=body, stream=True, timeout=TIMEOUT_S
    ) as reply:
        yield from _by_line(reply.iter_lines(chunk_size=1))


def of_curl(request: Request) -> Iterator[Event]:
    """Curl, by line."""
    method, url, headers, body = request
    argv = ["curl", "--silent", "--no-buffer", "-X", method, url]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    if body is not None:
        argv += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        yield from _by_line(line.rstrip(b"\n") for line in curl.stdout)


def _by_line(lines: Iterable[bytes]) -> Iterator[Event]:
    last_id = ""
    for line in lines:
        if line.startswith(b"id: "):
            last_id = line[4:].decode()
        elif line.startswith(b"data: "):
            # The line may be cut: then it is no event.
            with suppress(ValueError):
                yield last_id, json.loads(line[6:])


LIBRARIES: dict[str, Library] = {
    "httpx-sse": of_httpx,
    "sseclient-py": of_sseclient,
    "requests": of_requests,
    "curl": of_curl,
}


def until_cut(library: Library, request: Request) -> list[Event]:
    """What came before the connection was cut, which each library tells in its own way."""
    seen = []
    with suppress(OSError, httpx.TransportError, requests.RequestException):
        seen += library(request)
    return seen


def joined(seen: list[Event]) -> str:
    return "".join(data["token"] for _, data in seen if data.get("type") == "token")


@pytest.fixture
def start(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> Callable[[], Gunicorn]:
    """A server that keeps what it knows, always at the same port."""
    port = free_port()
    return lambda: gunicorn(
        PORT=str(port),
        COWORK_API_KEYS=f"libraries={KEY}",
        COWORK_STORE=f"sqlite:///{tmp_path / 'state' / 'cowork.db'}",
    )


def test_fault_w3_libraries_that_were_cut_go_on_when_the_server_was_restarted(
    start: Callable[[], Gunicorn], another: Callable[..., Client], background: BackgroundCalls
) -> None:
    require_node()
    server = start()
    ways = {(name, way) for name in LIBRARIES for way in ("POST", "GET")}
    with cutting(server.port, *[CUT_BYTES] * (len(ways) + 1)) as proxy:
        # npm's eventsource comes back by itself; nobody gets through until the restart is over.
        client = another(server, KEY)
        with client.stream(QUESTION, "eventsource") as reply:
            turn = reply.headers["X-Turn-ID"]
        source = background(
            node, "eventsource.mjs", f"{proxy.url}/turns/{turn}/events", json.dumps(AUTHORIZED)
        )
        calls = {
            (name, way): background(
                until_cut,
                LIBRARIES[name],
                (
                    "POST",
                    f"{proxy.url}/ask_question_streaming",
                    EVENT_STREAM,
                    {"project_name": f"{name} {way}", "question": QUESTION},
                ),
            )
            for name, way in ways
        }
        begun = {which: call.result(TIMEOUT_S) for which, call in calls.items()}
        wait_for(lambda: not proxy.cuts_left, what="the cut of npm's eventsource")
        proxy.is_down = True
        wait_for(lambda: client.get("/health").json()["turns"] == 0, what="the end of all turns")
        server.stop()
        server = start()
        proxy.is_down = False
        for (name, way), seen in begun.items():
            assert 0 < len(seen) < 40, (name, way, seen)
            last_id = seen[-1][0]
            headers = {**EVENT_STREAM, "Last-Event-ID": last_id}
            body: dict[str, str] | None = {"project_name": f"{name} {way}", "question": QUESTION}
            url = f"{proxy.url}/ask_question_streaming"
            if way == "GET":
                url, body = f"{proxy.url}/turns/{last_id.partition('.')[0]}/events", None
            whole = [*seen, *LIBRARIES[name]((way, url, headers, body))]
            assert joined(whole) == ANSWER, (name, way)
            assert whole[-1][1]["success"] is True, (name, way)
            assert len({each for each, _ in whole}) == len(whole) == 41, (name, way)
        events = json.loads(source.result(TIMEOUT_S))
    assert joined(events) == ANSWER
    assert len({each for each, _ in events}) == len(events) == 41
    again = another(server, KEY)
    for project in ("eventsource", *(" ".join(which) for which in ways)):
        message = again.ask("[[count]]", project).json()["message"]
        assert message.startswith("I see 2 questions"), (project, message)
