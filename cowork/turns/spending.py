"""What a turn has spent, of each model."""

from __future__ import annotations

import math

from cowork.claude.stream_json.result import Result
from cowork.model import Spending, Usage

# Of one turn; what the others took is told without their names.
MODEL_LIMIT = 20
MAX_NAME_LENGTH = 200


def spent_in(result: Result | None) -> tuple[Spending, ...]:
    """What the turn has spent, of the model that cost most first; `()` if the CLI was not asked.

    If it was, there is at least one, so that a turn is counted that took nothing.
    """
    if result is None:
        return ()
    told = (result.usage_by_model or {}).items()
    found: dict[str, Spending] = {}
    for said, model in sorted(told, key=lambda each: _cost(each[1]["cost_usd"]), reverse=True):
        name = _name(said) if len(found) < MODEL_LIMIT else ""
        had = found.get(name, Spending(name))
        found[name] = Spending(name, had.usage.plus(model), had.cost_usd + _cost(model["cost_usd"]))
    if found:
        return tuple(found.values())
    return (Spending("", Usage().plus(result.spent), _cost(result.cost_usd)),)


def _name(said: str) -> str:
    """A model's name, `""` for what could be none."""
    return said if len(said) <= MAX_NAME_LENGTH and said.isprintable() else ""


def _cost(told: float | None) -> float:
    """What was told, if it can be added up."""
    return told if told is not None and math.isfinite(told) and told >= 0 else 0.0
