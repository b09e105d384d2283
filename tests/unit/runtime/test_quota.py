"""What callers can make the server hold is bounded, for each of them and for all together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.errors import AtCapacity, QueueFull
from cowork.runtime.quota import Quota

ASKED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=60)


def test_who_is_alone_may_have_all_of_it():
    quota = Quota("things", most=2, most_bytes=100)
    quota.take("", 50)
    quota.take("", 50)
    with pytest.raises(AtCapacity):
        quota.take("", 0)
    quota.give_back("", 50)
    quota.take("", 50)


def test_one_of_several_owners_may_have_half_of_it():
    quota = Quota("things", most=4, most_bytes=100, owners=lambda: 2, share=QueueFull)
    quota.take("a", 50)
    with pytest.raises(QueueFull) as told:
        quota.take("a", 1)
    assert told.value.retry_after >= 1
    quota.take("b", 25)
    quota.take("b", 25)
    with pytest.raises(QueueFull):
        quota.take("b", 0)
    with pytest.raises(AtCapacity):
        quota.take("c", 1)


@given(ASKED, st.randoms())
def test_fault_s4_nobody_holds_more_than_was_stated(asked, dice):
    quota = Quota("things", most=8, most_bytes=100, owners=lambda: 3, share=QueueFull)
    held = []
    for owner, size in asked:
        try:
            quota.take(owner, size)
        except (AtCapacity, QueueFull):
            if held:
                quota.give_back(*held.pop(dice.randrange(len(held))))
        else:
            held.append((owner, size))
        assert quota.held == sum(size for _, size in held) <= 100
        assert len(held) <= 8
        for each in "abc":
            mine = [size for owner, size in held if owner == each]
            assert sum(mine) <= 50
            assert len(mine) <= 4
    for each in held:
        quota.give_back(*each)
    assert quota.held == 0
