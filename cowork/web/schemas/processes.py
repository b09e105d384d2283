"""Processes and workers."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.schemas.base import Schema


class ProcessReply(Schema):
    """A CLI process."""

    id = fields.String(metadata={"description": "Unique among the processes of all workers."})
    pid = fields.Integer()
    project = fields.String(
        allow_none=True,
        metadata={"description": "null for a spare, and for a conversation without a name."},
    )
    unnamed = fields.Boolean(
        metadata={"description": "There, and true, for a conversation without a name."}
    )
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
    worker = fields.String(
        metadata={"description": "The `name` in `GET /workers`, where there are several."}
    )


class ProcessesReply(Schema):
    processes = fields.List(fields.Nested(ProcessReply))
    count = fields.Integer()
    unreachable = fields.List(
        fields.String(),
        metadata={"description": "Where there are several workers: those that did not answer."},
    )


class WorkerReply(Schema):
    """A worker, as it told with its last heartbeat."""

    name = fields.String(metadata={"description": "Unique among all that ever ran."})
    host = fields.String()
    pid = fields.Integer()
    started_at = fields.String(metadata={"description": "ISO 8601."})
    projects = fields.Integer(metadata={"description": "That have a process there."})
    processes = fields.Integer()
    free = fields.Integer(metadata={"description": "Processes that it may still start."})
    lag_ms = fields.Float(metadata={"description": "How late it wakes up."})
    last_beat = fields.String(metadata={"description": "ISO 8601."})


class WorkersReply(Schema):
    workers = fields.List(fields.Nested(WorkerReply))
    count = fields.Integer()
