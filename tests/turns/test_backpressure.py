"""Floods, giants and readers that do not read: bounded memory, and nobody else is held."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.scraping import await_count
from tests.serving import Gunicorn, Served, frames, joined, wait_for
from tests.turns.raw_client import ASK_STREAMING, Line, last_frame, question, turn_of

MEGABYTE = 2**20
LONGEST_LINE = 16 * MEGABYTE
FLOOD = 80_000  # tokens, of three bytes each; about a second
SHOWN_GAP_S = 0.25
# For how long memory is looked at at most; seconds.
LOOK_S = 40.0


def rss(server: Gunicorn) -> int:
    """The worker's memory, in bytes."""
    status = Path(f"/proc/{server.workers()[0]}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class Peak:
    """Looks at the worker's memory now and then; `grown` is the most it had over the begin."""

    def __init__(self, server: Gunicorn, background: BackgroundCalls) -> None:
        self._server = server
        self._begin = self._most = rss(server)
        self._done = False
        self._looking = background(self._look)

    def _look(self) -> None:
        over = time.monotonic() + LOOK_S  # also where the test has failed before it asks
        while not self._done and time.monotonic() < over:
            self._most = max(self._most, rss(self._server))
            time.sleep(0.02)

    @property
    def grown(self) -> int:
        self._done = True
        self._looking.result(5)
        return self._most - self._begin


def reader_that_never_reads(server: Gunicorn, dial: Callable[..., Line], text: str) -> str:
    """Ask, read the head of the reply and then nothing more; the turn's id."""
    return turn_in(dial(server, ASK_STREAMING, question(text, "unread"), buffer=4096))


def turn_in(line: Line) -> str:
    """The turn that a reply's head names; not much more than that is read."""
    while b"\r\n\r\n" not in line.received:
        line.received += line.socket.recv(64)
    head = line.received.decode(errors="replace").lower()
    return head.partition("x-turn-id: ")[2].partition("\r")[0]


def ended(server: Gunicorn, turn_id: str) -> None:
    """Wait until no turn runs, and check that this one succeeded."""
    wait_for(lambda: server.get("/health").json()["turns"] == 0, 20, "the end of the turn")
    assert turn_of(server, turn_id)["state"] == "succeeded"


def test_a_flood_arrives_whole_and_holds_no_other_stream(
    gunicorn: Callable[..., Gunicorn], background: BackgroundCalls, dial: Callable[..., Line]
) -> None:
    server = gunicorn()
    server.ask("warm", "steady")
    peak = Peak(server, background)
    with server.stream("[[words 70]] [[delay 20]]", "steady") as reply:
        reading = frames(reply)
        next(reading)
        flood = dial(server, ASK_STREAMING, question(f"[[flood {FLOOD}]]", "flood"))
        drained = background(flood.until, b'"done": true')
        came = [time.monotonic() for _ in reading]
    received = drained.result(30)
    assert received.count(b'"type": "token"') == FLOOD
    gaps = sorted(later - earlier for earlier, later in pairwise(came))
    assert gaps[-5] < SHOWN_GAP_S, gaps[-10:]  # on two noisy cores some may be the machine's
    assert peak.grown < 64 * MEGABYTE


def test_a_reader_that_never_reads_costs_little_and_can_come_back(
    gunicorn: Callable[..., Gunicorn], background: BackgroundCalls, dial: Callable[..., Line]
) -> None:
    server = gunicorn(
        COWORK_SEND_TIMEOUT="1", COWORK_DISCONNECT_GRACE="20", COWORK_LOG_LEVEL="info"
    )
    server.ask("warm", "other")
    peak = Peak(server, background)
    turn_id = reader_that_never_reads(server, dial, f"[[flood {FLOOD}]]")
    ended(server, turn_id)
    assert server.ask("hi", "other").status_code == 200
    assert peak.grown < 64 * MEGABYTE
    again = dial(server, f"/turns/{turn_id}/events")
    assert again.until(b'"done": true').count(b'"type": "token"') == FLOOD
    wait_for(
        lambda: "send timeout" in server.log.read_text(), timeout=15, what="the reader's dismissal"
    )
    await_count(server, 1, "stream_ends_total", how="reader_stalled")


def test_a_stopped_reader_gets_the_rest_when_it_reads_again(
    gunicorn: Callable[..., Gunicorn], dial: Callable[..., Line]
) -> None:
    server = gunicorn()
    line = dial(server, ASK_STREAMING, question("[[flood 30000]]", "slow"), buffer=4096)
    turn_id = turn_in(line)
    ended(server, turn_id)
    assert line.until(b'"done": true').count(b'"type": "token"') == 30_000


def test_an_answer_of_ten_megabytes_is_whole_in_both_forms(
    gunicorn: Callable[..., Gunicorn], background: BackgroundCalls
) -> None:
    server = gunicorn()
    word = "x" * (MEGABYTE // 4 - 1)
    text = " ".join([word] * 40)
    server.ask("warm")
    peak = Peak(server, background)
    assert server.ask(f"[[say {text}]]").json()["message"] == text
    with server.stream(f"[[say {text}]]", "streamed") as reply:
        pieces = [piece for piece in reply.iter_content(65536) if piece]
    received = b"".join(pieces)
    assert received.count(word.encode()) == 40
    assert b'"success": true' in received
    assert peak.grown < 400 * MEGABYTE
    turn_id = reply.headers["X-Turn-ID"]
    assert turn_of(server, turn_id)["message"] == text


def test_a_line_just_under_the_limit_is_read(served: Served) -> None:
    seen = served.streamed(f"[[line {LONGEST_LINE - 1024}]] hi", events=["tool"])
    (result,) = [frame.data for frame in seen if frame.data.get("type") == "tool_result"]
    assert len(result["content"]) <= 64 * 1024 + 100
    assert last_frame(seen)["success"] is True
    assert joined(seen).endswith("You said: hi")


def test_a_line_over_the_limit_ends_the_turn_and_not_the_project(
    serve: Callable[..., Served], fakes: Fakes, lifelines: Lifelines
) -> None:
    served = serve(**fakes.settings(), **lifelines.environment)
    # The fake says it again, in one token.
    reply = served.ask("y" * (LONGEST_LINE + 1024))
    problem(reply, 502, "claude_failed")
    assert "16 MiB" in reply.json()["detail"]["error"]
    assert served.ask("[[say done]] two").json()["message"] == "done"
    assert lifelines.wait_for(1), lifelines.held


def test_fault_t4_a_tool_result_over_the_limit_is_cut_and_the_turn_goes_on(served: Served) -> None:
    seen = served.streamed(f"[[line {LONGEST_LINE + 1024}]] hi", events=["tool"])
    (result,) = [frame.data for frame in seen if frame.data.get("type") == "tool_result"]
    assert (result["truncated"], result["content"]) == (True, "")
    assert joined(seen).endswith("You said: hi")


def test_a_giant_line_costs_the_worker_a_bounded_amount(
    gunicorn: Callable[..., Gunicorn], background: BackgroundCalls
) -> None:
    server = gunicorn()
    server.ask("warm")
    peak = Peak(server, background)
    assert server.ask("[[line 50000000]] one").status_code == 200
    assert peak.grown < 100 * MEGABYTE


def test_a_flood_on_stderr_does_not_hold_the_answer(served: Served) -> None:
    assert served.ask("[[stderr 3000000]] hi").json()["message"] == "You said: hi"
