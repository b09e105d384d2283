"""Chat messages through a Chat API that flaps, while the server is killed, on each durable store."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import requests

from tests.faults.environment import Ground, code_of, fresh
from tests.faults.report import Row
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer, redis_binary
from tests.serving import wait_for
from tests.upstream import (
    ADD_MESSAGE,
    Behaviour,
    Exchange,
    Seen,
    Upstream,
    breaks_off,
    drops_reply,
    fails,
    garbage,
    hangs,
    ok,
    says,
)

PROJECTS = 8
KILLS = 5
WHOLE = 1000
PLAYED_S = 600.0
TOLD = {"answered", "cut", "shutting_down", "claude_unavailable", "claude_failed"}


def _sleeps(exchange: Exchange) -> None:
    """Say nothing for a while, then hang up."""
    exchange.rest(0.5)
    exchange.hang_up()


def _dawdles(exchange: Exchange) -> None:
    """Take the message late: its sender may be dead by then, and another have sent it again."""
    exchange.rest(0.3)
    exchange.reply(200, b"{}")


WEATHER: list[tuple[int, Behaviour]] = [
    (85, ok()),
    (3, fails(500)),
    (2, says(503, retry_after="0")),
    (1, fails(429)),
    (3, drops_reply),
    (2, garbage),
    (1, breaks_off),
    (1, _sleeps),
    (2, _dawdles),
]


def run(ground: Ground, row: Row, count: int) -> None:
    """`count` messages on each store: all of answered turns arrive, in their project's order."""
    for name, opened in STORES.items():
        if name == "redis" and redis_binary() is None:
            row.facts["redis"] = "not there: apt-get install redis-server"
            row.check(not os.environ.get("CI"), "CI must have a redis-server")
            continue
        with opened(ground.folder) as url, Upstream() as upstream:
            _Play(ground, row, name, upstream, url).play(count)


@contextmanager
def _sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite://{folder}/deliveries.db"


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    with RedisServer(folder) as server:
        yield server.url


STORES: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "sqlite": _sqlite,
    "redis": _redis,
}


class _Play:
    """The messages of one store."""

    def __init__(self, ground: Ground, row: Row, name: str, upstream: Upstream, store: str) -> None:
        self.ground = ground
        self.row = row
        self.name = name
        self.upstream = upstream
        self.settings = {"COWORK_STORE": store, "CHAT_API_BASE_URL": upstream.url}
        self.answered: list[int] = []
        self.numbers = itertools.count()
        self.up = threading.Event()
        self.over = threading.Event()

    def play(self, count: int) -> None:
        """Ask until `count` messages are due, killing the server now and then; then judge."""
        self._flap(whole=count >= WHOLE)
        self._boot()
        turns, kills = count // 2, max(1, round(KILLS * count / WHOLE))
        steps = [self._kill] * kills + [self._reload]
        self.ground.dice("steps", self.name).shuffle(steps)
        with ThreadPoolExecutor(PROJECTS) as pool:
            asking = [pool.submit(self._ask, f"{self.name}-{n}") for n in range(PROJECTS)]
            try:
                for number, step in enumerate(steps, 1):
                    self._await_answers(turns * number // (len(steps) + 1))
                    step()
                self._await_answers(turns)
            finally:
                self.over.set()
                self.up.set()
            for each in asking:
                each.result()
        begun = time.monotonic()
        self._await(lambda: not self._pending())
        self.row.facts[f"{self.name}: delivered after the last answer"] = (
            f"{time.monotonic() - begun:.0f} s"
        )
        self._judge(kills)

    def _await(self, condition: Callable[[], bool]) -> None:
        wait_for(condition, PLAYED_S, f"the next step on {self.name}")

    def _await_answers(self, turns: int) -> None:
        self._await(lambda: len(self.answered) >= turns)

    def _flap(self, *, whole: bool) -> None:
        dice, lock = self.ground.dice("weather", self.name), threading.Lock()
        often, behaviours = zip(*WEATHER, strict=True)

        def weather(exchange: Exchange) -> None:
            with lock:
                (behave,) = dice.choices(behaviours, often)
            behave(exchange)

        self.upstream.always(weather)
        if whole:  # one says nothing for as long as the server will wait
            self.upstream.then(hangs)

    def _boot(self) -> None:
        self.ground.boot(**self.settings)
        self.up.set()

    def _kill(self) -> None:
        self.up.clear()
        server = self.ground.server
        for pid in (server.child.pid, *server.workers()):
            self.ground.kill(pid)
        server.child.wait(PATIENCE_S)
        self._boot()

    def _reload(self) -> None:
        """For a while two processes serve, and could both deliver."""
        self.ground.server.send_signal(signal.SIGHUP)

    def _ask(self, project: str) -> None:
        """Question after question, each with a greater number, until there are enough."""
        while not self.over.is_set():
            self.up.wait(PLAYED_S)
            number = next(self.numbers)
            client = fresh(self.ground.server)
            try:
                reply = client.ask(f"m{number}", project)
                end = "answered" if reply.status_code == 200 else code_of(reply)
            except requests.RequestException:
                end = "cut"
                time.sleep(0.05)
            finally:
                client.close()
            self.row.saw(end)
            self.row.check(end in TOLD, f"{self.name}: question {number} ended with {end!r}")
            if end == "answered":
                self.answered.append(number)
                self.row.did()

    def _pending(self) -> int:
        client = fresh(self.ground.server)
        try:
            found: int = client.get("/health").json()["chat_api"]["pending"]
        finally:
            client.close()
        return found

    def _judge(self, kills: int) -> None:
        taken = [seen for seen in self.upstream.taken if seen.path == ADD_MESSAGE]
        first: dict[str, Seen] = {}
        for seen in taken:
            earlier = first.setdefault(seen.headers["idempotency-key"], seen)
            self.row.check(earlier.body == seen.body, f"{self.name}: a key came with two bodies")
        texts = Counter(seen.json["message"] for seen in first.values())
        for text, times in texts.items():
            self.row.check(times == 1, f"{self.name}: {text!r} came under {times} keys")
        for number in self.answered:
            for text in (f"m{number}", f"You said: m{number}"):
                self.row.check(text in texts, f"{self.name}: {text!r} never arrived")
        self._judge_order(first)
        self.row.facts[self.name] = (
            f"{2 * len(self.answered)} messages due, {len(first)} came, "
            f"{len(taken) - len(first)} of them again, {kills} kills, a reload"
        )

    def _judge_order(self, first: dict[str, Seen]) -> None:
        """Of each project: questions by number, and each before its own answer."""
        numbers = {
            key.removesuffix("-question"): int(seen.json["message"].removeprefix("m"))
            for key, seen in first.items()
            if key.endswith("-question")
        }
        came: dict[str, list[tuple[int, bool]]] = {}
        for key, seen in first.items():
            turn_id, _, role = key.rpartition("-")
            place = (numbers.get(turn_id, -1), role == "answer")
            came.setdefault(seen.json["project_id"], []).append(place)
        for project, places in came.items():
            self.row.check(
                places == sorted(places), f"{self.name}: {project} came out of order: {places}"
            )
