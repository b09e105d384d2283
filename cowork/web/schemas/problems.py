"""Errors."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.schemas.base import Schema


class Problem(Schema):
    """Every error that is not a validation error."""

    error = fields.String(metadata={"description": "One sentence for a person."})
    code = fields.String(metadata={"description": "Stable; `docs/api.md` has the table."})


class ProblemReply(Schema):
    detail = fields.Nested(Problem)


class Fault(Schema):
    """One thing that is wrong with a request."""

    type = fields.String()
    loc = fields.List(fields.Raw(), metadata={"description": "Where: `body`, then the key."})
    msg = fields.String()


class ValidationReply(Schema):
    detail = fields.List(fields.Nested(Fault))
