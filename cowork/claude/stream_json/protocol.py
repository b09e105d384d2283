"""The CLI's stream-json, one JSON object a line, both ways.  Pure: bytes in, values out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import orjson

LINE_LIMIT = 16 * 2**20
# Of a line that is not read to its end: where its type and its tool's id are.
HEAD = 4096
RUN_LIMIT = 2**18
Message = dict[str, Any]
# An escaped backslash (kept), a pair of surrogates (kept), or a surrogate on its own.
_SURROGATES = re.compile(
    rb"(?i:\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2}))"
)

_STREAM_EVENT = b'{"type":"stream_event",'
# Nothing is tried twice (`*+`): that nearly halves what a token costs.
_STRING = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
_PLAIN_STRING = rb'"[^"\\\n]*+"'
# A whole line.  The delta's place in it depends on the version, and on who wrote the event.
_TEXT_DELTA = re.compile(
    rb'^\{"type":"stream_event","event":\{(?:"type":"content_block_delta",)?"index":[0-9]+,'
    rb'"delta":\{"type":"text_delta","text":(?!"")(%b)\}(?:,"type":"content_block_delta")?\},'
    rb'"session_id":%b,"parent_tool_use_id":null(?:,"[a-z_]++":(?:%b|null|[0-9.]++))*+\}\n'
    % (_STRING, _PLAIN_STRING, _PLAIN_STRING),
    re.MULTILINE,
)


# What a tool gave back to the model, such as a whole PDF: the answer does not need it.
_FOR_THE_MODEL = re.compile(
    rb'\{(?:"[a-z_]+":(?:%b|null|true|false|[0-9.]+),)*"type":"user"[,}]' % _STRING
)
_TOOL_USE_ID = re.compile(rb'"tool_use_id":"([^"\\\n]{1,256})"')


class LineTooLong(Exception):
    """A line that the answer may need grew past the limit without an end."""


class Lines:
    """Cuts blocks of a pipe into lines, holding at most one unfinished line of `limit` bytes.

    A longer one that the answer does not need is let go, and a short line that says so stands in
    its place.  Splits on LF alone: the CLI escapes U+2028 but not U+0085, where `splitlines` would
    cut too.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._rest: list[bytes] = []
        self._size = 0
        self._let_go = b""  # the head of the line whose rest is not kept

    def feed(self, block: bytes) -> bytes:
        """The lines that `block` completes, each with its end; raises `LineTooLong`."""
        if self._let_go:
            end = block.find(b"\n") + 1
            if not end:
                return b""
            cut, self._let_go = _cut_line(self._let_go), b""
            return cut + self.feed(block[end:])
        cut_at = block.rfind(b"\n") + 1
        if not cut_at:
            self._keep(block)
            return b""
        head = block[:cut_at]
        lines = b"".join((*self._rest, head)) if self._rest else head
        if len(lines) > self._limit:
            lines = b"\n".join(map(self._shortened, lines.split(b"\n")))
        self._rest, self._size = [], 0
        self._keep(block[cut_at:])
        return lines

    def _head(self) -> bytes:
        """Where the unfinished line begins, without a second copy of all of it."""
        head = b""
        for part in self._rest:
            head += part[: HEAD - len(head)]
            if len(head) == HEAD:
                break
        return head

    def _shortened(self, line: bytes) -> bytes:
        return _cut_line(line[:HEAD]).rstrip() if len(line) > self._limit else line

    def _keep(self, part: bytes) -> None:
        if part:
            self._rest.append(part)
            self._size += len(part)
            if self._size > self._limit:
                self._let_go = self._head()
                self._rest, self._size = [], 0
                _cut_line(self._let_go)


def _cut_line(head: bytes) -> bytes:
    """What stands in a too long line's place; raises `LineTooLong` where it cannot be spared."""
    if _FOR_THE_MODEL.match(head) is None:
        raise LineTooLong
    tool = _TOOL_USE_ID.search(head)
    block = {"type": "tool_result", "tool_use_id": tool and tool[1].decode(errors="replace")}
    return encode({"type": "user", "truncated": True, "message": {"content": [block]}})


class TextRun(NamedTuple):
    """Text deltas in a row: each one's JSON string, their text joined, and the whole lines."""

    literals: list[bytes]
    text: str
    lines: bytes


def text_run(lines: bytes) -> TextRun | None:
    """The main agent's text deltas, where `lines` holds nothing else; None for the slow way.

    This is what makes a relay fast: nearly all that a CLI writes are such lines, and a regular
    expression takes a block of them apart in a third of the time of parsing each.
    """
    if not lines.startswith(_STREAM_EVENT) or len(lines) > RUN_LIMIT:
        return None
    literals = _TEXT_DELTA.findall(lines)
    if not literals or len(literals) != lines.count(b"\n"):
        return None
    try:
        if len(literals) == 1:
            return TextRun(literals, orjson.loads(literals[0]), lines)
        return TextRun(literals, "".join(orjson.loads(b"[%b]" % b",".join(literals))), lines)
    except orjson.JSONDecodeError:
        return None


def parts(lines: bytes) -> Iterator[TextRun | bytes]:
    """What is in a block of whole lines, in order: runs of text deltas, and other lines alone.

    A block of nothing but text is `text_run`'s, at a fraction of the cost.
    """
    for is_delta, found in groupby(lines.split(b"\n")[:-1], _looks_like_a_delta):
        group = list(found)
        run = text_run(b"\n".join((*group, b""))) if is_delta else None
        yield from group if run is None else (run,)


def _looks_like_a_delta(line: bytes) -> bool:
    return b'"delta":{"type":"text_delta"' in line[:100]


def parse(line: bytes) -> Message | None:
    """The message of one line, or None for what is not one (garbage is the caller's to count)."""
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        message = _mended(line)
    return message if isinstance(message, dict) and isinstance(message.get("type"), str) else None


def _mended(line: bytes) -> Any:
    """The value of a line that something else was printed before, or that has half a character.

    Half a pair of surrogates becomes U+FFFD, but in what the model is writing: `whole_text` waits
    for the other half.
    """
    begin = line.find(b'{"')
    if begin < 0:
        return None
    line = line[begin:]
    whole = _SURROGATES.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)
    try:
        value = orjson.loads(whole)
        if whole != line and isinstance(value, dict) and value.get("type") == "stream_event":
            value = json.loads(line)
    except ValueError:
        return None
    return value


def whole_text(text: str) -> tuple[str, str]:
    """A text without half a character at its end, and that half; other halves become U+FFFD."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    text = text[: len(text) - len(half)]
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text, half


def encode(message: Message) -> bytes:
    """One line for the CLI's stdin; a bad line would kill it, so this is the only way to make one.

    A lone surrogate, which orjson refuses, goes as its JSON escape; the CLI reads it as U+FFFD.
    """
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return json.dumps(message).encode() + b"\n"


def user_message(content: str | list[Any], uuid: str) -> Message:
    """A question, as text or content blocks; the CLI silently drops a `uuid` that it has seen."""
    return {"type": "user", "message": {"role": "user", "content": content}, "uuid": uuid}


def control_request(request_id: str, subtype: str, **fields: Any) -> Message:
    """A control request: `initialize`, `interrupt`, `set_model`, ..."""
    return {
        "type": "control_request",
        "request_id": request_id,
        "request": {"subtype": subtype, **fields},
    }


def control_refusal(request_id: Any) -> Message:
    """Our answer to a control request of the CLI's that we do not serve."""
    response = {"subtype": "error", "request_id": request_id, "error": "refused"}
    return {"type": "control_response", "response": response}


def control_answer(request_id: str, answer: Mapping[str, Any]) -> Message:
    """Our answer to a control request of the CLI's."""
    response = {"subtype": "success", "request_id": request_id, "response": answer}
    return {"type": "control_response", "response": response}


def offers_remote_control(begun: Any) -> bool | None:
    """Whether a CLI says, as it begins, that it can be steered from elsewhere; None if nothing."""
    if not isinstance(begun, dict):
        return None
    told = [begun.get(f"remote_control_{name}") for name in ("available", "auto_enable")]
    return None if told == [None, None] else True in told


def content_blocks(message: Message) -> Iterator[Message]:
    """The content blocks of an `assistant` or `user` message, whatever shape it came in."""
    body = message.get("message")
    content = body.get("content") if isinstance(body, dict) else None
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict))


def text_of(content: Any) -> str:
    """The text of a tool result's content: a string, or a list of text blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (block.get("text", "") for block in content if isinstance(block, dict))
        return "\n".join(text for text in texts if isinstance(text, str) and text)
    return ""
