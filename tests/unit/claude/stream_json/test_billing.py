"""What a turn cost is told once, whichever way its CLI tells it."""

from __future__ import annotations

import pytest

from cowork.claude.stream_json import billing
from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.pairing import EarlierTurns


def model(tokens, cost, **more):
    return {"inputTokens": tokens, "outputTokens": 1, "costUSD": cost, **more}


def usage(tokens):
    return {"input_tokens": tokens, "output_tokens": 1, "service_tier": "standard"}


def figures(tokens, cost, output=1):
    """What is told of a model."""
    return {
        "input_tokens": tokens,
        "output_tokens": output,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cost_usd": cost,
    }


def ended(earlier, **fields):
    """The result of a turn that says "x"."""
    answer = AnswerParser("u", earlier)
    answer.read({"type": "system", "subtype": "init"})
    answer.read({"type": "result", "is_error": False, "result": "x", **fields})
    return answer.result


def test_fault_t6_a_turn_is_billed_by_what_its_models_took_since_the_last_result():
    earlier, models = (
        EarlierTurns(resumed=True),
        {"big": model(10, 0.05), "small": model(7, 0.01)},
    )
    result = ended(
        earlier, total_cost_usd=9.0, usage=usage(10), model_usage_since_last_result=models
    )
    assert result.cost_usd == pytest.approx(0.06)
    assert (result.spent["input_tokens"], result.spent["output_tokens"]) == (17, 2)
    assert result.usage == usage(10)
    assert result.usage_by_model == {"big": figures(10, 0.05), "small": figures(7, 0.01)}


def test_fault_t6_a_turn_that_asked_no_model_costs_nothing():
    result = ended(EarlierTurns(resumed=True), total_cost_usd=9.0, model_usage_since_last_result={})
    assert result.cost_usd == 0
    assert result.usage_by_model == {}


def test_fault_t6_totals_alone_are_told_by_what_is_added():
    earlier = EarlierTurns()
    assert ended(earlier, total_cost_usd=0.5).cost_usd == pytest.approx(0.5)
    assert ended(earlier, total_cost_usd=0.75).cost_usd == pytest.approx(0.25)


def test_fault_t6_a_total_that_was_carried_over_is_not_billed_again():
    earlier = EarlierTurns(resumed=True)
    carried = ended(
        earlier, total_cost_usd=3.0, usage=usage(10), modelUsage={"big": model(500, 3.0)}
    )
    assert carried.cost_usd is None
    assert carried.usage_by_model is None
    assert ended(earlier, total_cost_usd=3.5).cost_usd == pytest.approx(0.5)


def test_fault_t6_a_total_of_this_turn_alone_is_its_cost():
    models = {"big": model(10, 0.05)}
    result = ended(
        EarlierTurns(resumed=True), total_cost_usd=0.05, usage=usage(10), modelUsage=models
    )
    assert result.cost_usd == pytest.approx(0.05)


def test_a_total_that_begins_anew_is_no_gift():
    earlier = EarlierTurns()
    ended(earlier, total_cost_usd=0.5)
    assert ended(earlier, total_cost_usd=0.1).cost_usd == pytest.approx(0.1)


@pytest.mark.parametrize("odd", [None, 5, [], "x", {"m": None}, {"m": {"costUSD": "much"}}])
def test_figures_of_no_known_shape_count_nothing(odd):
    result = {"model_usage_since_last_result": odd, "usage": odd, "modelUsage": odd}
    assert not billing.cost(result)
    assert not (billing.tokens(result) or {}).get("input_tokens")
    assert billing.share(1.0, None, result) is None
    by_model = billing.by_model(result)
    assert by_model in (None, {}, {"m": figures(0, 0.0, output=0)})
