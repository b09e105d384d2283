"""Requests take turns with whatever else the event loop has to do, and keep their order."""

from __future__ import annotations

import time

import gevent
import pytest

from cowork.server import pacing
from cowork.server.pacing import RequestPacer

WORK_S = 0.002


@pytest.fixture
def pacer() -> RequestPacer:
    found = RequestPacer()
    found.streams = 1
    return found


def flood(pacer: RequestPacer, count: int) -> tuple[list[int], list[gevent.Greenlet]]:
    """Greenlets that each compute for a while when it is their turn; the order they did it in."""
    done: list[int] = []

    def request(number: int) -> None:
        pacer.wait()
        end = time.monotonic() + WORK_S
        while time.monotonic() < end:
            pass
        done.append(number)

    return done, [gevent.spawn(request, number) for number in range(count)]


def rounds_of(loop, greenlets: list[gevent.Greenlet]) -> int:
    begun = loop.iteration
    gevent.joinall(greenlets, timeout=20)
    return loop.iteration - begun


def test_requests_keep_their_order_and_take_several_rounds_of_the_loop(
    pacer: RequestPacer,
) -> None:
    count = 40
    done, greenlets = flood(pacer, count)
    rounds = rounds_of(gevent.get_hub().loop, greenlets)
    assert done == list(range(count))
    # All of them in one round would hold up everybody else for their whole time.
    assert rounds >= count * WORK_S / pacing.ROUND_S / 2


def test_what_is_due_meanwhile_waits_for_a_round_and_not_for_all(pacer: RequestPacer) -> None:
    done, greenlets = flood(pacer, 60)
    seen: list[int] = []

    def timer() -> None:
        gevent.sleep(0.001)
        seen.append(len(done))

    beside = gevent.spawn(timer)
    gevent.joinall([*greenlets, beside], timeout=20)
    assert seen[0] < 30


def test_one_that_is_killed_while_it_waits_holds_nobody_up(pacer: RequestPacer) -> None:
    done, greenlets = flood(pacer, 30)
    gevent.sleep(0)
    greenlets[-1].kill()
    gevent.joinall(greenlets, timeout=20)
    assert done == list(range(29))
    again, greenlets = flood(pacer, 1)
    gevent.joinall(greenlets, timeout=20)
    assert again == [0]


def test_where_no_stream_is_open_nobody_waits(pacer: RequestPacer) -> None:
    pacer.streams = 0
    done, greenlets = flood(pacer, 20)
    gevent.joinall(greenlets, timeout=20)
    assert done == list(range(20))
    assert not pacer._waiting


def test_a_request_alone_does_not_wait(pacer: RequestPacer) -> None:
    begun = gevent.get_hub().loop.iteration
    pacer.wait()
    assert gevent.get_hub().loop.iteration == begun
