"""The XO browser login."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.fields import Json, Text, not_blank
from cowork.web.schemas.base import Schema


class AuthStartBody(Schema):
    scopes = Json(load_default=None, allow_none=True)
    client_reference = Text(load_default=None, allow_none=True)


class AuthConsumeBody(Schema):
    auth_session_id = Text(load_default=None, allow_none=True)
    poll_token = Text(load_default=None, allow_none=True)


class AuthStatusQuery(Schema):
    poll_token = Text(
        required=True,
        validate=not_blank,
        metadata={"minLength": 1, "pattern": r"\S"},
    )


class AuthConsumeReply(Schema):
    success = fields.Boolean()
    message = fields.String()
    user_id = fields.String(allow_none=True)
    expires_in = fields.Raw(allow_none=True)
    scope = fields.Raw(allow_none=True)


class WhoamiReply(Schema):
    success = fields.Boolean()
    user_id = fields.String(allow_none=True)
