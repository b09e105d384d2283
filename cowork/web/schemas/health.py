"""Health, readiness, and the outbox."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.schemas.base import Schema


class RootReply(Schema):
    status = fields.String()


class AuthState(Schema):
    """Whether we hold an XO token; never the token."""

    authenticated = fields.Boolean()
    user_id = fields.String(allow_none=True)
    expires_at = fields.String(allow_none=True, metadata={"description": "ISO 8601."})
    auth_session_id = fields.String(allow_none=True)
    token_source = fields.String(metadata={"description": "`none` or `dynamic_or_env`."})


class FeaturesReply(Schema):
    """What the operator has set that a client shows, or leaves out, by it."""

    approvals = fields.String(
        metadata={"description": "`off`, `optional` (a question may ask for them) or `always`."}
    )
    checkpoints = fields.Boolean(metadata={"description": "Whether a rewind can restore files."})
    demo = fields.Boolean(metadata={"description": "Whether the model is the demo's."})


class HealthReply(Schema):
    status = fields.String(metadata={"description": "`healthy` while the process serves."})
    timestamp = fields.String(metadata={"description": "ISO 8601."})
    chat_api_url = fields.String()
    auth = fields.Nested(AuthState)
    ai_provider = fields.String()
    claude_cli = fields.String()
    active_sessions = fields.Integer()
    ready = fields.Boolean(metadata={"description": "As `/health/ready` says."})
    reasons = fields.List(fields.String())
    claude = fields.Dict(
        metadata={
            "description": "`unknown_events` counts, by name, what the CLI has said since the start"
            " that this server does not know."
        }
    )
    processes = fields.Dict()
    chat_api = fields.Dict()
    store = fields.Dict(metadata={"description": "`kind`, and whether it is there: `ok`."})
    turns = fields.Integer()
    features = fields.Nested(FeaturesReply)
    version = fields.String()
    stage = fields.Raw(metadata={"description": "Always null."})
    codex_cli = fields.Raw(metadata={"description": "Always null."})


class ReadyReply(Schema):
    ready = fields.Boolean()
    reasons = fields.List(
        fields.String(),
        metadata={"description": "Told to holders of a key and callers on the server's machine."},
    )


class DeadLetterReply(Schema):
    """A message that the Chat API refused for good; its text is not shown."""

    id = fields.String(metadata={"description": "`<turn_id>-question` or `<turn_id>-answer`."})
    project_id = fields.String()
    type = fields.String(allow_none=True)
    status = fields.String(allow_none=True, metadata={"description": "`partial` or `failed`."})
    why = fields.String()
    created_at = fields.String(metadata={"description": "ISO 8601."})
    died_at = fields.String(metadata={"description": "ISO 8601."})


class OutboxReply(Schema):
    pending = fields.Integer(metadata={"description": "Messages that wait, of all callers."})
    oldest_age_s = fields.Float(allow_none=True)
    dropped = fields.Integer(metadata={"description": "Lost to a bound since the start."})
    dead = fields.Integer(metadata={"description": "The caller's dead letters."})
    dead_letters = fields.List(fields.Nested(DeadLetterReply))


class RetryReply(Schema):
    success = fields.Boolean()
    retried = fields.Integer()
