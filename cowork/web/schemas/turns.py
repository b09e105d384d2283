"""Turns: as they stand, lists of them, their events, what is said to them."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.turns.steers import TEXT_LIMIT_BYTES
from cowork.web.fields import Text, not_blank
from cowork.web.schemas.base import DEFAULT_PAGE, EVENTS, MAX_PAGE, MAX_QUERY_BYTES, Schema

TURN_STATES = ("queued", "running", "succeeded", "failed", "interrupted")


class TurnReply(Schema):
    """A turn as it stands."""

    turn_id = fields.String()
    project_id = fields.String(
        allow_none=True, metadata={"description": "null for a conversation without a name."}
    )
    state = fields.String(
        metadata={"description": "`queued`, `running`, `succeeded`, `failed`, `interrupted`."}
    )
    message = fields.String(metadata={"description": "The text so far."})
    question = fields.String(
        metadata={
            "description": "What it was asked, the first 8192 characters; while it waits or runs, "
            "later it is among the session's messages."
        }
    )
    question_truncated = fields.Boolean(metadata={"description": "Whether there is more of it."})
    session_id = fields.String(allow_none=True)
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    session_moved = fields.Boolean(metadata={"description": "To a machine without its directory."})
    created_at = fields.String()
    started_at = fields.String(allow_none=True)
    ended_at = fields.String(allow_none=True)
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    error = fields.Dict(allow_none=True)
    structured_output = fields.Raw()
    model = fields.String(allow_none=True)
    stop_reason = fields.String(allow_none=True)
    usage_by_model = fields.Dict(allow_none=True)
    permission_denials = fields.List(fields.Dict())
    files_changed = fields.List(fields.String())
    waiting_for = fields.List(
        fields.String(), metadata={"description": "Approvals that it waits for."}
    )
    steers = fields.List(
        fields.Nested("SteerState"),
        metadata={"description": "What was said to it while it ran."},
    )


class SteerState(Schema):
    """What has become of something that was said to a turn."""

    steer_id = fields.String()
    state = fields.String(
        metadata={
            "description": "`pending`; `joined` the turn; `queued`: came too late and is the "
            "project's next turn, `turn_id`; `cancelled` with its turn."
        }
    )
    turn_id = fields.String(metadata={"description": "The turn that it is part of."})


class SteerBody(Schema):
    """Something to say to a turn that runs."""

    text = Text(
        limit=TEXT_LIMIT_BYTES,
        required=True,
        validate=not_blank,
        metadata={"examples": ["Use the other file."], "minLength": 1, "pattern": r"\S"},
    )


class SteerReply(Schema):
    """It was handed on; the turn's `steers` and `status` events tell what becomes of it."""

    success = fields.Boolean()
    steer_id = fields.String()
    turn_id = fields.String()


class TurnsQuery(Schema):
    state = Text(
        load_default=None,
        validate=validate.OneOf(TURN_STATES),
        metadata={"description": "Only turns in this state."},
    )
    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, MAX_PAGE))
    cursor = Text(
        limit=MAX_QUERY_BYTES, load_default=None, metadata={"description": "The last `next`."}
    )


class ListedTurnReply(Schema):
    """A turn as it stands, without what may be long."""

    turn_id = fields.String()
    project_id = fields.String()
    state = fields.String(metadata={"description": "As in `TurnReply`."})
    message = fields.String(
        metadata={
            "description": "The first 1000 characters of the answer; empty until the turn ends."
        }
    )
    message_truncated = fields.Boolean(metadata={"description": "Whether there is more of it."})
    session_id = fields.String(allow_none=True)
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    session_moved = fields.Boolean()
    created_at = fields.String()
    started_at = fields.String(allow_none=True)
    ended_at = fields.String(allow_none=True)
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    error = fields.Dict(allow_none=True, metadata={"description": "Its texts are cut likewise."})
    model = fields.String(allow_none=True)
    stop_reason = fields.String(allow_none=True)
    waiting_for = fields.List(fields.String())


class TurnsReply(Schema):
    turns = fields.List(fields.Nested(ListedTurnReply))
    count = fields.Integer()
    next = fields.String(
        allow_none=True, metadata={"description": "`cursor` of what is left; null at the end."}
    )


class EventsQuery(Schema):
    after = Text(
        limit=MAX_QUERY_BYTES, load_default=None, metadata={"description": "As `Last-Event-ID`."}
    )
    events = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        metadata={
            "description": f"Some of {', '.join(EVENTS)}; without it what the question asked for."
        },
    )
    ticket = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        metadata={"description": "In place of a key; see `create_ticket`."},
    )


class TicketReply(Schema):
    """The right to read one turn's events without a key."""

    ticket = fields.String()
    expires_at = fields.String(
        metadata={"description": "RFC 3339; until then it must be used for the first time."}
    )
    url = fields.String(metadata={"description": "Of the events, the ticket in its query."})


class InterruptReply(Schema):
    success = fields.Boolean()
    turn_id = fields.String(allow_none=True)
    state = fields.String(allow_none=True)
    message = fields.String()
