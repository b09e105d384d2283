"""Reads request bodies: JSON or 415, bounded whether declared or chunked, each key once."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import orjson
from flask import Request
from flask.globals import app_ctx
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    RequestEntityTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

from cowork.runtime.quota import SMALL_BODY_BYTES
from cowork.web.problems import InvalidBody
from cowork.web.transfer_limits import count_body

# A larger body is read by its outline alone, in which each longer string is cut out.
OUTLINE_ABOVE_BYTES = 64 * 1024
LONG_STRING_BYTES = 128
# What a body may hold besides its long strings: more than any schema takes, indented or not.
MAX_OUTLINE_BYTES = 512 * 1024
# It begins wherever the one before has ended, closed or not, so that no byte is read twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def read_json(request: Request) -> Any:
    """The body's JSON value, `{}` where there is no body.

    Raises 415 for a body that does not call itself JSON, 413 over COWORK_MAX_BODY, 408 for one
    that comes too slowly, 400 for one that does not come whole, and `InvalidBody` for what is no
    JSON object.
    """
    body = _read_body(request)
    if not body or body.isspace():
        return {}
    if not request.is_json:
        raise UnsupportedMediaType
    body = body.removeprefix(codecs.BOM_UTF8)
    if not json.detect_encoding(body).startswith("utf-8"):  # its outline would say nothing
        raise InvalidBody([_not_utf8(0)])
    outline = _outline(body) if len(body) > OUTLINE_ABOVE_BYTES else body
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise InvalidBody([_json_fault(body, fault)]) from fault
    if not isinstance(value, dict):
        sentence = "Input should be a JSON object"
        raise InvalidBody([{"type": "dict_type", "loc": ["body"], "msg": sentence}])
    if _repeats_a_key(outline):
        sentence = "Input should have each key once"
        raise InvalidBody([{"type": "json_invalid", "loc": ["body"], "msg": sentence}])
    return value


def _json_fault(body: bytes | bytearray, fault: orjson.JSONDecodeError) -> dict[str, Any]:
    """What is wrong with the body: it is no text in UTF-8, or no JSON."""
    try:
        body.decode()
    except UnicodeDecodeError as undecodable:
        return _not_utf8(undecodable.start)
    return {"type": "json_invalid", "loc": ["body", fault.pos], "msg": fault.msg}


def _not_utf8(at: int) -> dict[str, Any]:
    return {"type": "json_invalid", "loc": ["body", at], "msg": "the body is not UTF-8"}


def _read_all(request: Request) -> bytes | bytearray:
    """All of the body; a large one is counted as it comes.  Raises `AtCapacity`."""
    if request.content_length is not None and request.content_length <= SMALL_BODY_BYTES:
        return request.get_data(cache=False)
    counted, body = count_body(), bytearray()
    while piece := request.stream.read(SMALL_BODY_BYTES):
        body += piece
        counted.grow(len(body))
    return body


def _read_body(request: Request) -> bytes | bytearray:
    limit = app_ctx.app.config["COWORK_MAX_BODY"]
    # One byte more than allowed: werkzeug cuts a chunked body silently at its limit.
    request.max_content_length = limit + 1
    try:
        body = _read_all(request)
    except ClientDisconnected as fault:
        if isinstance(fault.__context__, TimeoutError):
            raise RequestTimeout from fault
        raise
    if len(body) > limit:
        raise RequestEntityTooLarge
    if len(body) < (request.content_length or 0):
        raise BadRequest  # its end was cut off, and what is left may mean something else
    return body


def _outline(body: bytes | bytearray) -> bytes | bytearray:
    """The body with each long string replaced by a short one that nothing else in it equals.

    Found before anything is made of the body, whose values take fifty times the bytes where they
    are short.  Raises `InvalidBody` for an outline of more than `MAX_OUTLINE_BYTES` bytes.
    """
    parts: list[bytes | bytearray] = []
    size = begin = 0
    for found in _STRING.finditer(body):
        first, last = found.span()
        if size + first - begin > MAX_OUTLINE_BYTES:
            break
        if last - first > LONG_STRING_BYTES:
            parts += (body[begin:first], b'"%d"' % first)
            size += first - begin + len(parts[-1])
            begin = last
    if size + len(body) - begin > MAX_OUTLINE_BYTES:
        sentence = f"Input should have at most {MAX_OUTLINE_BYTES} bytes besides its long texts"
        raise InvalidBody([{"type": "too_long", "loc": ["body"], "msg": sentence}])
    return b"".join((*parts, body[begin:]))


def _repeats_a_key(text: bytes | bytearray) -> bool:
    """Whether an object of this JSON names a key twice: orjson takes the last, others the first."""
    try:
        _KEYS.decode(text.decode())
    except _RepeatedError:
        return True
    except RecursionError as fault:
        sentence = "Input is nested too deeply"
        raise InvalidBody([{"type": "json_invalid", "loc": ["body"], "msg": sentence}]) from fault
    return False


class _RepeatedError(Exception):
    pass


def _check_distinct(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _RepeatedError


_KEYS = json.JSONDecoder(object_pairs_hook=_check_distinct)
