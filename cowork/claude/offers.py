"""What the CLI offers: its models and skills, asked once and kept for a while; and MCP servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cowork.claude.skills import Inquiry
from cowork.claude.turn_options import EFFORTS, MODEL_ID

MAX_AGE_S = 300.0
# Of a list that the CLI gives.
LIST_LIMIT = 500
TEXT_LIMIT_CHARS = 1000
DEFAULT_NAME = "default"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model: `id` is what a question names it by, `model` what that means now."""

    id: str
    model: str
    name: str
    description: str
    efforts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SkillInfo:
    """A skill that a question may name as its `agent_type`."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Offer:
    """All that the CLI says it has; `default_model` is what it uses where nothing is asked for."""

    models: tuple[ModelInfo, ...]
    skills: tuple[SkillInfo, ...]
    default_model: str

    def find(self, model: str) -> ModelInfo | None:
        """The model of that name, or that is this one now."""
        named = next((each for each in self.models if each.id == model), None)
        return named or next((each for each in self.models if each.model == model), None)


class Offers:
    """`ask` finds out, in about a second; `mcp_servers` are the operator's, by name."""

    def __init__(
        self, ask: Callable[[], Offer], mcp_servers: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._ask = ask
        self.mcp_servers = mcp_servers
        self._asking = threading.Lock()
        self._inquiry = Inquiry[Offer]()
        self._known: Offer | None = None
        self._asked = float("-inf")

    def get(self) -> Offer:
        """What there is; raises what asking raises."""
        known = self._known
        if known is not None and time.monotonic() - self._asked < MAX_AGE_S:
            return known
        begun = time.monotonic()
        with self._asking:
            if self._known is None or time.monotonic() - self._asked >= MAX_AGE_S:
                self._known = self._inquiry.ask(self._ask, begun)
                self._asked = time.monotonic()
            return self._known

    def forget(self) -> None:
        """Another CLI is in use, which may have others."""
        self._asked = float("-inf")

    def is_listed(self, model: str) -> bool:
        """Whether the CLI itself has named that model, as far as is known; never waits."""
        known = self._known
        return known is not None and any(each.id == model for each in known.models)

    def default_model(self) -> str:
        """The full name of what it uses where nothing is asked for."""
        return self.get().default_model


def offer_of(begun: Mapping[str, Any], skills: tuple[str, ...], default_model: str) -> Offer:
    """What a CLI says of itself: `begun` is its answer to `initialize`."""
    found = begun.get("models")
    listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    commands = begun.get("commands")
    told = {
        str(each.get("name")): str(each.get("description") or "")[:TEXT_LIMIT_CHARS]
        for each in (commands if isinstance(commands, list) else [])[:LIST_LIMIT]
        if isinstance(each, dict)
    }
    models = tuple(_model_of(each) for each in listed[:LIST_LIMIT] if each.get("value"))
    default = next((each.model for each in models if each.id == DEFAULT_NAME), "")
    chosen = default_model if MODEL_ID.fullmatch(default_model) else default
    return Offer(models, tuple(SkillInfo(each, told.get(each, "")) for each in skills), chosen)


def _model_of(found: Mapping[str, Any]) -> ModelInfo:
    levels = found.get("supportedEffortLevels") if found.get("supportsEffort") else ()
    return ModelInfo(
        id=str(found["value"])[:TEXT_LIMIT_CHARS],
        model=str(found.get("resolvedModel") or found["value"])[:TEXT_LIMIT_CHARS],
        name=str(found.get("displayName") or found["value"])[:TEXT_LIMIT_CHARS],
        description=str(found.get("description") or "")[:TEXT_LIMIT_CHARS],
        efforts=tuple(each for each in EFFORTS if each in (levels or ())),
    )
