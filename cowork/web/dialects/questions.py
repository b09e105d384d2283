"""The question that a client of another API asks, checked as one of `/ask_question` is."""

from __future__ import annotations

from typing import Any

import orjson
from marshmallow import ValidationError

from cowork.claude.launch_options import LaunchOptions
from cowork.claude.turn_options import TurnOptions
from cowork.dialects.request import DialectRequest
from cowork.errors import InvalidValue
from cowork.turns.continuation import Continuation
from cowork.turns.question import Question, digest_of
from cowork.web.attachments import Attachments
from cowork.web.fields import MAX_OBJECT_BYTES
from cowork.web.problems import faults_of

_ATTACHMENTS = Attachments()
# What the Chat API is told of who asks, as by `/ask_question`.
_DEFAULT_USER, _MESSAGE_TYPE = "default_user", "@xo"


def question_of(asked: DialectRequest, continuation: Continuation, *, approvals: bool) -> Question:
    """The question; `approvals` is whether its turn asks a person.  Raises `InvalidValue`."""
    return Question(
        text=asked.question,
        user_id=asked.scope or _DEFAULT_USER,
        message_type=_MESSAGE_TYPE,
        streaming=asked.is_streaming,
        events=tuple(sorted(asked.events)),
        digest=digest_of(asked.question),
        blocks=_blocks_of(asked),
        turn_options=TurnOptions(model=asked.cli_model, effort=asked.effort),
        options=LaunchOptions(
            system_prompt=asked.system_prompt,
            output_schema=_schema_of(asked),
            permission_mode=asked.permission_mode,
            approvals=approvals,
            todo="todo" in asked.events,
        ),
        api=asked.api,
        continuation=continuation,
        is_background=asked.is_background,
        echo=asked.echo,
    )


def _blocks_of(asked: DialectRequest) -> tuple[dict[str, Any], ...]:
    """What is attached, checked, as the CLI takes it."""
    if not asked.attachments:
        return ()
    try:
        return tuple(_ATTACHMENTS.deserialize(list(asked.attachments)))
    except ValidationError as fault:
        found = faults_of(fault)[0]
        raise InvalidValue(found["msg"], field="messages") from fault


def _schema_of(asked: DialectRequest) -> str | None:
    if asked.output_schema is None:
        return None
    written = orjson.dumps(asked.output_schema)
    if len(written) > MAX_OBJECT_BYTES:
        field = "tools" if asked.forced_tool is not None else "response_format"
        raise InvalidValue(f"the schema may have {MAX_OBJECT_BYTES} bytes", field=field)
    return written.decode()
