"""What a turn took, as each API tells it."""

from __future__ import annotations

from typing import Any

import pytest

from cowork.dialects.usage import chat_usage, messages_usage, responses_usage
from cowork.events import Done

USAGE = {
    "input_tokens": 5,
    "cache_creation_input_tokens": 7,
    "cache_read_input_tokens": 11,
    "output_tokens": 3,
    "output_tokens_details": {"thinking_tokens": 2},
}


def done(usage: Any) -> Done:
    return Done(success=True, message="", usage=usage)


def test_openai_counts_cached_tokens_with_the_rest_and_thoughts_with_the_output() -> None:
    assert chat_usage(done(USAGE)) == {
        "prompt_tokens": 23,
        "completion_tokens": 3,
        "total_tokens": 26,
        "prompt_tokens_details": {"cached_tokens": 11},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert responses_usage(done(USAGE)) == {
        "input_tokens": 23,
        "input_tokens_details": {"cached_tokens": 11},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 26,
    }


def test_anthropic_has_all_four_of_its_own() -> None:
    assert messages_usage(done(USAGE)) == {
        name: count for name, count in USAGE.items() if name != "output_tokens_details"
    }


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None, "output_tokens_details": 3}])
def test_what_the_cli_does_not_tell_is_nothing(usage: Any) -> None:
    assert chat_usage(done(usage))["total_tokens"] == 0
    assert set(messages_usage(done(usage)).values()) == {0}
