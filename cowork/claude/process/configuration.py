"""Has a process take on what a question wants of it, and go back to what it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cowork.claude.process.control_requests import ControlRequests
from cowork.claude.turn_options import TurnOptions

TIMEOUT_S = 10.0
# The CLI answers when it has tried every server (MCP_TIMEOUT), which it does side by side.
MCP_TIMEOUT_S = 40.0


class Configuration:
    """What a process has taken on; `current` is not to be relied on when `apply` has raised.

    `model` is what it was started with, None for the CLI's own choice.
    """

    def __init__(self, requests: ControlRequests, model: str | None = None) -> None:
        self._requests = requests
        self.current = TurnOptions(model=model)

    def apply(
        self,
        wanted: TurnOptions,
        *,
        default_model: str,
        servers: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Change what differs from `wanted`; `servers` are the operator's definitions, by name.

        A model is changed only where it is another one: each change leaves three texts in the
        conversation.  Raises `ClaudeFailed`.
        """
        current = self.current
        if wanted.model != current.model:
            self._requests.call("set_model", TIMEOUT_S, model=wanted.model or default_model)
        if wanted.effort != current.effort:
            self._apply_settings({"effortLevel": wanted.effort})
        if wanted.disallowed_tools != current.disallowed_tools:
            # Added to those that it was started with; an empty list takes them back.
            self._apply_settings({"permissions": {"deny": list(wanted.disallowed_tools)}})
        if wanted.mcp_servers != current.mcp_servers:
            chosen = {name: servers[name] for name in wanted.mcp_servers}
            self._requests.call("mcp_set_servers", MCP_TIMEOUT_S, servers=chosen)
        self.current = wanted

    def _apply_settings(self, settings: Mapping[str, Any]) -> None:
        self._requests.call("apply_flag_settings", TIMEOUT_S, settings=settings)
