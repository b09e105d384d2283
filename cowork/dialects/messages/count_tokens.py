"""About how many tokens a conversation takes: estimated, since the CLI does not count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cowork.dialects.messages.reading import conversation_in

BYTES_OF_TOKEN = 3.5
TOKENS_OF_MESSAGE = 4
TOKENS_OF_IMAGE = 1600


def count_tokens(given: Mapping[str, Any]) -> int:
    """By the bytes of its texts, its messages and its images.  Raises `InvalidValue`."""
    prompts, said = conversation_in(given)
    texts = [*prompts, *(each.content.text for each in said)]
    size = sum(len(text.encode(errors="replace")) for text in texts)
    attached = [part["type"] for each in said for part in each.content.attachments]
    images = TOKENS_OF_IMAGE * attached.count("image")
    return math.ceil(size / BYTES_OF_TOKEN) + TOKENS_OF_MESSAGE * len(said) + images
