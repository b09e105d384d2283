"""Models, in the shape of other APIs."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.schemas.base import Schema


class CompatibleModel(Schema):
    """OpenAI's keys and Anthropic's."""

    id = fields.String(metadata={"description": "What a request names it by."})
    object = fields.String()
    created = fields.Integer(metadata={"description": "Always the same: it is not known."})
    owned_by = fields.String()
    type = fields.String()
    display_name = fields.String()
    created_at = fields.String()


class CompatibleModelList(Schema):
    object = fields.String()
    data = fields.List(fields.Nested(CompatibleModel))
    has_more = fields.Boolean(metadata={"description": "Always false."})
    first_id = fields.String(allow_none=True)
    last_id = fields.String(allow_none=True)
