"""Reading request bodies: JSON or 415, bounded whether declared or chunked, faults as a list."""

from __future__ import annotations

from typing import Any, NoReturn

import marshmallow
import orjson
from flask import Request, current_app
from flask_smorest import Blueprint
from marshmallow import ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from cowork.web.problems import InvalidBody, faults_of
from cowork.web.schemas import ValidationReply


def read_json(request: Request) -> Any:
    """The body's JSON value, `{}` where there is no body.

    Raises 415 for a body that does not call itself JSON, 413 over COWORK_MAX_BODY and
    `InvalidBody` for what is no JSON object.
    """
    limit = current_app.config["COWORK_MAX_BODY"]
    # One byte more than allowed: werkzeug cuts a chunked body silently at its limit.
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    if len(body) > limit:
        raise RequestEntityTooLarge
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
    return value


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
        """As flask-smorest's, documented with our shape of a validation error."""
        parse = super().arguments(schema, **options)
        document = self.alt_response(
            422, schema=ValidationReply, description="The request does not fit its schema"
        )
        return lambda route: document(parse(route))
