"""What the benchmarks say of a list of numbers."""

from __future__ import annotations

import pytest

from bench.figures import Spread, percentile, short, table


@pytest.mark.parametrize(
    ("share", "found"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)]
)
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(share, found) -> None:
    assert percentile(list(range(100, 0, -1)), share) == found


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert {percentile([7.0], share) for share in (0.0, 0.5, 1.0)} == {7.0}


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_there_is_no_percentile_of_nothing_and_none_beyond_all(values, share) -> None:
    with pytest.raises(ValueError, match=r"percentile|share"):
        percentile(values, share)


def test_a_spread_tells_the_median_and_its_range() -> None:
    spread = Spread.of([3.0, 1.0, 200.0])
    assert (spread.median, spread.low, spread.high) == (3.0, 1.0, 200.0)
    assert str(spread) == "3.00 [1.00-200]"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123, "0.12"), (9.994, "9.99"), (12.34, "12.3"), (123.4, "123"), (1234567.0, "1 234 567")],
)
def test_a_number_has_as_many_digits_as_mean_something(value, shown) -> None:
    assert short(value) == shown


def test_a_tables_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([["a", "bb"], ["ccc", "d"]]).splitlines() == ["a    bb", "---  --", "ccc  d"]
