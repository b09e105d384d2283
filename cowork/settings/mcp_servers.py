"""The operator's MCP servers, which a question may name: `COWORK_MCP_CONFIG`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What a definition of each kind has to have.
_SERVER_KINDS = {"http": "url", "sse": "url", "stdio": "command"}


def read_file(file: Path | None) -> Mapping[str, Mapping[str, Any]]:
    """The operator's MCP servers: `{"mcpServers": {name: definition}}`.

    Raises ValueError for what the CLI could not use, OSError for a file that cannot be read.
    """
    if file is None:
        return MappingProxyType({})
    try:
        found = json.loads(file.read_text())
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"expected JSON in {file}: {fault}") from fault
    servers = found.get("mcpServers") if isinstance(found, dict) else None
    if not isinstance(servers, dict):
        raise ValueError('expected {"mcpServers": {...}}')  # noqa: TRY004 - of a file
    for name, definition in servers.items():
        if not _SERVER_NAME.fullmatch(name) or not isinstance(definition, dict):
            raise ValueError(f"expected a name of A-Z a-z 0-9 _ - and an object, server {name!r}")
        kind = definition.get("type", "stdio" if "command" in definition else "")
        needed = _SERVER_KINDS.get(kind)
        if needed is None or not isinstance(definition.get(needed), str):
            kinds = ", ".join(_SERVER_KINDS)
            raise ValueError(f"expected a type of {kinds}, with its address, server {name!r}")
    return MappingProxyType(servers)
