"""What is filled into the holes of a recorded line."""

# pathlib costs 10 ms at a start that takes 20.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import time

from .scenes import to_json
from .transcript import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .listener import Message
    from .process import Process

_COST_OF_REQUEST = 0.00012
_TOKENS_OF_REQUEST = 5


class Blanks:
    """The values of one turn, by name; some are told by the scene, some depend on the moment."""

    def __init__(self, process: Process, messages: list[Message]) -> None:
        self._said: list[str] = []
        self._process = process
        self._start = time.monotonic()
        self._requests: list[str] = []
        self._momentary: dict[str, Callable[[], object]] = {
            "now": timestamp,
            "wall": lambda: int(time.time() * 1000),
            "elapsed": lambda: int((time.monotonic() - self._start) * 1000),
            "text": lambda: self.said,
            "usage": self._usage,
            "spent": lambda: self._spent(process.carried + process.requests),
            "spent_since": lambda: self._spent(process.requests - process.billed),
            "cost": lambda: _cost(process.carried + process.requests),
            "index": self._next_index,
            "messages": lambda: self._requests,
            "skills": process.skills,
            "commands": process.commands,
        }
        self._told: dict[str, str] = {}
        self.tell(
            session=process.session,
            cwd=process.transcript.cwd,
            version=process.config.version,
            model=process.model,
            permission=process.permission,
            source=process.config.key_source,
            turn=messages[-1].uuid if messages else "",
            turns=[message.uuid for message in messages],
            question=messages[-1].text if messages else "",
            tool=f"toolu_{process.uuid()}",
            inner_tool=f"toolu_{process.uuid()}",
            inner_message=f"msg_{process.uuid()}",
            task=f"task_{process.uuid()}",
            run=f"run_{process.uuid()}",
            output_file=os.path.join(process.transcript.cwd, "task.output"),
            request=f"req_{process.uuid()}",
            block=0,
            resets=int(time.time()) + 3600,
        )

    def tell(self, **values: object) -> None:
        """Set values that a scene decides."""
        self._told.update({name: to_json(value) for name, value in values.items()})

    @property
    def said(self) -> str:
        """The text of the block that is being written."""
        self._said = ["".join(self._said)]
        return self._said[0]

    @said.setter
    def said(self, text: str) -> None:
        self._said = [text]

    def say(self, text: str) -> None:
        """Write on; a long answer would be slow as a string that grows."""
        self._said.append(text)

    def next_message(self) -> None:
        """The model begins another message."""
        self._process.requests += 1
        identity = f"msg_{self._process.uuid()}"
        self._requests.append(identity)
        self.tell(message=identity, requests=len(self._requests), block=0)

    def value(self, name: str) -> str:
        """The JSON text of a value."""
        if name == "uuid":  # In every line, and nothing in it to escape.
            return f'"{self._process.uuid()}"'
        momentary = self._momentary.get(name)
        return self._told[name] if momentary is None else to_json(momentary())

    def _usage(self) -> dict[str, int]:
        tokens = _TOKENS_OF_REQUEST * len(self._requests)
        cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        return {"input_tokens": tokens, **cached, "output_tokens": tokens}

    def _spent(self, requests: int) -> dict[str, dict[str, float]]:
        tokens = _TOKENS_OF_REQUEST * requests
        spent = {"inputTokens": tokens, "outputTokens": tokens, "costUSD": _cost(requests)}
        return {self._process.model: spent} if requests else {}

    def _next_index(self) -> int:
        self._process.results += 1
        return self._process.results - 1


def _cost(requests: int) -> float:
    return round(_COST_OF_REQUEST * requests, 6)
