"""Models, skills and MCP servers."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.schemas.base import Schema


class ModelReply(Schema):
    id = fields.String(metadata={"description": "What a question names it by."})
    model = fields.String(metadata={"description": "What that means now."})
    name = fields.String()
    description = fields.String()
    efforts = fields.List(fields.String())


class ModelsReply(Schema):
    models = fields.List(fields.Nested(ModelReply))
    count = fields.Integer()
    default = fields.String()


class SkillReply(Schema):
    name = fields.String()
    description = fields.String()


class SkillsReply(Schema):
    skills = fields.List(fields.Nested(SkillReply))
    count = fields.Integer()


class McpServerReply(Schema):
    name = fields.String()
    type = fields.String()


class McpReply(Schema):
    servers = fields.List(fields.Nested(McpServerReply))
    count = fields.Integer()
