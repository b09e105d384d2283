"""SIGKILL to a worker at a random moment, of two servers with two workers each on one Redis.

Whatever worker a client talks to, what it is told is whole or said not to be, nothing is asked
twice, and its project's next question is answered soon.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests

from tests.faults.environment import Ground
from tests.faults.report import Row
from tests.redis_server import RedisServer
from tests.serving import Client, Frame, Gunicorn, frames, joined, wait_for

PROJECTS = 3
QUESTIONS = 6
WORDS = 60
SCENE = f"[[words {WORDS}]] [[delay 10]]"
TEXT = " ".join(f"w{number}" for number in range(1, WORDS + 1))
# What a client may be told whose turn's worker, or whose own, was killed.
TOLD = {"worker_lost", "worker_unreachable", "claude_failed", "claude_unavailable"}
# And whose request came while it was found out.
REFUSED = {"turn_not_found", "store_unavailable"}
TRY_S = 20.0
PAUSE_S = 0.1
NEXT_S = 5.0


@dataclass(slots=True)
class Asked:
    """A question, and what its client came to see of the answer."""

    text: str
    project: str
    key: str
    turn: str | None = None
    seen: list[Frame] = field(default_factory=list)
    refusals: set[str] = field(default_factory=set)

    @property
    def error(self) -> str | None:
        codes = [frame.data["code"] for frame in self.seen if frame.data.get("type") == "error"]
        return str(codes[-1]) if codes else None


def run(ground: Ground, row: Row, count: int) -> None:
    """In each round some questions through any worker, and a kill."""
    with RedisServer(ground.folder) as redis:
        settings = {
            "COWORK_STORE": redis.url,
            "COWORK_STORE_KEY_FILE": str(ground.folder / "workers.key"),
            "COWORK_WORKERS": "2",
            "COWORK_QUEUE_LIMIT": str(QUESTIONS),
        }
        servers = [ground.beside(**settings) for _ in range(2)]
        took: list[float] = []
        try:
            for number in range(count):
                took += _round(ground, servers, row, number)
        finally:
            for server in servers:
                server.close()
        _tell(row, took)


def _round(ground: Ground, servers: list[Gunicorn], row: Row, number: int) -> list[float]:
    dice = ground.dice("workers", number)
    for server in servers:
        wait_for(lambda at=server: len(at.workers()) == 2, TRY_S, "two workers")
    asked = [
        Asked(
            f"{SCENE} round {number}.{n}", f"w{n % PROJECTS}", f"workers-{ground.seed}-{number}-{n}"
        )
        for n in range(QUESTIONS)
    ]
    with ThreadPoolExecutor(QUESTIONS) as pool:
        urls = [server.url for server in servers]
        readers = [pool.submit(read, each, urls, random.Random(each.key)) for each in asked]  # noqa: S311
        time.sleep(dice.uniform(0.0, 1.5))
        victim = dice.choice(dice.choice(servers).workers())
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        for reader in readers:
            reader.result()
    judge(ground, row, asked)
    took = []
    for project in range(PROJECTS):
        begun = time.monotonic()
        answered = next_answer(dice.choice(servers).url, f"w{project}", NEXT_S + TRY_S)
        took.append(time.monotonic() - begun)
        row.check(answered, f"round {number}: then w{project} answers nothing")
    row.check(time.monotonic() - killed < 10 * TRY_S, f"round {number} took too long")
    row.did()
    return took


def read(asked: Asked, urls: list[str], dice: random.Random) -> None:
    """Ask through any server, and read to the end, through others where one is lost."""
    until = time.monotonic() + TRY_S
    body = {"project_name": asked.project, "question": asked.text}
    while time.monotonic() < until:
        client = Client(dice.choice(urls))
        try:
            if asked.turn is None:
                headers = {"Idempotency-Key": asked.key, "Accept": "text/event-stream"}
                reply = client.post("/ask_question_streaming", body, headers=headers, stream=True)
            else:
                last = {"Last-Event-ID": str(asked.seen[-1].id)} if asked.seen else {}
                reply = client.get(f"/turns/{asked.turn}/events", headers=last, stream=True)
            if reply.status_code == requests.codes.ok:
                asked.turn = reply.headers["X-Turn-ID"]
                asked.seen += frames(reply)
            elif reply.status_code == requests.codes.no_content:
                return
            else:
                # A turn that was lost before its stream began is told as an error, by its id.
                asked.turn = asked.turn or reply.headers.get("X-Turn-ID")
                told = reply.json()["detail"]
                asked.refusals.add(str(told if isinstance(told, list) else told["code"]))
        except requests.RequestException:
            pass  # its worker was the one
        finally:
            client.close()
        if asked.seen and asked.seen[-1].data.get("done"):
            return
        time.sleep(PAUSE_S)


def judge(ground: Ground, row: Row, asked: list[Asked]) -> None:
    """What each client was told is true."""
    log = [entry["text"] for entry in ground.entries("asked")]
    for each in asked:
        last = each.seen[-1].data if each.seen else {}
        ids = [int(frame.id.rpartition(".")[2]) for frame in each.seen if frame.id is not None]
        text = joined(each.seen)
        name = f"{each.key} ({each.turn})"
        row.check(ids == sorted(set(ids)), f"{name}: its frames are {ids}")
        row.check(TEXT.startswith(text.strip()), f"{name}: its text is mixed: {text[:200]!r}")
        row.check(log.count(each.text) <= 1, f"{name}: it was asked {log.count(each.text)} times")
        row.check(each.refusals <= {*TOLD, *REFUSED}, f"{name}: {each.refusals}")
        if last.get("success"):
            row.check(text == TEXT, f"{name}: success with {text[:200]!r}")
            row.saw("answered")
        elif last.get("done"):
            row.check(each.error in TOLD, f"{name}: {each.error}")
            row.saw(str(each.error))
        else:
            row.check(False, f"{name}: no end; refusals {each.refusals}, {len(each.seen)} frames")


def next_answer(url: str, project: str, within: float) -> bool:
    """Whether the project answers, to a client that tries again."""
    until = time.monotonic() + within
    client = Client(url)
    try:
        while time.monotonic() < until:
            try:
                if client.ask("[[say well]]", project).status_code == requests.codes.ok:
                    return True
            except requests.RequestException:
                pass
            time.sleep(PAUSE_S)
    finally:
        client.close()
    return False


def _tell(row: Row, took: list[float]) -> None:
    if took:
        row.facts["then a project's next answer"] = (
            f"{statistics.median(took) * 1000:.0f} ms, at most {max(took) * 1000:.0f}"
        )
        row.check(max(took) <= NEXT_S, f"a project's next answer took {max(took):.1f} s")
