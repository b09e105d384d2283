"""Who guesses keys is slowed down, and costs no memory."""

from __future__ import annotations

from cowork.web import failed_keys
from cowork.web.failed_keys import FailedKeyLimiter
from tests.fakes import Clock


def test_thirty_wrong_keys_a_minute_are_enough():
    clock = Clock()
    limiter = FailedKeyLimiter(clock)
    assert [limiter.record_failure("a") for _ in range(30)] == [None] * 30
    assert limiter.record_failure("a") == 60
    assert limiter.record_failure("b") is None
    clock.now += 59.5
    assert limiter.record_failure("a") == 1
    clock.now += 0.5
    assert limiter.record_failure("a") is None


def test_however_many_addresses_there_are_few_are_remembered():
    limiter = FailedKeyLimiter(Clock())
    for number in range(failed_keys.MAX_ADDRESSES * 2):
        limiter.record_failure(str(number))
    assert len(limiter._windows) == failed_keys.MAX_ADDRESSES
