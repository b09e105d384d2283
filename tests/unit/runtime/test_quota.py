"""What callers can make the server hold is bounded, for each of them and for all together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.errors import AtCapacity, QueueFull
from cowork.runtime.quota import Quota

ASKED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=60)


def test_who_is_alone_may_have_all_of_it():
    quota = Quota("things", max_count=2, max_bytes=100)
    quota.acquire("", 50)
    quota.acquire("", 50)
    with pytest.raises(AtCapacity):
        quota.acquire("", 0)
    quota.release("", 50)
    quota.acquire("", 50)


def test_one_of_several_owners_may_have_half_of_it():
    quota = Quota("things", max_count=4, max_bytes=100, owners=lambda: 2, share_error=QueueFull)
    quota.acquire("a", 50)
    with pytest.raises(QueueFull) as told:
        quota.acquire("a", 1)
    assert told.value.retry_after >= 1
    quota.acquire("b", 25)
    quota.acquire("b", 25)
    with pytest.raises(QueueFull):
        quota.acquire("b", 0)
    with pytest.raises(AtCapacity):
        quota.acquire("c", 1)


@given(ASKED, st.randoms())
def test_fault_s4_nobody_holds_more_than_was_stated(asked, dice):
    quota = Quota("things", max_count=8, max_bytes=100, owners=lambda: 3, share_error=QueueFull)
    held = []
    for owner, size in asked:
        try:
            quota.acquire(owner, size)
        except (AtCapacity, QueueFull):
            if held:
                quota.release(*held.pop(dice.randrange(len(held))))
        else:
            held.append((owner, size))
        assert quota.held_bytes == sum(size for _, size in held) <= 100
        assert len(held) <= 8
        for each in "abc":
            mine = [size for owner, size in held if owner == each]
            assert sum(mine) <= 50
            assert len(mine) <= 4
    for each in held:
        quota.release(*each)
    assert quota.held_bytes == 0
