"""A flask-smorest blueprint that validates requests and documents routes our way."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import marshmallow
from flask import Request, Response
from flask.globals import request_ctx
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError

from cowork.web.problems import InvalidBody, faults_of
from cowork.web.request_parsing import read_json
from cowork.web.schemas.problems import ValidationReply


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

    def body(self, schema: type[Schema]) -> Any:
        """Document a body, which the route reads itself."""
        document = super().arguments(schema())
        return lambda route: _documented(route, document(route))

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
