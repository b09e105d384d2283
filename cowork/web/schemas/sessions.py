"""Sessions, their conversations, forks and rewinds."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.web.fields import Choices, Text, valid_name
from cowork.web.schemas.base import (
    _NAME,
    DEFAULT_PAGE,
    EVENTS,
    MAX_LABEL_BYTES,
    MAX_PAGE,
    MAX_QUERY_BYTES,
    ON_BUSY_CHANGE,
    Schema,
)

NOT_RESTORED = "What Bash or another program has changed is not restored."


class SessionsReply(Schema):
    sessions = fields.Raw(
        metadata={"description": "Ids by project; with `details` a list of sessions."}
    )
    count = fields.Integer()
    next = fields.String(allow_none=True, metadata={"description": "With `details`."})


class SessionsQuery(Schema):
    details = fields.Boolean(
        load_default=False, metadata={"description": "Each session as `GET /sessions/{project}`."}
    )
    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, MAX_PAGE))
    cursor = Text(limit=MAX_LABEL_BYTES, load_default=None)


class ChangedSessionReply(Schema):
    """What is kept of a session, as it was when a fork or a rewind had made it."""

    project_id = fields.String()
    session_id = fields.String()
    title = fields.String(allow_none=True)
    created_at = fields.String()
    last_used_at = fields.String()
    turns = fields.Integer()
    usage = fields.Dict()
    total_cost_usd = fields.Float()
    directory = fields.String()
    context = fields.Dict(
        allow_none=True, metadata={"description": "`tokens` of the model's `limit`, if known."}
    )
    last_words = fields.String(
        allow_none=True,
        metadata={
            "description": "How the last answer ends, its last paragraph, as one line of at most "
            "140 characters; null where nothing was said, or not since an update of the server."
        },
    )


class SessionReply(ChangedSessionReply):
    """A project's session."""

    state = fields.String(
        metadata={"description": "`idle`, `running` or `waiting` (for a person)."}
    )
    queued = fields.Integer()
    running_turn_id = fields.String(
        allow_none=True, metadata={"description": "Of the question that it is answering."}
    )
    process = fields.Dict(allow_none=True)


class WarmBody(Schema):
    """What the next question will have, of that a process must have been started with."""

    approvals = fields.Boolean(load_default=None, allow_none=True, truthy={True}, falsy={False})
    events = Choices(
        EVENTS,
        load_default=None,
        metadata={"description": "As in a question; only `todo` makes a difference."},
    )


class TitleBody(Schema):
    title = Text(
        required=True,
        allow_none=True,
        validate=valid_name,
        metadata=_NAME,
    )


class ForkBody(Schema):
    to = Text(
        required=True,
        validate=valid_name,
        metadata={"description": "A new project.", **_NAME},
    )
    at_turn = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        allow_none=True,
        metadata={"description": "The last turn that it has; without it all of them."},
    )
    on_busy = Text(
        load_default="queue",
        validate=validate.OneOf(ON_BUSY_CHANGE),
        metadata={"description": "What to do while the project answers a question."},
    )


class RewindBody(Schema):
    to_turn = Text(
        limit=MAX_QUERY_BYTES, required=True, metadata={"description": "The last that is kept."}
    )
    files = Text(
        load_default="keep",
        validate=validate.OneOf(("keep", "preview", "restore")),
        metadata={
            "description": "`keep` leaves them as they are; `preview` changes nothing, and says "
            "what `restore` would, which has those that were edited since be as they were. "
            "The last two need COWORK_CHECKPOINTS."
        },
    )
    on_busy = Text(
        load_default="queue",
        validate=validate.OneOf(ON_BUSY_CHANGE),
        metadata={"description": "What to do while the project answers a question."},
    )


class RestoredFilesReply(Schema):
    """What a restore has changed of the files, or would change."""

    mode = fields.String(metadata={"description": "`preview` or `restore`."})
    can_restore = fields.Boolean()
    reason = fields.String(allow_none=True, metadata={"description": "Why it cannot be."})
    changed = fields.List(
        fields.String(),
        metadata={"description": "Paths, relative below the directory; at most 1000, of 128 KiB."},
    )
    count = fields.Integer(metadata={"description": "How many there are in all."})
    insertions = fields.Integer(metadata={"description": "Lines."})
    deletions = fields.Integer(metadata={"description": "Lines."})
    skipped_links = fields.Integer(
        allow_none=True,
        metadata={
            "description": "Of these, left as they are: a link is in their place or on the way. "
            "Null in a preview."
        },
    )
    unrestored = fields.List(
        fields.String(),
        allow_none=True,
        metadata={
            "description": "Those that are left as they are, by a link or since their backup is "
            "gone. Null in a preview."
        },
    )
    not_restored = fields.String(
        metadata={"enum": [NOT_RESTORED], "description": "What no restore changes back."}
    )


class RewindReply(ChangedSessionReply):
    """The session as it goes on; in a preview, as it is."""

    files = fields.Nested(
        RestoredFilesReply, allow_none=True, metadata={"description": "Null where they were kept."}
    )


class MessagesQuery(Schema):
    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, MAX_PAGE))
    before = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        metadata={"description": "The last ones before the message of this id."},
    )
    after = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        metadata={"description": "The first ones behind the message of this id."},
    )
    last = fields.Boolean(
        load_default=False,
        metadata={
            "description": "The last ones, oldest first all the same; `next` is the `before` of "
            "what is left. Not beside `after`."
        },
    )


class ConversationMessageReply(Schema):
    """What a person said, or the model until the next thing was said."""

    id = fields.String()
    turn_id = fields.String(allow_none=True)
    role = fields.String(metadata={"description": "`user` or `assistant`."})
    created_at = fields.String()
    parts = fields.List(fields.Dict())
    state = fields.String(metadata={"description": "`complete` or `interrupted`."})
    usage = fields.Dict()
    error = fields.Dict(
        metadata={
            "description": "Of the last message of a turn that failed: `code`, and the sentence, "
            "`error`. As long as the turn is kept, and longer where the transcript tells."
        }
    )


class MessagesReply(Schema):
    messages = fields.List(fields.Nested(ConversationMessageReply))
    source = fields.String(metadata={"description": "`transcript` or `history`."})
    next = fields.String(
        allow_none=True,
        metadata={"description": "`after` of what is left; `before` where that or `last` was."},
    )
