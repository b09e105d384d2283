"""What a client of any dialect asks, read from its body and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cowork.dialects.parts import Attachment


class NameSource(Enum):
    """Where a conversation's name came from, which decides what an empty history means."""

    # `X-Cowork-Project`, or Responses' `conversation`: the client sends only what is new.
    PROJECT = "project"
    # A header or a field of a front end, which sends the whole history each time, and tasks of its
    # own (a title) under the same name.
    FRONT_END = "front_end"
    # The AI SDK's `id`: as a front end's, without such tasks.
    CHAT = "chat"


@dataclass(frozen=True, slots=True)
class ConversationName:
    """A conversation's name, which fits a project's."""

    text: str
    source: NameSource


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """A message before the question: `role` is `user`, `assistant` or `tool`.

    `attachments` are as they were sent, unchecked.  `node` names what the message belongs to where
    the client says it: the id of the turn that wrote it.
    """

    role: str
    text: str
    attachments: tuple[Attachment, ...] = ()
    node: str | None = None


@dataclass(frozen=True, slots=True)
class ForcedTool:
    """The one tool whose call the client wants for an answer; `schema` is of its arguments."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DialectRequest:
    """What a client of any dialect asks.

    `history` is what was said before, `question` the last run of user messages, joined by blank
    lines, `attachments` their images and documents, unchecked, as `/ask_question` takes them.
    `scope` is the person who asks, where the front end says it.  `node` is the turn behind which
    the question goes on, where the client names it (Responses' `previous_response_id`, the AI SDK's
    last assistant message).  `model` is as it was written, for the reply; `cli_model` what the CLI
    is told, None for its own.  `events` are kinds besides text (`tool`, `thinking`, `status`).
    `ignored` are fields that would have changed the answer.  With `is_background` the turn goes on
    without a reader; `echo` is what its answer repeats of the request, whenever that is read.
    """

    api: str
    question: str
    history: tuple[HistoryMessage, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    name: ConversationName | None = None
    scope: str | None = None
    node: str | None = None
    model: str | None = None
    cli_model: str | None = None
    effort: str | None = None
    system_prompt: str | None = None
    permission_mode: str | None = None
    output_schema: Mapping[str, Any] | None = None
    forced_tool: ForcedTool | None = None
    is_streaming: bool = False
    wants_usage: bool = False
    events: frozenset[str] = frozenset()
    ignored: tuple[str, ...] = ()
    is_background: bool = False
    echo: Mapping[str, Any] | None = None
