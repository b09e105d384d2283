"""What the schemas have in common."""

from __future__ import annotations

from typing import Self

import marshmallow
from marshmallow import fields

from cowork.web.fields import MAX_NAME_LENGTH, NAME_PATTERN

# Of the texts that name somebody or something.
MAX_LABEL_BYTES = 1024
# Of a value in a query string, which is bounded as a whole by the request line.
MAX_QUERY_BYTES = 128
# What a fork or a rewind does in a busy project, and a question.
ON_BUSY_CHANGE = ("queue", "reject", "interrupt")
EVENTS = ("tool", "thinking", "status", "approval", "usage", "subagent", "todo")
_NAME = {"minLength": 1, "maxLength": MAX_NAME_LENGTH, "pattern": NAME_PATTERN}
DEFAULT_PAGE, MAX_PAGE = 50, 200
NOT_DONE = "Another worker answers the project; nothing was done"


class Schema(marshmallow.Schema):
    """Not copied, as it never changes: flask-smorest would with each word on a route."""

    def __deepcopy__(self, _memo: object) -> Self:
        return self


class MessageReply(Schema):
    success = fields.Boolean()
    message = fields.String()
