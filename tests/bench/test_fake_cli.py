"""The benchmarks' fake CLI speaks to the server as the real one does."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from bench import fake
from bench.fake import MESSAGE, Fake
from cowork.claude.stream_json import protocol
from tests.serving import Served, joined, wait_for

TOKEN = Path(__file__).resolve().parent.parent / "fake_claude" / "scenes" / "token.jsonl"


def output_of(built: Fake, question: str) -> list[bytes]:
    """The lines of one turn; standard input ends behind it, so the fake does too."""
    message = MESSAGE % (question.encode(), b"uuid-1")
    argv = [built.path, "--session-id=3f1c0f5e-0000-4000-8000-000000000000"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        os.write(child.stdin.fileno(), message)
        lines = []
        while not lines or b'"state":"idle"' not in lines[-1]:
            lines.append(child.stdout.readline())
            assert lines[-1], "it ended in mid-turn"
        child.stdin.close()
        assert child.wait(5) == 0
    return lines


def test_a_question_is_answered_through_the_server(server: Served) -> None:
    answer = server.ask("tokens=5").json()
    assert answer["message"] == "The wave function of a "
    assert answer["usage"]["output_tokens"] == 20
    seen = server.streamed("tokens=300")
    assert len(seen) == 301
    assert joined(seen) == server.ask("tokens=300").json()["message"]


def test_an_interrupted_turn_ends_and_the_next_is_answered(server: Served) -> None:
    turn = threading.Thread(target=server.ask, args=("tokens=1000 rate=20",))
    turn.start()
    wait_for(lambda: server.get("/health").json()["turns"], what="the turn")
    time.sleep(0.1)
    begun = time.monotonic()
    assert server.post("/sessions/p/interrupt").json()["state"] == "interrupted"
    turn.join(5)
    assert time.monotonic() - begun < 5
    assert server.ask("tokens=2").json()["message"] == "The wave "


@pytest.mark.parametrize("block", [1, 64])
def test_its_text_deltas_have_the_keys_and_the_length_of_the_real_ones(
    built: Fake, block: int
) -> None:
    deltas = [line for line in output_of(built, f"tokens=100 block={block}") if b"_delta" in line]
    deltas = [line for line in deltas if b"text_delta" in line]
    recorded = json.loads(TOKEN.read_text(encoding="utf-8").splitlines()[0])
    assert len(deltas) == 100
    for line in deltas:
        assert json.loads(line).keys() == recorded.keys()
        assert 280 < len(line) < 300
    assert len({json.loads(line)["uuid"] for line in deltas}) == 100
    run = protocol.text_run(b"".join(deltas))
    assert run is not None
    assert len(run.literals) == 100


def test_at_a_rate_a_token_tells_when_it_was_written(built: Fake) -> None:
    before = time.monotonic_ns()
    lines = output_of(built, "tokens=5 rate=100")
    texts = [json.loads(line)["event"]["delta"]["text"] for line in lines if b"text_delta" in line]
    stamps = [int(text) for text in texts]
    assert stamps == sorted(stamps)
    assert before < stamps[0]
    assert stamps[-1] < time.monotonic_ns()
    assert stamps[-1] - stamps[0] >= 39_000_000


def test_it_tells_its_version_and_its_login(built: Fake) -> None:
    version = subprocess.run([built.path, "--version"], capture_output=True, check=True, timeout=5)
    assert version.stdout.startswith(b"2.")
    login = subprocess.run(
        [built.path, "auth", "status"], capture_output=True, check=True, timeout=5
    )
    assert json.loads(login.stdout)["loggedIn"] is True


def test_its_bare_rate_is_counted(built: Fake) -> None:
    assert fake.bare_rate(built, 20_000) > 0
