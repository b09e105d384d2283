"""A scene in the shapes of the Messages API: server-sent events, one JSON message, an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from cowork.demo.directives import ToolCall
from cowork.demo.script import BREAK_AFTER, Failure, Scene

LAST_EVENT = "message_stop"
"""After this event an answer is whole."""

_BYTES_PER_TOKEN = 4
_JSON_PIECE = 24
# The service signs its thoughts; nobody checks the signature here.
_SIGNATURE = "ZGVtbw=="


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a reply says about its request."""

    model: str
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a stream, when to send it and the piece of text that it carries."""

    event: str
    data: dict[str, Any]
    wait_s: float = 0.0
    word: str | None = None

    @property
    def usage(self) -> dict[str, int] | None:
        """The tokens that it tells of."""
        found: dict[str, int] | None = self.data.get("message", self.data).get("usage")
        return found

    def frame(self) -> bytes:
        """The event as it goes over the wire."""
        data = orjson.dumps({"type": self.event, **self.data})
        return b"event: %s\ndata: %s\n\n" % (self.event.encode(), data)


def tokens(size: int) -> int:
    """A guess, good enough for a bill nobody pays: how many tokens so many bytes are."""
    return max(1, size // _BYTES_PER_TOKEN)


def steps(scene: Scene, envelope: Envelope) -> Iterator[Step]:
    """The events of a streamed answer; they end early where the scene is cut."""
    message = _message(envelope, content=[], stop_reason=None, output_tokens=1)
    yield Step("message_start", {"message": message})
    yield Step("ping", {})
    index = 0
    if scene.thoughts:
        yield from _thinking(index, scene)
        index += 1
    if scene.text:
        yield from _text(index, scene)
        index += 1
    if scene.cut:
        return
    for call in scene.tools:
        yield from _tool(index, call)
        index += 1
    delta = {"stop_reason": scene.stop_reason, "stop_sequence": None}
    usage = {"output_tokens": _output_tokens(scene)}
    yield Step("message_delta", {"delta": delta, "usage": usage})
    yield Step(LAST_EVENT, {})


def whole(scene: Scene, envelope: Envelope) -> dict[str, Any]:
    """The answer as one JSON message."""
    content: list[dict[str, Any]] = []
    if scene.thoughts:
        thought = "".join(scene.thoughts)
        content.append({"type": "thinking", "thinking": thought, "signature": _SIGNATURE})
    if scene.text:
        content.append({"type": "text", "text": "".join(scene.text)})
    content += [{**_tool_use(call), "input": call.arguments} for call in scene.tools]
    return _message(
        envelope,
        content=content,
        stop_reason=scene.stop_reason,
        output_tokens=_output_tokens(scene),
    )


def error(failure: Failure) -> dict[str, Any]:
    """The body of an HTTP error."""
    return {
        "type": "error",
        "error": {"type": failure.kind, "message": failure.message},
        "request_id": request_id(),
    }


def request_id() -> str:
    """A fresh name for a request, as the service gives one."""
    return _fresh("req")


def _fresh(prefix: str) -> str:
    """A name that no other run has given: the CLI keeps them in transcripts for ever."""
    return f"{prefix}_demo{uuid4().hex[:20]}"


def _message(
    envelope: Envelope,
    *,
    content: Sequence[dict[str, Any]],
    stop_reason: str | None,
    output_tokens: int,
) -> dict[str, Any]:
    return {
        "id": _fresh("msg"),
        "type": "message",
        "role": "assistant",
        "model": envelope.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": envelope.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
        },
    }


def _output_tokens(scene: Scene) -> int:
    called = sum(len(json.dumps(call.arguments)) for call in scene.tools)
    return tokens(called + sum(map(len, scene.thoughts)) + sum(map(len, scene.text)))


def _start(index: int, block: dict[str, Any]) -> Step:
    return Step("content_block_start", {"index": index, "content_block": block})


def _delta(
    index: int, kind: str, key: str, value: str, *, wait_s: float = 0.0, word: str | None = None
) -> Step:
    data = {"index": index, "delta": {"type": kind, key: value}}
    return Step("content_block_delta", data, wait_s, word)


def _stop(index: int, wait_s: float = 0.0) -> Step:
    return Step("content_block_stop", {"index": index}, wait_s)


def _thinking(index: int, scene: Scene) -> Iterator[Step]:
    yield _start(index, {"type": "thinking", "thinking": "", "signature": ""})
    for thought in scene.thoughts:
        yield _delta(index, "thinking_delta", "thinking", thought, wait_s=scene.delay_s)
    yield _delta(index, "signature_delta", "signature", _SIGNATURE)
    yield _stop(index)


def _text(index: int, scene: Scene) -> Iterator[Step]:
    """A text block. The first word waits for nothing, so that a first look is a quick one."""
    yield _start(index, {"type": "text", "text": ""})
    stall_at = min(BREAK_AFTER, len(scene.text))
    for number, word in enumerate(scene.text):
        if scene.cut and number == stall_at:
            return
        wait_s = (scene.delay_s if number else 0.0) + (scene.stall_s if number == stall_at else 0.0)
        yield _delta(index, "text_delta", "text", word, wait_s=wait_s, word=word)
    if not scene.cut:
        yield _stop(index, scene.stall_s if stall_at == len(scene.text) else 0.0)


def _tool(index: int, call: ToolCall) -> Iterator[Step]:
    """A tool call. Its arguments come in fragments, the first of which is empty."""
    yield _start(index, {**_tool_use(call), "input": {}})
    text = json.dumps(call.arguments)
    for at in (-_JSON_PIECE, *range(0, len(text), _JSON_PIECE)):
        piece = text[at : at + _JSON_PIECE] if at >= 0 else ""
        yield _delta(index, "input_json_delta", "partial_json", piece)
    yield _stop(index)


def _tool_use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": _fresh("toolu"), "name": call.name}
