"""Values of the stores as JSON, and back.

What is missing has its default, so that a value of an older version can be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import orjson

from cowork.model import (
    Approval,
    ChatMessage,
    DeadLetter,
    Exchange,
    Project,
    Resolution,
    Session,
    TurnRecord,
    Usage,
    XoToken,
)

_BECOMES = {"resolution", "answer", "applied"}
_APPROVAL_FIELDS = [each.name for each in fields(Approval) if each.name not in _BECOMES]


def dumps(value: Any) -> str:
    """`value` as JSON; text that no encoding has (a lone surrogate) is kept as it is."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except TypeError:
        return json.dumps(value, default=str)


def loads(text: str | bytes) -> Any:
    """What `dumps` was given."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def session_json(session: Session) -> str:
    """A session without its project."""
    body = asdict(session)
    del body["project"]
    return dumps(body)


def session_of(project: Project, text: str | bytes) -> Session:
    body = loads(text)
    return Session(
        project=project,
        id=body["id"],
        cwd=body["cwd"],
        created=datetime.fromisoformat(body["created"]),
        last_used=datetime.fromisoformat(body["last_used"]),
        turns=body.get("turns", 0),
        cost_usd=body.get("cost_usd", 0.0),
        usage=Usage(**body.get("usage", {})),
        incomplete=body.get("incomplete", False),
        earlier=tuple(body.get("earlier", ())),
        model=body.get("model"),
        context_tokens=body.get("context_tokens", 0),
        context_limit=body.get("context_limit", 0),
        last_words=body.get("last_words", ""),
        last_turn=body.get("last_turn", ""),
    )


def approval_json(approval: Approval) -> str:
    """An approval without what becomes of it."""
    body = {name: getattr(approval, name) for name in _APPROVAL_FIELDS}
    return dumps({**body, "project": asdict(approval.project)})


def approval_of(
    text: str | bytes,
    resolution: str | bytes | None,
    answer: str | bytes | None,
    applied: str | None,
) -> Approval:
    """An approval, and what has become of it; one that waits no more has no input."""
    body = loads(text)
    if resolution is not None:
        body |= {"input": {}, "suggestions": []}
    return Approval(
        **{
            **body,
            "project": Project(**body["project"]),
            "created": datetime.fromisoformat(body["created"]),
            "expires": datetime.fromisoformat(body["expires"]),
            "suggestions": tuple(body["suggestions"]),
        },
        resolution=None if resolution is None else _resolution_of(resolution),
        answer=loads(answer) if answer else None,
        applied=moment(applied or None),
    )


def resolution_json(resolution: Resolution) -> str:
    return dumps(asdict(resolution))


def _resolution_of(text: str | bytes) -> Resolution:
    body = loads(text)
    return Resolution(**{**body, "at": datetime.fromisoformat(body["at"])})


def token_json(token: XoToken) -> str:
    return dumps(asdict(token))


def token_of(text: str | bytes) -> XoToken:
    body = loads(text)
    return XoToken(**{**body, "expires_at": moment(body["expires_at"])})


def message_json(message: ChatMessage) -> str:
    body = asdict(message)
    del body["tried"]  # it changes, and has a place of its own
    return dumps(body)


def message_of(text: str | bytes, *, tried: bool = False) -> ChatMessage:
    body = loads(text)
    body["created"] = datetime.fromisoformat(body["created"])
    body["project"] = Project(**body["project"])
    return ChatMessage(**body, tried=tried)


def letter_of(message: ChatMessage, why: str, died: str) -> DeadLetter:
    return DeadLetter(
        id=message.id,
        project=message.project,
        type=message.type,
        status=message.status,
        created=message.created,
        why=why,
        died=datetime.fromisoformat(died),
    )


def record_json(record: TurnRecord) -> str:
    # Its body as it is: `asdict` would copy all that is in there, and not every depth of it.
    found = {each.name: getattr(record, each.name) for each in fields(record)}
    return dumps({**found, "project": asdict(record.project)})


def record_of(text: str | bytes, changes: Mapping[str, Any]) -> TurnRecord:
    """A turn's record with what has changed since; moments as text."""
    body = {**loads(text), **changes}
    return TurnRecord(
        id=body["id"],
        project=Project(**body["project"]),
        state=body["state"],
        holder=body["holder"],
        created=datetime.fromisoformat(body["created"]),
        started=moment(body["started"]),
        ended=moment(body["ended"]),
        body=body["body"],
    )


def exchanges_json(exchanges: Iterable[Exchange]) -> str:
    return dumps([[each.question, each.answer] for each in exchanges])


def exchanges_of(text: str | bytes) -> list[Exchange]:
    return [Exchange(*each) for each in loads(text)]
