"""Signals to gunicorn's master and worker: running turns, new ones, last frames, processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
import requests

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.scraping import await_value
from tests.serving import Client, Frame, Gunicorn, frames, joined, wait_for
from tests.threats.wire import connect
from tests.turns.raw_client import last_frame

GRACEFUL_S = 5
SLACK_S = 2.0
STEADY = "[[words 20]] [[delay 50]]"  # a second
FAST = [signal.SIGINT, signal.SIGQUIT]


@dataclass(frozen=True)
class Scene:
    """A server with two streams under way: `steady` ends by itself, `stalled` never does."""

    server: Gunicorn
    steady: requests.Response
    stalled: requests.Response

    def ends(self) -> list[list[Frame]]:
        return [list(frames(self.steady)), list(frames(self.stalled))]

    def signal(self, to: str, number: signal.Signals) -> None:
        pid = self.server.child.pid if to == "master" else self.server.workers()[0]
        os.kill(pid, number)


@pytest.fixture
def scene(
    gunicorn: Callable[..., Gunicorn], fakes: Fakes, lifelines: Lifelines
) -> Callable[..., Scene]:
    def begin() -> Scene:
        server = gunicorn(
            **fakes.settings(),
            **lifelines.environment,
            COWORK_GRACEFUL_TIMEOUT=str(GRACEFUL_S),
            COWORK_LOG_LEVEL="info",
        )
        steady = server.stream(f"{STEADY} one", "steady")
        return Scene(server, steady, server.stream("[[stall]] [[words 9]] two", "stalled"))

    return begin


def told_to_go(seen: list[Frame]) -> None:
    """Check that a stream said that the server shuts down, and ended."""
    assert seen[-2].data["type"] == "error", seen[-2:]
    assert seen[-2].data["code"] == "shutting_down", seen[-2:]
    assert last_frame(seen)["success"] is False


def is_gone(server: Gunicorn, begun: float, within: float) -> None:
    server.child.wait(within + SLACK_S)
    assert time.monotonic() - begun < within + SLACK_S


def test_a_terminated_master_lets_turns_end_and_tells_those_that_cannot(
    scene: Callable[..., Scene], lifelines: Lifelines, fakes: Fakes, background: BackgroundCalls
) -> None:
    playing = scene()
    kept_alive = playing.server  # its connection was used before and is still open
    assert kept_alive.get("/health/live").status_code == 200
    whole = background(Client(kept_alive.url).ask, "[[hang]]", "whole")
    fakes.wait_asked(3)
    begun = time.monotonic()
    playing.signal("master", signal.SIGTERM)
    time.sleep(0.5)  # into the drain
    with suppress(requests.ConnectionError):  # as good: refused
        problem(kept_alive.ask("new", "new"), 503, "shutting_down")
    steady, stalled = playing.ends()
    assert last_frame(steady)["success"] is True
    assert joined(steady) == " ".join(f"w{n}" for n in range(1, 21))
    told_to_go(stalled)
    problem(whole.result(5), 503, "shutting_down")
    is_gone(playing.server, begun, GRACEFUL_S)
    assert time.monotonic() - begun >= GRACEFUL_S - 3 - 0.5
    assert lifelines.wait_for(0), lifelines.held


@pytest.mark.parametrize("number", FAST)
def test_a_master_in_a_hurry_still_says_goodbye(
    number: signal.Signals, scene: Callable[..., Scene], lifelines: Lifelines
) -> None:
    playing = scene()
    begun = time.monotonic()
    playing.signal("master", number)
    for seen in playing.ends():
        told_to_go(seen)
    is_gone(playing.server, begun, 4)
    assert lifelines.wait_for(0), lifelines.held


def test_a_second_signal_cuts_the_drain_short(
    scene: Callable[..., Scene], lifelines: Lifelines
) -> None:
    playing = scene()
    begun = time.monotonic()
    playing.signal("master", signal.SIGTERM)
    time.sleep(0.3)  # into the drain
    playing.signal("master", signal.SIGINT)
    told_to_go(playing.ends()[1])
    is_gone(playing.server, begun, 4)
    assert lifelines.wait_for(0), lifelines.held


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, *FAST])
def test_a_worker_that_is_told_to_go_is_replaced_and_its_streams_are_ended(
    number: signal.Signals, scene: Callable[..., Scene], lifelines: Lifelines
) -> None:
    playing = scene()
    (worker,) = playing.server.workers()
    playing.signal("worker", number)
    steady, stalled = playing.ends()
    told_to_go(stalled)
    await_value(playing.server, lambda ends: ends >= 1, "stream_ends_total", how="shutdown")
    if number not in FAST:
        assert last_frame(steady)["success"] is True
    else:
        told_to_go(steady)
    wait_for(
        lambda: playing.server.workers() not in ([], [worker]),
        timeout=GRACEFUL_S + SLACK_S,
        what="another worker",
    )
    playing.server.wait_live()
    assert lifelines.wait_for(0), lifelines.held
    assert playing.server.ask("hi", "steady").json()["is_new_session"] is True


def test_an_idle_connection_is_no_error_when_the_server_ends(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn(COWORK_LOG_LEVEL="info")
    assert server.get("/health/live").status_code == 200  # and the connection stays open
    server.stop()
    assert '"level": "error"' not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_a_reload_serves_on_while_the_old_worker_drains(
    scene: Callable[..., Scene], background: BackgroundCalls
) -> None:
    playing = scene()
    server = playing.server
    (old,) = server.workers()
    failures: list[object] = []
    done: list[int] = []

    def keep_asking(name: str) -> None:
        number = 0
        while not done:
            number += 1
            asked.append(number)
            try:
                reply = requests.post(
                    f"{server.url}/ask_question",
                    json={"project_name": f"{name}", "question": f"q{number}"},
                    timeout=20,
                )
                if reply.status_code != 200:
                    failures.append((number, reply.status_code, reply.text))
            except requests.RequestException as fault:
                failures.append((number, repr(fault)))

    asked: list[int] = []
    callers = [background(keep_asking, f"steady caller {n}") for n in range(3)]
    wait_for(lambda: len(asked) > 2 * len(callers), what="the first answers")
    playing.signal("master", signal.SIGHUP)
    wait_for(lambda: len(server.workers()) == 2, what="both workers")
    steady, stalled = playing.ends()
    assert last_frame(steady)["success"] is True
    told_to_go(stalled)
    wait_for(lambda: old not in server.workers(), timeout=10, what="the old worker's end")
    by_then = len(asked)
    wait_for(lambda: len(asked) > by_then + len(callers), what="questions to the new worker")
    done.append(1)
    for call in callers:
        call.result(30)
    assert failures == []
    assert "sessions of memory:// lost" in server.log.read_text()


def test_who_was_let_in_before_the_signal_is_heard_out(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(COWORK_GRACEFUL_TIMEOUT=str(GRACEFUL_S))
    body = b'{"project_name": "p", "question": "hi"}'
    with connect(server) as asker, connect(server):  # the second one never says anything
        asker.sendall(b"POST /ask_question HTTP/1.1\r\nHost: localhost\r\n")
        time.sleep(0.3)
        server.child.terminate()
        time.sleep(0.2)
        asker.sendall(
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        received = b""
        while b"You said: hi" not in received:
            block = asker.recv(65536)
            assert block, received
            received += block
    assert server.child.wait(GRACEFUL_S + SLACK_S) == 0
