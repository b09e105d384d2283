"""What a question may bring, and its answer."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.claude.launch_options import REQUESTED_MODES
from cowork.claude.turn_options import EFFORTS
from cowork.web.attachments import Attachments
from cowork.web.fields import (
    MAX_NAME_LENGTH,
    NAME_PATTERN,
    Choices,
    JsonObject,
    Text,
    Texts,
    at_most,
    not_blank,
    printable,
    valid_name,
)
from cowork.web.schemas.base import _NAME, EVENTS, MAX_LABEL_BYTES, ON_BUSY_CHANGE, Schema

MAX_PROMPT_LENGTH = 100_000
ON_BUSY = (*ON_BUSY_CHANGE, "steer")
# What a request adds to a server's deny rules, and the names of tool servers.
MAX_RULES = 50
MAX_SERVERS = 50
MAX_MODEL_TURNS = 1000
MAX_APPROVAL_TIMEOUT_S = 86_400


class AskBody(Schema):
    """A question to a project."""

    project_name = Text(
        required=True,
        validate=valid_name,
        metadata={
            "description": "Its session is begun by its first question.",
            "examples": ["my-project"],
            "minLength": 1,
            "maxLength": MAX_NAME_LENGTH,
            "pattern": NAME_PATTERN,
        },
    )
    question = Text(
        limit=None,
        required=True,
        validate=not_blank,
        metadata={"examples": ["What is 2+2?"], "minLength": 1, "pattern": r"\S"},
    )
    user_id = Text(limit=MAX_LABEL_BYTES, load_default="default_user", allow_none=True)
    message_type = Text(limit=MAX_LABEL_BYTES, load_default="@xo", allow_none=True)
    agent_type = Text(
        limit=MAX_LABEL_BYTES,
        load_default=None,
        allow_none=True,
        metadata={"description": "A Claude skill's name; `Code_Writer` means `code-writer`."},
    )
    events = Choices(
        EVENTS,
        load_default=None,
        allow_none=False,
        metadata={"description": "Which events besides tokens the stream should carry."},
    )

    on_busy = Text(
        load_default="queue",
        validate=validate.OneOf(ON_BUSY),
        metadata={"description": "What to do while the project answers another question."},
    )
    timeout = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(min=0, min_inclusive=False),
        metadata={"description": "Seconds; may only shorten the server's CLAUDE_TIMEOUT."},
    )
    system_prompt = Text(
        limit=None,
        load_default=None,
        allow_none=True,
        validate=at_most(MAX_PROMPT_LENGTH),
        metadata={
            "description": "Appended to the CLI's own, for this question.",
            "maxLength": MAX_PROMPT_LENGTH,
        },
    )
    output_schema = JsonObject(
        load_default=None,
        allow_none=True,
        metadata={
            "type": "object",
            "description": "A JSON schema; the answer is then a value that fits it.",
        },
    )
    permission_mode = Text(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(REQUESTED_MODES),
        metadata={"description": "Not wider than the server's COWORK_PERMISSION_MODE."},
    )
    model = Text(
        limit=100,
        load_default=None,
        allow_none=True,
        validate=printable,
        metadata={"description": "An `id` of `GET /models`, or a full id; for this question."},
    )
    effort = Text(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(EFFORTS),
        metadata={"description": "For this question; among the model's own."},
    )
    attachments = Attachments(load_default=None, allow_none=True)
    max_turns = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, MAX_MODEL_TURNS),
        metadata={"description": "How often the model may be asked."},
    )
    max_budget_usd = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(min=0, min_inclusive=False),
        metadata={"description": "Of this turn; looked at after each request to the model."},
    )
    disallowed_tools = Texts(
        Text(validate=valid_name, metadata=_NAME),
        most=MAX_RULES,
        load_default=None,
        allow_none=True,
        metadata={"description": "Tools or deny rules of the CLI's, besides the server's own."},
    )
    mcp_servers = Texts(
        Text(limit=MAX_LABEL_BYTES, validate=printable),
        most=MAX_SERVERS,
        load_default=None,
        allow_none=True,
        metadata={"description": "Names of `GET /mcp`."},
    )
    approvals = fields.Boolean(
        load_default=None,
        allow_none=True,
        truthy={True},
        falsy={False},
        metadata={"description": "Ask a person before a tool runs that may not by itself."},
    )
    approval_timeout = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MAX_APPROVAL_TIMEOUT_S),
        metadata={"description": "Seconds until an approval is denied."},
    )


class AskHeaders(Schema):
    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        metadata={
            "description": "Makes a retry find what its first try has begun.",
            "minLength": 1,
            "maxLength": 255,
            "pattern": r"^[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*$",
        },
    )


class AskReply(Schema):
    """The answer of the non-streaming endpoint."""

    steered = fields.Boolean(
        metadata={"description": "The question was said to a turn that ran; this is its answer."}
    )
    id = fields.Raw(dump_default=None, metadata={"description": "Always null."})
    message = fields.String()
    project_id = fields.String()
    user_id = fields.String(allow_none=True)
    session_id = fields.String()
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    session_moved = fields.Boolean(metadata={"description": "To a machine without its directory."})
    timestamp = fields.String(metadata={"description": "ISO 8601."})
    turn_id = fields.String()
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    structured_output = fields.Raw(metadata={"description": "Where `output_schema` was sent."})
    model = fields.String(allow_none=True)
    stop_reason = fields.String(allow_none=True)
    usage_by_model = fields.Dict(allow_none=True)
    permission_denials = fields.List(fields.Dict())
    files_changed = fields.List(fields.String())
