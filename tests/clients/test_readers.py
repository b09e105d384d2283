"""W1 as a wall: readers that know the founding document alone get the answer, whatever its pauses.

Against real gunicorn, directly and through nginx; the founding document's own curl lines too.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import httpx_sse
import pytest
import requests

from tests.background import BackgroundCalls
from tests.clients.node import node
from tests.clients.readers import READERS, Reader, by_line
from tests.e2e.nginx import nginx
from tests.e2e.test_curl import STREAM
from tests.serving import TIMEOUT_S, Gunicorn

KEY = "a-key-of-the-readers-0123456789-abcd"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
# Silence before the first frame, between frames and before the last, each longer than a keep-alive.
KEEPALIVE = 0.15
SCENES = {
    "[[words 40]]": " ".join(f"w{n}" for n in range(1, 41)),
    "[[pause 500]] [[delay 400]] [[linger 500]] [[words 3]]": "w1 w2 w3",
    '[[pause 400]] [[linger 400]] [[say "a": {b}, \\n\n\n data: x "done": false ü 😀]]': (
        '"a": {b}, \\n\n\n data: x "done": false ü 😀'
    ),
}
# What splits at `data: ` or searches for `"done": true` finds it in the answer's text too.
ODD = {"by data"}
FOUNDING = [
    ("test", "Hello!"),
    ("my-project", "Explain quantum computing"),
    ("my-project", "What is 2+2?"),
]
EVENT_STREAM = "text/event-stream"

Body = dict[str, str]


@pytest.fixture
def urls(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> Iterator[list[str]]:
    """Where one server is reached: directly, and through nginx."""
    server = gunicorn(
        COWORK_API_KEYS=f"readers={KEY}",  # through nginx nobody is served without
        COWORK_KEEPALIVE=str(KEEPALIVE),
        COWORK_FIRST_EVENT_WAIT="0.1",
        COWORK_MAX_PROCESSES="24",
        COWORK_QUEUE_TIMEOUT="60",
    )
    with nginx(tmp_path / "nginx", server.port) as proxied:
        yield [server.url, proxied]


def python_reader(reader: Reader, url: str, body: dict[str, str], accept: str | None = None) -> str:
    """What a reader makes of a reply that `requests` reads."""
    headers = AUTHORIZED if accept is None else {**AUTHORIZED, "Accept": accept}
    asked = requests.post(
        f"{url}/ask_question_streaming", json=body, headers=headers, stream=True, timeout=TIMEOUT_S
    )
    with asked as reply:
        assert reply.status_code == 200, reply.text
        return reader(reply.iter_content(None))


def httpx_reader(url: str, body: dict[str, str]) -> str:
    """With httpx-sse, whose `Accept` names event streams."""
    text = ""
    with (
        httpx.Client(
            trust_env=False, headers=AUTHORIZED
        ) as client,  # its own time limit, 5 s of silence
        httpx_sse.connect_sse(client, "POST", f"{url}/ask_question_streaming", json=body) as source,
    ):
        for event in source.iter_sse():
            data = json.loads(event.data)
            if data.get("done"):
                return text
            text += data["token"]
    raise AssertionError("no last frame")


def python_readers() -> dict[str, Callable[[str, Body], str]]:
    """Each reader of Python, and one that names event streams in `Accept` and reads by line."""

    def python(reader: Reader, accept: str | None = None):
        return lambda url, body: python_reader(reader, url, body, accept)

    return {
        **{f"Python {name}": python(reader) for name, reader in READERS.items()},
        "httpx-sse": httpx_reader,
        "Python by line, with Accept": python(by_line, EVENT_STREAM),
    }


# Their names, and what else they send.
JS_READERS: dict[str, tuple[str, dict[str, str]]] = {
    **{f"JavaScript {name}": (name, {}) for name in ("by line", "by blank line", "by match")},
    "JavaScript by line, with Accept": ("by line", {"Accept": EVENT_STREAM}),
}


def js_texts(asked: list[tuple[str, str, Body]]) -> list[str]:
    """What readers of `readers.mjs` make of replies: of each name, server and question."""
    calls = []
    for name, url, body in asked:
        reader, more = JS_READERS[name]
        calls.append([f"{url}/ask_question_streaming", reader, {**AUTHORIZED, **more}, body])
    texts: list[str] = json.loads(node("readers.mjs", json.dumps(calls)))
    return texts


def read_all(
    background: BackgroundCalls, asked: list[tuple[str, str, Body]], answers: list[str]
) -> None:
    """Ask all of it side by side, each by the reader of that name, and hold it against the answers.

    JavaScript's are one process: each start of node takes 0.15 s of the CPU.
    """
    readers = python_readers()
    calls = [
        (background(readers[name], url, body), name, url, answer)
        for (name, url, body), answer in zip(asked, answers, strict=True)
        if name in readers
    ]
    in_js = [
        (each, answer) for each, answer in zip(asked, answers, strict=True) if each[0] in JS_READERS
    ]
    texts = background(js_texts, [each for each, _ in in_js])
    for call, name, url, answer in calls:
        assert call.result(TIMEOUT_S) == answer, (name, url)
    for (each, answer), text in zip(in_js, texts.result(TIMEOUT_S), strict=True):
        assert text == answer, each


NAMES = (*python_readers(), *JS_READERS)


def test_fault_w1_every_reader_gets_the_answer_whatever_its_pauses(
    urls: list[str], background: BackgroundCalls
) -> None:
    asked, answers = [], []
    for place, url in zip(("directly", "nginx"), urls, strict=True):
        for number, (scene, answer) in enumerate(SCENES.items()):
            for name in NAMES:
                if "data: " in answer and name.removeprefix("Python ") in ODD:
                    continue
                body = {"project_name": f"{name} {place} {number}", "question": scene}
                asked.append((name, url, body))
                answers.append(answer)
    read_all(background, asked, answers)


def test_fault_w1_every_reader_gets_the_founding_documents_examples(
    urls: list[str], background: BackgroundCalls
) -> None:
    asked = [
        (name, url, {"project_name": f"{name} {project}", "question": question})
        for url in urls
        for project, question in FOUNDING
        for name in NAMES
    ]
    read_all(background, asked, [f"You said: {body['question']}" for _, _, body in asked])


def test_fault_w1_every_reader_reads_what_the_founding_documents_curl_line_prints(
    urls: list[str],
) -> None:
    for url in urls:
        line = STREAM.replace("http://localhost:5002", url)
        argv = [*shlex.split(line), "--silent", "--no-buffer", "-H", f"X-API-Key: {KEY}"]
        for name, read in READERS.items():
            with subprocess.Popen(argv, stdout=subprocess.PIPE) as curl:
                assert curl.stdout is not None
                assert read(iter(curl.stdout.read1, b"")) == "You said: Hello!", name
