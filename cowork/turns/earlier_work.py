"""What a turn has taken and done in processes before the one that ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from cowork.claude.stream_json import billing
from cowork.claude.stream_json.result import Result
from cowork.claude.stream_json.tool_calls import DENIALS_LIMIT, FILES_LIMIT

_Denials = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class EarlierWork:
    """The fields are those of `Result`; `usage` holds the tokens of the main agent alone."""

    usage: Mapping[str, Any] | None = None
    usage_by_model: Mapping[str, Any] | None = None
    files_changed: tuple[str, ...] = ()
    permission_denials: _Denials = ()

    @classmethod
    def of_result(cls, result: Result) -> EarlierWork:
        """What an answer has taken that is not the turn's."""
        spent = result.usage_by_model
        if spent is None and result.spent:
            spent = billing.uncosted(result.model or "", result.spent)
        return cls(result.usage, spent, result.files_changed, result.permission_denials)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> EarlierWork:
        """What `as_json` has given."""
        return cls(
            found.get("usage"),
            found.get("usage_by_model"),
            tuple(found.get("files_changed", ())),
            tuple(found.get("permission_denials", ())),
        )

    def as_json(self) -> dict[str, Any]:
        """For a turn's record."""
        return asdict(self)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self != _NONE

    @property
    def cost_usd(self) -> float:
        """As far as it is known."""
        return billing.sum_cost(self.usage_by_model or {}) or 0.0

    def plus(self, other: EarlierWork) -> EarlierWork:
        """Both, this one first."""
        return EarlierWork(
            _both(self.usage, other.usage),
            billing.plus(self.usage_by_model or {}, other.usage_by_model or {}) or None,
            tuple(dict.fromkeys((*self.files_changed, *other.files_changed)))[:FILES_LIMIT],
            (*self.permission_denials, *other.permission_denials)[:DENIALS_LIMIT],
        )

    def before(self, result: Result) -> Result:
        """The result of the whole turn, of what its last process has told."""
        if not self:
            return result
        both = self.plus(EarlierWork.of_result(result))
        spent = both.usage_by_model or {}
        return replace(
            result,
            usage=None if both.usage is None else dict(both.usage),
            cost_usd=billing.sum_cost(spent) if result.cost_usd is None else self._cost(result),
            spent=billing.sum_tokens(spent) if spent else None,
            usage_by_model=dict(spent) or None,
            files_changed=both.files_changed,
            permission_denials=both.permission_denials,
        )

    def _cost(self, result: Result) -> float:
        return self.cost_usd + (result.cost_usd or 0.0)


_NONE = EarlierWork()


def _both(
    one: Mapping[str, Any] | None, other: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The tokens of both, in what else the later one tells."""
    if one is None or other is None:
        return other if one is None else one
    return {**other, **billing.sum_tokens({"one": one, "other": other})}
