"""What a turn needs of its process that one which runs already cannot take on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

# The modes that a request may ask for, under each mode that the operator may have set.
_ALLOWED_MODES: dict[str, tuple[str, ...]] = {
    "plan": ("plan",),
    "dontAsk": ("plan",),
    "default": ("plan", "default"),
    # It decides by itself what to allow, which neither contains `acceptEdits` nor the reverse.
    "auto": ("plan", "default"),
    "acceptEdits": ("plan", "default", "acceptEdits"),
    "bypassPermissions": ("plan", "default", "acceptEdits"),
}
REQUESTED_MODES = ("plan", "default", "acceptEdits")


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """A process serves turns of equal needs; None is what the operator has set.

    `system_prompt` is appended to the CLI's own, `output_schema` is a JSON schema as JSON text
    (text, so that needs can be compared), `permission_mode` one of `REQUESTED_MODES`.  With
    `approvals` the CLI asks before it runs what it may not run by itself; with `todo` the model
    has a list of what it is to do.
    """

    system_prompt: str | None = None
    output_schema: str | None = None
    permission_mode: str | None = None
    approvals: bool = False
    todo: bool = False

    def initialize(self) -> dict[str, Any]:
        """The fields of the `initialize` request that make a process serve them."""
        fields: dict[str, Any] = {}
        if self.system_prompt is not None:
            fields["appendSystemPrompt"] = self.system_prompt
            # Else a session keeps the prompt of its first turn, whatever a later process is told.
            fields["systemPromptSnapshot"] = False
        if self.output_schema is not None:
            schema = orjson.loads(self.output_schema)
            # Of another draft than its own the CLI takes the schema for none, without a word.
            schema.pop("$schema", None)
            fields["jsonSchema"] = schema
        return fields


DEFAULT = LaunchOptions()


def permission_allows(mode: str, operators: str) -> bool:
    """Whether a request may ask for permission mode `mode` where the operator set `operators`."""
    return mode in _ALLOWED_MODES[operators]
