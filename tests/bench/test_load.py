"""The benchmarks' load sees what happens, failures too."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench import client, fake
from bench.fake import Fake
from bench.plan import Plan, Requests, Streams, dump, parse
from tests.serving import Gunicorn, Served


@dataclass(frozen=True, slots=True)
class Target:
    """What a load must know of its server."""

    port: int
    worker: int

    def load(self, **parts: Any) -> dict[str, Any]:
        return client.load(self, limit_s=20.0, **parts)  # type: ignore[arg-type]


@pytest.fixture
def here(server: Served) -> Target:
    """The application in this process."""
    return Target(urlsplit(server.url).port, os.getpid())


def test_a_plan_reaches_the_other_process_as_it_is() -> None:
    plan = Plan(1, 2, 3.0, Streams(4, "q {at}", 5), Requests(6, 7.0, "/health", rate=8.0))
    assert parse(dump(plan)) == plan
    assert parse(dump(Plan(1, 2, 3.0))) == Plan(1, 2, 3.0)


def test_streams_begin_together_and_every_token_is_counted(here: Target) -> None:
    question = fake.question(5000, together=True)
    seen = here.load(streams=Streams(3, question, tokens=5001))["streams"]
    assert seen["errors"] == 0, seen
    assert seen["tokens"] == 3 * 5001
    assert seen["first_s"] < 0 < seen["elapsed_s"]
    assert seen["cpu_s"] > 0


def test_a_tokens_lag_is_the_time_since_it_was_written(here: Target) -> None:
    question = fake.question(30, rate=50, together=True)
    wanted = Streams(2, question, tokens=31, spread_s=0.1, window_s=0.3)
    seen = here.load(streams=wanted)["streams"]
    assert seen["errors"] == 0, seen
    assert 0 < seen["lag_ms"]["p50"] <= seen["lag_ms"]["p99"] <= seen["lag_whole_ms"]["max"]
    assert seen["resident_bytes"] > 2**20


def test_a_stream_that_brings_too_little_or_is_refused_is_an_error(here: Target) -> None:
    short = here.load(streams=Streams(1, fake.question(5), tokens=6))["streams"]
    assert short["shown_errors"] == ["brought 5 tokens"]
    refused = here.load(streams=Streams(1, "", tokens=1))["streams"]
    assert refused["errors"] == 1
    assert "422" in refused["shown_errors"][0]


def test_a_connection_that_is_closed_is_an_error(here: Target) -> None:
    # This application's server speaks HTTP/1.0: it closes behind each answer.
    seen = here.load(requests=Requests(2, 0.2, "/health", rate=40.0))["requests"]
    assert seen["errors"] > 0
    assert seen["answers"] + seen["errors"] == 8


def test_requests_are_sent_at_a_rate_or_each_as_soon_as_the_one_before_is_answered(
    built: Fake, gunicorn: Callable[..., Gunicorn]
) -> None:
    server = gunicorn(CLAUDE_CLI_PATH=str(built.path))
    target = Target(server.port, server.workers()[0])
    seen = target.load(requests=Requests(4, 0.5, "/health", rate=40.0))["requests"]
    assert (seen["answers"], seen["errors"]) == (20, 0)
    assert sum(seen["shares"]) == 20
    failed = target.load(requests=Requests(1, 0.2, "/nowhere", rate=20.0))["requests"]
    assert (failed["answers"], failed["errors"]) == (4, 4)
    body = '{"project_name": "p{n}", "question": "tokens=2"}'
    seen = target.load(requests=Requests(2, 0.5, "/ask_question", body=body))["requests"]
    assert seen["errors"] == 0
    assert min(seen["shares"]) > 1
