"""What a turn cost, as its `result` tells.  Pure.

`model_usage_since_last_result` holds the turn, sub-agents and side requests included.  Older CLIs
have totals alone: of the process, and since some version of the whole session, carried over from
process to process; the turn is what was added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cowork.claude.stream_json.protocol import Message

# The names of `usage`, and those that count the same for each model.
_TOKENS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_input_tokens": "cacheReadInputTokens",
    "cache_creation_input_tokens": "cacheCreationInputTokens",
}

# Of each model the tokens, under the names of `usage`, and `cost_usd`, None where it is not known.
ByModel = dict[str, dict[str, Any]]


def cost(result: Message) -> float | None:
    """The turn's cost in USD; None where this CLI tells totals alone."""
    models = _models(result.get("model_usage_since_last_result"))
    return None if models is None else sum(_number(model.get("costUSD")) for model in models)


def tokens(result: Message) -> dict[str, Any] | None:
    """The turn's tokens under the names of `usage`; that itself where there is nothing better."""
    models = _models(result.get("model_usage_since_last_result"))
    if models is None:
        usage = result.get("usage")
        return usage if isinstance(usage, dict) else None
    return _sums(models)


def by_model(result: Message) -> ByModel | None:
    """The turn's tokens, as `tokens` names them, and `cost_usd`, of each model; None as `cost`."""
    return models(result.get("model_usage_since_last_result"))


def models(told: Any) -> ByModel | None:
    """What the CLI tells of each model, under our names; None where it tells nothing."""
    if not isinstance(told, dict):
        return None
    return {
        name: {**_sums([model]), "cost_usd": float(_number(model.get("costUSD")))}
        for name, model in told.items()
        if isinstance(model, dict)
    }


def uncosted(model: str, usage: Message) -> ByModel:
    """What a `usage` says, as that model's, at a cost that nobody has told."""
    return {model: {**_sums([_as_model(usage)]), "cost_usd": None}}


def plus(one: Mapping[str, Any], other: Mapping[str, Any]) -> ByModel:
    """Both together; a cost is what is known of it."""
    return {name: _plus(one.get(name, {}), other.get(name, {})) for name in {**one, **other}}


def less(total: ByModel, before: ByModel) -> ByModel:
    """What was added to `before`, of the models that were used."""
    added = {name: _less(model, before.get(name, {})) for name, model in total.items()}
    return {name: model for name, model in added.items() if any(model.values())}


def sum_tokens(found: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of all models, under the names of `usage`."""
    return {name: sum(model.get(name) or 0 for model in found.values()) for name in _TOKENS}


def sum_cost(found: Mapping[str, Any]) -> float | None:
    """What is known of the cost of all models; None where nothing is."""
    costs = [each for model in found.values() if (each := model.get("cost_usd")) is not None]
    return sum(costs) if costs else None


def context(usage: Message) -> int:
    """Tokens of a request and its answer: what the conversation takes in the model's context."""
    return int(sum(_number(usage.get(name)) for name in _TOKENS))


def context_limit(result: Message, model: str | None) -> int:
    """How many the model takes; 0 where this CLI does not tell."""
    told = result.get("modelUsage")
    found = told.get(model) if isinstance(told, dict) and model is not None else None
    return int(_number(found.get("contextWindow"))) if isinstance(found, dict) else 0


def share(total: float, before: float | None, result: Message) -> float | None:
    """What was added to a total that was `before` at the former result, or None: not to be told.

    `before` is None at the first result of a process that goes on with a session: its total is the
    turn's only if all tokens that it counts are.
    """
    if before is None:
        all_told = _sums(_models(result.get("modelUsage")) or [])
        turn = _sums([_as_model(result.get("usage"))])
        return total if any(turn.values()) and turn == all_told else None
    return total - before if total >= before else total  # a session that began anew counts anew


def _plus(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    costs = [each for found in (one, other) if (each := found.get("cost_usd")) is not None]
    tokens = {name: (one.get(name) or 0) + (other.get(name) or 0) for name in _TOKENS}
    return {**tokens, "cost_usd": sum(costs) if costs else None}


def _less(total: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {name: max(total[name] - (before.get(name) or 0), 0) for name in (*_TOKENS, "cost_usd")}


def _models(found: Any) -> list[dict[str, Any]] | None:
    if not isinstance(found, dict):
        return None
    return [model for model in found.values() if isinstance(model, dict)]


def _sums(models: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: int(sum(_number(model.get(theirs)) for model in models))
        for name, theirs in _TOKENS.items()
    }


def _as_model(usage: Any) -> dict[str, Any]:
    found = usage if isinstance(usage, dict) else {}
    return {theirs: found.get(name) for name, theirs in _TOKENS.items()}


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and 0 <= value < 2**53 else 0
