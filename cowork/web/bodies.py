"""Reading request bodies: JSON or 415, bounded whether declared or chunked, faults as a list."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import marshmallow
import orjson
from flask import Request, current_app
from flask_smorest import Blueprint
from marshmallow import ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    RequestEntityTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

from cowork.web.problems import InvalidBody, faults_of
from cowork.web.schemas import ValidationReply

# Up to this size a body is simply read a second time, with an eye on its keys.
SMALL = 4096
LARGE = 2**20
# More keys than any client sends; each costs a look through the whole of a large body.
MANY = 32


def read_json(request: Request) -> Any:
    """The body's JSON value, `{}` where there is no body.

    Raises 415 for a body that does not call itself JSON, 413 over COWORK_MAX_BODY, 408 for one
    that comes too slowly, 400 for one that does not come whole, and `InvalidBody` for what is no
    JSON object.
    """
    body = _read(request)
    if not body.strip():
        return {}
    if not request.is_json:
        raise UnsupportedMediaType
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        place = ["body", fault.pos]
        raise InvalidBody([{"type": "json_invalid", "loc": place, "msg": fault.msg}]) from fault
    if not isinstance(value, dict):
        sentence = "Input should be a JSON object"
        raise InvalidBody([{"type": "dict_type", "loc": ["body"], "msg": sentence}])
    if _repeats_a_key(body, value):
        sentence = "Input should have each key once"
        raise InvalidBody([{"type": "json_invalid", "loc": ["body"], "msg": sentence}])
    return value


def _read(request: Request) -> bytes:
    limit = current_app.config["COWORK_MAX_BODY"]
    # One byte more than allowed: werkzeug cuts a chunked body silently at its limit.
    request.max_content_length = limit + 1
    try:
        body = request.get_data(cache=False)
    except ClientDisconnected as fault:
        if isinstance(fault.__context__, TimeoutError):
            raise RequestTimeout from fault
        raise
    if len(body) > limit:
        raise RequestEntityTooLarge
    if len(body) < (request.content_length or 0):
        raise BadRequest  # its end was cut off, and what is left may mean something else
    return body


def _repeats_a_key(body: bytes, value: dict[str, Any]) -> bool:
    """Whether an object names a key twice: orjson takes the last, others take the first.

    In a large body only what can name a key twice is read again.
    """
    if len(body) > SMALL and not _may_repeat(body, value):
        return False
    try:
        json.loads(body, object_pairs_hook=_distinct)
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


def _may_repeat(body: bytes, value: dict[str, Any]) -> bool:
    """Whether a top-level key is written more than once, or hides behind escapes.

    Objects within are nobody's business here but the upstream's; in a body of megabytes neither
    are escapes, which every text that is not English has.
    """
    nested = any(isinstance(item, dict | list) for item in value.values())
    if len(body) <= LARGE and (nested or b"\\u" in body or len(value) > MANY):
        return True
    if len(value) > MANY:
        sentence = f"Input should have at most {MANY} keys"
        raise InvalidBody([{"type": "too_long", "loc": ["body"], "msg": sentence}])
    return any(body.count(orjson.dumps(key)) > 1 for key in value)


class Parser(FlaskParser):
    """webargs, with our reading and our faults."""

    # Keys that a schema does not know are ignored everywhere: the old service did.
    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - webargs' own form
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "json": marshmallow.EXCLUDE,
    }

    def load_json(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002
        return read_json(req)

    def handle_error(
        self, error: ValidationError, req: Request, schema: marshmallow.Schema, **_kwargs: Any
    ) -> NoReturn:
        del req, schema
        raise InvalidBody(faults_of(error)) from error


class CoworkBlueprint(Blueprint):
    """A flask-smorest blueprint that reads bodies our way."""

    ARGUMENTS_PARSER = Parser()

    def arguments(self, schema: Any, **options: Any) -> Any:
        """As flask-smorest's, documented with our shape of a validation error.

        `schema` is a class; one instance serves all requests, since to make one costs as much as
        all that is done with it.
        """
        parse = super().arguments(schema(), **options)
        document = self.alt_response(
            422, schema=ValidationReply, description="The request does not fit its schema"
        )
        return lambda route: document(parse(route))
