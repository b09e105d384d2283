"""What requests and replies look like: the contract's tables as marshmallow schemas.

Requests are checked by these; replies are described by them (`/openapi.json`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
from marshmallow import Schema, ValidationError, fields, validate

from cowork.claude.launch_options import REQUESTED_MODES

NAME_LIMIT = 200
PROMPT_LIMIT = 100_000
SCHEMA_LIMIT = 100_000
# Of the texts that name somebody or something, and of every other that has no bound of its own;
# bytes.
LABEL_LIMIT = 1024
TEXT_LIMIT = 64 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
BUSY = ("queue", "reject", "interrupt")
EVENTS = ("tool", "thinking", "status")
NOT_DONE = "Another worker answers the project; nothing was done"


def fault(kind: str, msg: str) -> dict[str, str]:
    """A validation message in the form that `problems.faults_of` passes on."""
    return {"type": kind, "msg": msg}


class Text(fields.String):
    """A string of at most `limit` bytes, None for any number, without lone surrogates.

    Those no UTF-8 could carry on.
    """

    default_error_messages = {  # noqa: RUF012 - marshmallow's own form
        "required": fault("missing", "Field required"),
        "null": fault("string_type", "Input should be a valid string"),
        "invalid": fault("string_type", "Input should be a valid string"),
        "invalid_utf8": fault("string_unicode", "Input should be a valid unicode string"),
    }

    def __init__(self, *, limit: int | None = TEXT_LIMIT, **options: Any) -> None:
        if limit is not None and not isinstance(options.get("validate"), validate.OneOf):
            # No text has more characters than bytes.
            options["metadata"] = {"maxLength": limit, **options.get("metadata", {})}
        super().__init__(**options)
        self._limit = limit

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        if self._limit is not None and len(text) > self._limit:
            raise ValidationError(_too_long(self._limit))
        if text.isascii():
            return text
        if _SURROGATE.search(text):
            raise self.make_error("invalid_utf8")
        if self._limit is not None and len(text.encode()) > self._limit:
            raise ValidationError(_too_long(self._limit))
        return text


def _too_long(limit: int) -> dict[str, str]:
    return fault("string_too_long", f"Input should have at most {limit} bytes")


class Choices(fields.List[str]):
    """A list of some of `allowed`; what is longer than that is refused unread."""

    def __init__(self, allowed: tuple[str, ...], **options: Any) -> None:
        self._most = len(allowed)
        options["metadata"] = {"maxItems": self._most, **options.get("metadata", {})}
        super().__init__(Text(validate=validate.OneOf(allowed)), **options)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, list) and len(value) > self._most:
            sentence = f"Input should have at most {self._most} items"
            raise ValidationError(fault("too_long", sentence))
        return super()._deserialize(value, *args, **kwargs)


class Json(fields.Raw):
    """Any JSON of at most `TEXT_LIMIT` bytes."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        try:
            written = orjson.dumps(value)
        except orjson.JSONEncodeError as unwritable:
            sentence = "Input should be JSON of at most 250 levels"
            raise ValidationError(fault("value_error", sentence)) from unwritable
        if len(written) > TEXT_LIMIT:
            sentence = f"Input should have at most {TEXT_LIMIT} bytes"
            raise ValidationError(fault("too_long", sentence))
        return value


class JsonObject(fields.Field[str]):
    """A JSON object, as its own text: of bounded size, and of a depth that can be written again."""

    default_error_messages = {  # noqa: RUF012 - marshmallow's own form
        "null": fault("dict_type", "Input should be a valid dictionary"),
        "invalid": fault("dict_type", "Input should be a valid dictionary"),
        "too_deep": fault("value_error", "Input should be JSON of at most 250 levels"),
        "too_long": fault("too_long", f"Input should have at most {SCHEMA_LIMIT} bytes"),
    }

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> str:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        try:
            written = orjson.dumps(value)
        except orjson.JSONEncodeError as unwritable:
            raise self.make_error("too_deep") from unwritable
        if len(written) > SCHEMA_LIMIT:
            raise self.make_error("too_long")
        return written.decode()


def not_blank(text: str) -> None:
    """Refuse text of nothing but white space."""
    if not text.strip():
        raise ValidationError(fault("string_too_short", "Input should not be blank"))


def _at_most(limit: int) -> Callable[[str], None]:
    def check(text: str) -> None:
        if len(text) > limit:
            sentence = f"Input should have at most {limit} characters"
            raise ValidationError(fault("string_too_long", sentence))

    return check


def valid_name(name: str) -> None:
    """Refuse what is no project's name: blank, over 200 characters, control characters."""
    not_blank(name)
    _at_most(NAME_LIMIT)(name)
    if _CONTROL.search(name) or _SURROGATE.search(name):
        sentence = "Input should have no control characters"
        raise ValidationError(fault("string_pattern_mismatch", sentence))


class AskBody(Schema):
    """A question to a project."""

    project_name = Text(
        required=True,
        validate=valid_name,
        metadata={"example": "my-project", "maxLength": NAME_LIMIT},
    )
    question = Text(
        limit=None, required=True, validate=not_blank, metadata={"example": "What is 2+2?"}
    )
    user_id = Text(limit=LABEL_LIMIT, load_default="default_user", allow_none=True)
    message_type = Text(limit=LABEL_LIMIT, load_default="@xo", allow_none=True)
    agent_type = Text(
        limit=LABEL_LIMIT,
        load_default=None,
        allow_none=True,
        metadata={"description": "A Claude skill's name; `Code_Writer` means `code-writer`."},
    )
    events = Choices(
        EVENTS,
        load_default=list,
        metadata={"description": "Which events besides tokens the stream should carry."},
    )

    on_busy = Text(
        load_default="queue",
        validate=validate.OneOf(BUSY),
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
        validate=_at_most(PROMPT_LIMIT),
        metadata={
            "description": "Appended to the CLI's own, for this question.",
            "maxLength": PROMPT_LIMIT,
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


class AskHeaders(Schema):
    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        metadata={"description": "Makes a retry find its first turn instead of asking again."},
    )


class AskReply(Schema):
    """The answer of the non-streaming endpoint."""

    id = fields.Raw(dump_default=None, metadata={"description": "Always null."})
    message = fields.String()
    project_id = fields.String()
    user_id = fields.String(allow_none=True)
    session_id = fields.String()
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    timestamp = fields.String(metadata={"description": "ISO 8601."})
    turn_id = fields.String()
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    structured_output = fields.Raw(metadata={"description": "Where `output_schema` was sent."})


class TurnReply(Schema):
    """A turn as it stands."""

    turn_id = fields.String()
    project_id = fields.String()
    state = fields.String(
        metadata={"description": "`queued`, `running`, `succeeded`, `failed`, `interrupted`."}
    )
    message = fields.String(metadata={"description": "The text so far."})
    session_id = fields.String(allow_none=True)
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    created_at = fields.String()
    started_at = fields.String(allow_none=True)
    ended_at = fields.String(allow_none=True)
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    error = fields.Dict(allow_none=True)
    structured_output = fields.Raw()


class EventsQuery(Schema):
    after = Text(load_default=None, metadata={"description": "As `Last-Event-ID`."})
    events = Text(load_default="", metadata={"description": "tool, thinking, status"})


class InterruptReply(Schema):
    success = fields.Boolean()
    turn_id = fields.String(allow_none=True)
    state = fields.String(allow_none=True)
    message = fields.String()


class SessionsReply(Schema):
    sessions = fields.Dict(keys=fields.String(), values=fields.String())
    count = fields.Integer()


class MessageReply(Schema):
    success = fields.Boolean()
    message = fields.String()


class ProcessReply(Schema):
    """A CLI process."""

    pid = fields.Integer()
    project = fields.String(allow_none=True, metadata={"description": "null for a spare."})
    state = fields.String(
        metadata={"description": "`starting`, `spare`, `idle`, `busy` or `ending`."}
    )
    age_seconds = fields.Float()
    turns = fields.Integer()
    memory_bytes = fields.Integer(
        allow_none=True,
        metadata={"description": "Its share (PSS), its tools and servers included."},
    )
    last_used = fields.String(allow_none=True, metadata={"description": "ISO 8601."})


class ProcessesReply(Schema):
    processes = fields.List(fields.Nested(ProcessReply))
    count = fields.Integer()


class RootReply(Schema):
    status = fields.String()


class AuthState(Schema):
    """Whether we hold an XO token; never the token."""

    authenticated = fields.Boolean()
    user_id = fields.String(allow_none=True)
    expires_at = fields.String(allow_none=True, metadata={"description": "ISO 8601."})
    auth_session_id = fields.String(allow_none=True)
    token_source = fields.String(metadata={"description": "`none` or `dynamic_or_env`."})


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
    claude = fields.Dict()
    processes = fields.Dict()
    chat_api = fields.Dict()
    store = fields.Dict(metadata={"description": "`kind`, and whether it is there: `ok`."})
    turns = fields.Integer()
    version = fields.String()


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


class AuthStartBody(Schema):
    scopes = Json(load_default=None, allow_none=True)
    client_reference = Text(load_default=None, allow_none=True)


class AuthConsumeBody(Schema):
    auth_session_id = Text(load_default=None, allow_none=True)
    poll_token = Text(load_default=None, allow_none=True)


class AuthStatusQuery(Schema):
    poll_token = Text(required=True, validate=not_blank)


class AuthConsumeReply(Schema):
    success = fields.Boolean()
    message = fields.String()
    user_id = fields.String(allow_none=True)
    expires_in = fields.Raw(allow_none=True)
    scope = fields.Raw(allow_none=True)


class WhoamiReply(Schema):
    success = fields.Boolean()
    user_id = fields.String(allow_none=True)


class Problem(Schema):
    """Every error that is not a validation error."""

    error = fields.String(metadata={"description": "One sentence for a person."})
    code = fields.String(metadata={"description": "Stable; see the README's table."})


class ProblemReply(Schema):
    detail = fields.Nested(Problem)


class Fault(Schema):
    """One thing that is wrong with a request."""

    type = fields.String()
    loc = fields.List(fields.Raw(), metadata={"description": "Where: `body`, then the key."})
    msg = fields.String()


class ValidationReply(Schema):
    detail = fields.List(fields.Nested(Fault))
