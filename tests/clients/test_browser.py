"""W2, W3, W9 in Chromium, from a page of another origin: one question is asked once, and the text
comes once, whatever happens to the tab or the connection.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node import node
from tests.clients.page_server import page_server
from tests.clients.proxy import cutting
from tests.conftest import missing
from tests.serving import Client, Gunicorn

KEY = "a-key-of-the-page-0123456789-abcdefgh"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
WORDS = 30
ANSWER = " ".join(f"w{n}" for n in range(1, WORDS + 1))
# Said for about a second, with a silence longer than a keep-alive.
QUESTION = f"[[pause 300]] [[delay 25]] [[words {WORDS}]]"
RETENTION_S = 1
CUTS = (1500, 1500)


def chromium() -> str:
    binary = shutil.which("chromium")
    if binary is None:
        missing("chromium", "apt-get install chromium")
    return str(binary)


def in_browser(tmp_path: Path, page: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the clients have seen, each in a tab of its own, all at once."""
    said = node("browser.mjs", chromium(), str(tmp_path / "chromium"), page, json.dumps(runs))
    seen: list[dict[str, Any]] = json.loads(said)
    return seen


def asked(client: Client, project: str) -> int:
    """How many questions the project's session has taken."""
    message = client.ask("[[count]]", project).json()["message"]
    return int(message.split()[2]) - 1


@pytest.fixture
def server(gunicorn: Callable[..., Gunicorn]) -> Callable[..., Gunicorn]:
    def start(page: str, **settings: str) -> Gunicorn:
        return gunicorn(
            COWORK_API_KEYS=f"page={KEY}",
            COWORK_ALLOWED_ORIGINS=page,
            COWORK_KEEPALIVE="0.15",
            COWORK_FIRST_EVENT_WAIT="0.1",
            **settings,
        )

    return start


def test_fault_w2_w3_w9_pages_of_another_origin_ask_once_and_get_the_text_once(
    server: Callable[..., Gunicorn], another: Callable[..., Client], tmp_path: Path
) -> None:
    with page_server() as page, page_server() as stranger:
        running = server(page)
        forgetful = server(page, COWORK_TURN_RETENTION=str(RETENTION_S))
        # The question of the EventSource is not to be cut, its events once.
        # The library takes an event's id for read before it has the event: it loses one that is cut.
        with (
            cutting(running.port, *CUTS, between_events=True) as cut,
            cutting(running.port, 2**30, 900) as cut_source,
        ):
            runs: dict[str, dict[str, Any]] = {
                "fetch": {"name": "plainFetch"},
                "library": {"name": "library"},
                "hidden in mid-answer": {"name": "library", "hideAt": 9, "hideFor": 300},
                "hidden with a key": {
                    "name": "library",
                    "hideAt": 9,
                    "hideFor": 300,
                    "headers": {**AUTHORIZED, "Idempotency-Key": "k"},
                },
                "hidden after the last frame": {
                    "name": "library",
                    "hideAt": "done",
                    "hideFor": 200,
                },
                "hidden for too long": {
                    "name": "library",
                    "url": forgetful.url,
                    "hideAt": 9,
                    "hideFor": 4000 + 1000 * RETENTION_S,
                },
                "cut": {"name": "library", "url": cut.url},
                "EventSource": {"name": "eventSource", "url": cut_source.url},
                "stranger": {"name": "refused", "at": stranger},
            }
            given = [
                {
                    "url": running.url,
                    "headers": AUTHORIZED,
                    "body": {"project_name": name, "question": QUESTION},
                    **run,
                }
                for name, run in runs.items()
            ]
            seen = dict(zip(runs, in_browser(tmp_path, page, given), strict=True))
            assert (cut.streams, cut_source.streams) == (3, 4), seen
    client, at_forgetful = another(running, KEY), another(forgetful, KEY)
    too_long = seen.pop("hidden for too long")
    assert too_long["opened"] == [200, 410]
    assert ANSWER.startswith(too_long["text"])
    assert too_long["errors"][-1].startswith("ended: Error: status 410")
    assert asked(at_forgetful, "hidden for too long") == 1
    assert at_forgetful.get("/sessions").json()["count"] == 1
    assert "Failed to fetch" in seen.pop("stranger")["error"]
    assert client.get("/sessions").json()["sessions"].keys() == seen.keys()
    for name, each in seen.items():
        assert each["text"] == ANSWER, (name, each)
        assert each["done"]["success"] is True, (name, each)
        # The last frame comes once more, unless the stream had ended before the tab was hidden.
        more = len(each["opened"]) - 1 if name == "hidden after the last frame" else 0
        assert each["messages"] == WORDS + 1 + more, (name, each)
        assert more in {0, 1}
        assert asked(client, name) == 1, name
    assert seen["library"]["opened"] == [200]
    assert (
        seen["hidden in mid-answer"]["opened"] == seen["hidden with a key"]["opened"] == [200] * 2
    )
    assert seen["EventSource"]["status"] == 201


def test_fault_w10_w11_the_docs_page_gets_to_a_key_and_shows_the_tokens_as_they_come(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    running = gunicorn(COWORK_API_KEYS=f"page={KEY}")
    said = node(
        "docs.mjs",
        chromium(),
        str(tmp_path / "chromium"),
        running.url,
        KEY,
        "[[delay 40]] [[words 40]]",
        os.environ.get("SCREENSHOTS", ""),
    )
    seen = json.loads(said)
    assert seen["problems"] == []
    assert seen["operations"] >= 22
    assert "API key" in seen["refused"]
    assert seen["answer"] == " ".join(f"w{n}" for n in range(1, 41))
    assert seen["facts"].startswith("first token after ")
    assert " 40 tokens " in seen["facts"]
    grew = [length for length in dict.fromkeys(seen["lengths"]) if 0 < length < len(seen["answer"])]
    assert len(grew) >= 4, "the tokens came one after the other"
    assert grew == sorted(grew)
    assert seen["width"][0] <= seen["width"][1], "nothing is wider than a telephone"
    assert "200" in seen["sessions"]
