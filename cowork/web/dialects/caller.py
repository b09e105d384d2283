"""What the headers of a request say of its conversation, and what it wants besides the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from urllib.parse import unquote

from flask import Request
from marshmallow import ValidationError

from cowork.dialects.request import ConversationName, DialectRequest, NameSource
from cowork.errors import InvalidValue
from cowork.turns.queues import OnBusy
from cowork.web.fields import valid_name
from cowork.web.schemas.base import EVENTS, MAX_LABEL_BYTES, ON_BUSY_CHANGE

PROJECT = "X-Cowork-Project"
EVENTS_HEADER = "X-Cowork-Events"
ON_BUSY_HEADER = "X-On-Busy"
# What front ends call a conversation; the first that is there counts.
_FRONT_ENDS = (
    "X-Conversation-ID",
    "X-OpenWebUI-Chat-Id",
    "X-Claude-Code-Session-Id",
    "session-id",
)
_PERSON = "X-OpenWebUI-User-Id"


def with_headers(asked: DialectRequest, caller: Request) -> DialectRequest:
    """The request with its conversation's name, its person and its events, by the headers too.

    Headers count before the body, but for the person.  Raises `InvalidValue`.
    """
    scope = asked.scope or caller.headers.get(_PERSON) or None
    if scope is not None and len(scope.encode(errors="replace")) > MAX_LABEL_BYTES:
        raise InvalidValue(f"may have {MAX_LABEL_BYTES} bytes", field="user")
    name = _name_in(caller) or asked.name
    if name is not None and not _fits(name.text):
        name = None
    return replace(asked, name=name, scope=scope, events=asked.events | _events_in(caller))


def on_busy_of(caller: Request) -> OnBusy:
    """What becomes of the question while its session answers another; raises `InvalidValue`."""
    given = caller.headers.get(ON_BUSY_HEADER, "queue")
    if given not in ON_BUSY_CHANGE:
        raise InvalidValue(f"one of {', '.join(ON_BUSY_CHANGE)}", field=ON_BUSY_HEADER)
    return cast("OnBusy", given)


def _name_in(caller: Request) -> ConversationName | None:
    ours = unquote(caller.headers.get(PROJECT, ""))
    if _fits(ours):
        return ConversationName(ours, NameSource.PROJECT)
    given = (caller.headers.get(header, "") for header in _FRONT_ENDS)
    found = next((name for name in given if _fits(name)), None)
    return None if found is None else ConversationName(found, NameSource.FRONT_END)


def _fits(name: str) -> bool:
    """Whether it fits a project's name."""
    try:
        valid_name(name)
    except ValidationError:
        return False
    return True


def _events_in(caller: Request) -> frozenset[str]:
    given = caller.headers.get(EVENTS_HEADER, "").split(",")
    wanted = frozenset(name.strip() for name in given if name.strip())
    if not wanted <= set(EVENTS):
        raise InvalidValue(f"among {', '.join(EVENTS)}", field=EVENTS_HEADER)
    return wanted
