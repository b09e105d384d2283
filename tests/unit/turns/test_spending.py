"""A turn's spending is told of each of its models, that which cost most first."""

from __future__ import annotations

import pytest

from cowork.claude.stream_json.result import Result
from cowork.model import Spending, Usage
from cowork.turns.spending import MODEL_LIMIT, spent_in


def model(tokens, cost):
    return {
        "input_tokens": tokens,
        "output_tokens": 2,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
        "cost_usd": cost,
    }


def test_a_turn_that_did_not_ask_the_cli_has_spent_nothing():
    assert spent_in(None) == ()


def test_the_model_that_cost_most_comes_first():
    models = {"small": model(1, 0.1), "big": model(5, 0.7)}
    assert spent_in(Result("x", usage_by_model=models)) == (
        Spending("big", Usage(5, 2, 3, 4), 0.7),
        Spending("small", Usage(1, 2, 3, 4), 0.1),
    )


def test_where_the_cli_tells_no_models_the_turns_own_figures_count():
    result = Result("x", spent={"input_tokens": 7, "service_tier": "standard"}, cost_usd=0.5)
    assert spent_in(result) == (Spending("", Usage(7), 0.5),)


def test_a_turn_that_asked_no_model_is_one_all_the_same():
    assert spent_in(Result("", usage_by_model={}, cost_usd=0)) == (Spending(""),)
    assert spent_in(Result("", interrupted=True)) == (Spending(""),)


@pytest.mark.parametrize("cost", [None, -1.0, float("inf"), float("nan")])
def test_a_cost_that_cannot_be_added_up_is_none(cost):
    assert spent_in(Result("x", cost_usd=cost)) == (Spending(""),)


def test_what_could_be_no_models_name_is_counted_without_it():
    models = {name: model(1, 0.25) for name in ("a\0b", "\ud800", "x" * 500, "", "good")}
    found = {each.model: each for each in spent_in(Result("x", usage_by_model=models))}
    assert found == {
        "": Spending("", Usage(4, 8, 12, 16), 1.0),
        "good": Spending("good", Usage(1, 2, 3, 4), 0.25),
    }


def test_of_too_many_models_those_that_cost_least_are_counted_as_one():
    models = {f"m{number}": model(1, number) for number in range(MODEL_LIMIT + 10)}
    found = spent_in(Result("x", usage_by_model=models))
    assert len(found) == MODEL_LIMIT + 1
    assert found[0].model == f"m{MODEL_LIMIT + 9}"
    assert found[-1] == Spending("", Usage(10, 20, 30, 40), sum(range(10)))
