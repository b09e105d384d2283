"""After some failures in a row tries are made with growing pauses, until one succeeds."""

from __future__ import annotations

import pytest

from cowork.runtime.circuit_breaker import CircuitBreaker
from tests.fakes import Clock


@pytest.fixture
def clock():
    return Clock()


def broken(clock, failures, **rules):
    breaker = CircuitBreaker(clock=clock, **{"jitter": lambda: 0.0, **rules})
    for _ in range(failures):
        breaker.failed()
    return breaker


def test_a_few_failures_are_tried_again_at_once(clock):
    breaker = broken(clock, 4)
    assert not breaker.is_open
    assert breaker.retry_in() == 0
    assert breaker.failures == 4


def test_the_fifth_failure_in_a_row_opens_it(clock):
    breaker = broken(clock, 5)
    assert breaker.is_open
    assert breaker.retry_in() == 1.0
    clock.now += 0.75
    assert breaker.retry_in() == 0.25
    clock.now += 10
    assert breaker.retry_in() == 0
    assert breaker.is_open, "nothing has succeeded yet"


def test_pauses_double_up_to_the_longest(clock):
    breaker, pauses = broken(clock, 4), []
    for _ in range(9):
        breaker.failed()
        pauses.append(breaker.retry_in())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_it_fails_for_days_without_an_end(clock):
    assert broken(clock, 5000).retry_in() == 60


def test_jitter_takes_up_to_a_half_away(clock):
    assert broken(clock, 6, jitter=lambda: 1.0).retry_in() == 1.0
    assert broken(clock, 6, jitter=lambda: 0.5).retry_in() == 1.5


def test_one_success_closes_it(clock):
    breaker = broken(clock, 9)
    assert breaker.succeeded()
    assert not breaker.is_open
    assert breaker.retry_in() == 0
    assert not breaker.succeeded(), "it was closed already"


def test_failures_count_only_in_a_row(clock):
    breaker = broken(clock, 4)
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open


def test_all_are_let_through_while_it_is_closed_and_one_after_each_pause_while_open(clock):
    breaker = broken(clock, 0, threshold=1, first_pause_s=1.0, longest_pause_s=1.0)
    assert breaker.allows_try()
    assert breaker.allows_try()
    breaker.failed()
    assert not breaker.allows_try()
    clock.now += 1.0
    assert breaker.allows_try(), "the one that finds out"
    assert not breaker.allows_try(), "it has not told yet"
    clock.now += 2.0
    assert breaker.allows_try(), "it never told"
    breaker.succeeded()
    assert breaker.allows_try()
    assert breaker.allows_try()
