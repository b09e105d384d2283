"""Reading request bodies: JSON or 415, bounded whether declared or chunked, faults as a list."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import marshmallow
import orjson
from flask import Request, Response, current_app
from flask.globals import request_ctx
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    RequestEntityTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

from cowork.runtime.quota import SMALL
from cowork.web.problems import InvalidBody, faults_of
from cowork.web.schemas import ValidationReply
from cowork.web.transfer_limits import count_body

# A string of more bytes than this is a text: neither a key of ours nor worth a second look.
LONG = 1024
# What a body may hold besides its long strings: more than any schema takes, indented or not.
OUTLINE = 512 * 1024
# With more keys than any client sends, looking for each costs more than reading all of it again.
MANY = 32
# It begins wherever the one before has ended, closed or not, so that no byte is read twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def read_json(request: Request) -> Any:
    """The body's JSON value, `{}` where there is no body.

    Raises 415 for a body that does not call itself JSON, 413 over COWORK_MAX_BODY, 408 for one
    that comes too slowly, 400 for one that does not come whole, and `InvalidBody` for what is no
    JSON object.
    """
    body = _read(request)
    if not body or body.isspace():
        return {}
    if not request.is_json:
        raise UnsupportedMediaType
    outline = _outline(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        place = ["body", fault.pos]
        raise InvalidBody([{"type": "json_invalid", "loc": place, "msg": fault.msg}]) from fault
    if not isinstance(value, dict):
        sentence = "Input should be a JSON object"
        raise InvalidBody([{"type": "dict_type", "loc": ["body"], "msg": sentence}])
    if _repeats_a_key(outline, value):
        sentence = "Input should have each key once"
        raise InvalidBody([{"type": "json_invalid", "loc": ["body"], "msg": sentence}])
    return value


def _whole(request: Request) -> bytes | bytearray:
    """All of the body; a large one is counted as it comes.  Raises `AtCapacity`."""
    if request.content_length is not None and request.content_length <= SMALL:
        return request.get_data(cache=False)
    counted, body = count_body(), bytearray()
    while piece := request.stream.read(SMALL):
        body += piece
        counted.grow(len(body))
    return body


def _read(request: Request) -> bytes | bytearray:
    limit = current_app.config["COWORK_MAX_BODY"]
    # One byte more than allowed: werkzeug cuts a chunked body silently at its limit.
    request.max_content_length = limit + 1
    try:
        body = _whole(request)
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
    are short.  Raises `InvalidBody` for an outline of more than `OUTLINE` bytes.
    """
    if len(body) <= LONG:
        return body
    parts: list[bytes | bytearray] = []
    size = begin = 0
    for found in _STRING.finditer(body):
        first, last = found.span()
        if size + first - begin > OUTLINE:
            break
        if last - first > LONG:
            parts += (body[begin:first], b'"%d"' % first)
            size += first - begin + len(parts[-1])
            begin = last
    if size + len(body) - begin > OUTLINE:
        sentence = f"Input should have at most {OUTLINE} bytes besides its long texts"
        raise InvalidBody([{"type": "too_long", "loc": ["body"], "msg": sentence}])
    return b"".join((*parts, body[begin:]))


def _repeats_a_key(outline: bytes | bytearray, value: dict[str, Any]) -> bool:
    """Whether an object names a key twice: orjson takes the last, others take the first.

    Only an outline that can name a key twice is read again.
    """
    if not _may_repeat(outline, value):
        return False
    try:
        json.loads(outline, object_pairs_hook=_distinct)
    except _RepeatedError:
        return True
    except RecursionError as fault:
        sentence = "Input is nested too deeply"
        raise InvalidBody([{"type": "json_invalid", "loc": ["body"], "msg": sentence}]) from fault
    return False


class _RepeatedError(Exception):
    pass


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _RepeatedError


def _may_repeat(outline: bytes | bytearray, value: dict[str, Any]) -> bool:
    """Whether an object within, or an escape, may hide a key that is written more than once."""
    nested = any(isinstance(item, dict | list) for item in value.values())
    if nested or b"\\" in outline or len(value) > MANY:
        return True
    return any(outline.count(orjson.dumps(key)) > 1 for key in value)


class CoworkBlueprint(Blueprint):
    """A flask-smorest blueprint that reads requests our way.

    What only documents a route costs nothing when it is called.
    """

    def arguments(self, schema: type[Schema], *, location: str = "json", **options: Any) -> Any:
        """As flask-smorest's, with our reading and our faults; `location` is a key of `_READ`.

        One instance of `schema` serves all requests, since to make one costs as much as all that
        is done with it.
        """
        wanted = schema()
        document = super().arguments(wanted, location=location, **options)

        def decorate(route: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(route)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return route(*args, _load(wanted, location), **kwargs)

            return _documented(wrapper, document(route))

        refused = self.alt_response(
            422, schema=ValidationReply, description="The request does not fit its schema"
        )
        return lambda route: refused(decorate(route))

    def headers(self, schema: type[Schema]) -> Any:
        """Document headers, which the route reads itself."""
        document = super().arguments(schema(), location="headers")
        return lambda route: _documented(route, document(route))

    def response(self, *args: Any, **kwargs: Any) -> Any:
        """As flask-smorest's, which a reply that is ready-made does not go through."""
        document = super().response(*args, **kwargs)
        shape = document(lambda value: value)

        def decorate(route: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(route)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                found = route(*args, **kwargs)
                return found if isinstance(found, Response) else shape(found)

            return _documented(wrapper, document(route))

        return decorate

    def alt_response(self, *args: Any, **kwargs: Any) -> Any:
        """As flask-smorest's."""
        document = super().alt_response(*args, **kwargs)
        return lambda route: _documented(route, document(route))


def _documented(route: Callable[..., Any], by: Any) -> Callable[..., Any]:
    """The route, with what flask-smorest wrote down of it on a wrapper of its own."""
    vars(route)["_apidoc"] = vars(by)["_apidoc"]
    return route


_READ: dict[str, Callable[[Request], Any]] = {
    "json": read_json,
    "query": lambda asked: asked.args.to_dict(),
}


def _load(wanted: Schema, location: str) -> Any:
    """What the request says there; keys that the schema does not know are ignored.

    The old service did that.  Raises `InvalidBody`, and what `read_json` does.
    """
    given = _READ[location](request_ctx.request)
    try:
        return wanted.load(given, unknown=marshmallow.EXCLUDE)
    except ValidationError as fault:
        raise InvalidBody(faults_of(ValidationError({location: fault.messages}))) from fault
