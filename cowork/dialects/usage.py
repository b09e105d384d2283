"""What a turn took, in the words of each API; from the `usage` of the CLI's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cowork.events import Done

_ANTHROPIC = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)


def chat_usage(done: Done) -> dict[str, Any]:
    """As chat completions tell it: `prompt_tokens` are all that went in, cached ones too."""
    prompt, cached, completion, thought = _counts(done)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def responses_usage(done: Done) -> dict[str, Any]:
    """As responses tell it."""
    prompt, cached, completion, thought = _counts(done)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": prompt + completion,
    }


def messages_usage(done: Done) -> dict[str, Any]:
    """As messages tell it: all four of Anthropic's own."""
    usage = done.usage or {}
    return {name: _number(usage.get(name)) for name in _ANTHROPIC}


def _counts(done: Done) -> tuple[int, int, int, int]:
    usage = done.usage or {}
    fresh, written, cached, output = (_number(usage.get(name)) for name in _ANTHROPIC)
    details = usage.get("output_tokens_details")
    thought = details.get("thinking_tokens") if isinstance(details, Mapping) else None
    return fresh + written + cached, cached, output, _number(thought)


def _number(found: object) -> int:
    is_count = isinstance(found, int) and not isinstance(found, bool) and found > 0
    return found if is_count else 0  # type: ignore[return-value] # narrowed a line above
