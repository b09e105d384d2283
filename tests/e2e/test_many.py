"""Many projects at once, through gunicorn: twenty on the fake CLI, some on the real one.

A start of the real one takes half a second of the CPU, which has no part in whose answer it is.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import fake_claude
from tests.e2e.environment import open_stage
from tests.patience import PATIENCE_S
from tests.serving import Client, joined

pytestmark = pytest.mark.e2e

PROJECTS = {"fake": 20, "real": 6}
WORDS = 60
# CLIs that start at once keep two cores busy for seconds, and this process waits for its share of
# them like everyone else: so the promise of 100 ms is asked of 95 answers in 100 (seen on two busy
# cores: 40 ms), and of the slowest only that nothing was ever stuck.
HEALTH_S = 0.1
STUCK_S = 1.0


class Pulse:
    """Asks for `/health` all the while, on a connection of its own, and notes how long it took."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._over = threading.Event()
        self.seconds: list[float] = []

    def beat(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            reply = self._client.get("/health")
            self.seconds.append(time.monotonic() - begun)
            assert reply.status_code == 200
            assert reply.json()["status"] == "healthy"
            self._over.wait(0.02)

    def stop(self) -> None:
        self._over.set()


def ask(client: Client, number: int, question: str) -> str:
    """One project's answer; every other one is streamed."""
    project = f"project {number}"
    if number % 2:
        return joined(client.streamed(question, project))
    reply = client.ask(question, project)
    assert reply.status_code == 200, reply.text
    message: str = reply.json()["message"]
    return message


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """One for each project, and one for the pulse."""
    with ThreadPoolExecutor(max(PROJECTS.values()) + 1) as pool:
        yield pool


def at_once(
    threads: ThreadPoolExecutor, clients: list[Client], question: Callable[[int], str]
) -> dict[int, Future[str]]:
    """Ask every project at the same time."""
    gate = threading.Barrier(len(clients))

    def ask_together(number: int) -> str:
        gate.wait(PATIENCE_S)
        return ask(clients[number], number, question(number))

    return {number: threads.submit(ask_together, number) for number in range(len(clients))}


@pytest.mark.parametrize("kind", sorted(PROJECTS))
def test_many_projects_at_once_get_their_own_answers_and_health_stays_quick(
    kind: str,
    real_claude: str,
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    another: Callable[..., Client],
) -> None:
    fake = str(fake_claude.install(tmp_path / "fake"))
    with open_stage(tmp_path / "stage", {"fake": fake, "real": real_claude}[kind]) as stage:
        clients = [another(stage.server.url) for _ in range(PROJECTS[kind])]
        pulse = Pulse(another(stage.server.url))
        beating = threads.submit(pulse.beat)
        try:
            first = at_once(threads, clients, lambda n: f"[[say w{n}!]] {word_of(n)}")
            for number, answer in first.items():
                assert answer.result() == f"w{number}!"

            second = at_once(threads, clients, lambda n: f"[[count]] and again {n}")
            for number, answer in second.items():
                said = answer.result()
                assert said.startswith("I see 2 questions: ")
                assert word_of(number) in said
                assert f"and again {number}" in said
            # All of them stream for a while.
            last = at_once(threads, clients, lambda _: f"[[words {WORDS}]] [[delay 40]]")
            assert {len(answer.result().split()) for answer in last.values()} == {WORDS}
        finally:
            pulse.stop()
        beating.result()
        assert stage.server.get("/sessions").json()["count"] == PROJECTS[kind]
    tail = statistics.quantiles(pulse.seconds, n=20)[-1]
    longest = max(pulse.seconds)
    beats = f"{len(pulse.seconds)} beats, 95% within {tail:.3f} s, longest {longest:.3f} s"
    assert tail < HEALTH_S, beats
    assert longest < STUCK_S, beats


def word_of(number: int) -> str:
    """What a project's first question says, and no other's."""
    return f"the word of {number} is w{number * 7919}."
