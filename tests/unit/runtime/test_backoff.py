"""Waits double with each failure up to the longest, less the jitter; a success starts anew."""

from __future__ import annotations

import pytest

from cowork.runtime.backoff import Backoff


def waits(backoff, failures, **more):
    found = []
    for _ in range(failures):
        backoff.failed(100.0, **more)
        found.append(backoff.retry_in(100.0))
    return found


def test_nothing_is_waited_for_before_a_failure():
    assert Backoff(1.0, 60.0).retry_in(100.0) == 0


def test_waits_double_up_to_the_longest():
    assert waits(Backoff(1.0, 5.0, lambda: 0.0), 5) == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 2.0), (0.5, 1.5), (1.0, 1.0)])
def test_jitter_takes_up_to_a_half_away(jitter, wait):
    assert waits(Backoff(2.0, 60.0, lambda: jitter), 1) == [wait]


def test_a_wait_that_somebody_named_is_kept_where_it_is_longer():
    assert waits(Backoff(1.0, 60.0, lambda: 0.0), 4, at_least_s=3.0) == [3, 3, 4, 8]


def test_time_goes_by_and_a_success_starts_anew():
    backoff = Backoff(1.0, 60.0, lambda: 0.0)
    waits(backoff, 3)
    assert backoff.retry_in(103.0) == 1
    assert backoff.retry_in(105.0) == 0
    backoff.reset()
    assert backoff.retry_in(100.0) == 0
    assert waits(backoff, 1) == [1]


def test_it_fails_for_days_without_an_end():
    assert waits(Backoff(1.0, 60.0, lambda: 0.0), 5000)[-1] == 60
