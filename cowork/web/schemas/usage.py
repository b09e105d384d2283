"""What turns took."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.model import UsageBy
from cowork.web.fields import Day, Text
from cowork.web.schemas.base import Schema


class UsageQuery(Schema):
    by = Text(
        load_default=UsageBy.DAY.value,
        validate=validate.OneOf([each.value for each in UsageBy]),
        metadata={"description": "What it is summed by."},
    )
    first = Day(
        data_key="from",
        load_default=None,
        metadata={"description": "Without it: 29 days before `to`. At most 400 days before it."},
    )
    last = Day(
        data_key="to",
        load_default=None,
        metadata={"description": "The last day, in UTC; without it: today."},
    )


class UsageNumbers(Schema):
    turns = fields.Integer(
        metadata={"description": "By model, a turn counts for the one that cost most in it."}
    )
    input_tokens = fields.Integer()
    output_tokens = fields.Integer()
    cache_read_tokens = fields.Integer()
    cache_write_tokens = fields.Integer()
    cost_usd = fields.Float()


class UsagePlace(Schema):
    day = fields.String(metadata={"description": "YYYY-MM-DD, in UTC."})
    project = fields.String(
        allow_none=True,
        metadata={"description": "null for conversations without a name, of one key together."},
    )
    key = fields.String(
        allow_none=True,
        metadata={"description": "The key's name; null for turns that came without a key."},
    )
    model = fields.String(
        allow_none=True, metadata={"description": "null where the CLI does not tell."}
    )


class UsageRowReply(UsageNumbers, UsagePlace):
    """What the turns of one day, project, key or model took together."""


class UsageReply(Schema):
    usage = fields.List(fields.Nested(UsageRowReply))
    count = fields.Integer()
    total = fields.Nested(UsageNumbers, metadata={"description": "Of rows that are cut off too."})
    first = fields.String(data_key="from", metadata={"description": "The first day."})
    last = fields.String(data_key="to", metadata={"description": "The last day."})
    truncated = fields.Boolean(
        metadata={"description": "Where there are more rows than the 1000 that cost most."}
    )
