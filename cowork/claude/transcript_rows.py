"""The rows of the CLI's transcripts: what each is, and which are on the present branch.  Pure.

Seen from 2.1.319 and 2.1.332.  Rows form a tree by `parentUuid`, in the order of their writing::

    user        promptSource "sdk"        a question, with the uuid that it was sent with
    user        turnOrigin "sdk", <command-message>..   a question to a skill
    assistant   message.id                one row a content block
    user        tool_result               hangs on the row of its call: parallel ones branch off
    attachment  queued_command            what was said while the turn ran, and taken into it
    system      compact_boundary          parentUuid null, logicalParentUuid the row before
    user        isCompactSummary          what stands for all before it, to the model
    user        isMeta, or none of these  the CLI's own words

A person's words are known by what marks them, since the CLI writes much in a user's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from cowork.claude import transcript_parts
from cowork.claude.stream_json import failures, protocol
from cowork.claude.transcript_parts import Block, Part, blocks_of, is_skill_call, text_in
from cowork.errors import ClaudeError

Kind = Literal[
    "question",
    "skill_call",
    "companion",  # what came with a skill's call, beside the skill itself
    "steer",
    "turn",  # the beginning of one that no person asked for
    "answer",
    "synthetic",  # the CLI's words in the model's name
    "results",
    "interrupt",
    "boundary",
    "summary",
    "compact",  # the command for it
    "other",
]
_PARTS: dict[Kind, Callable[[list[Block]], Iterator[Part]]] = {
    "question": transcript_parts.said,
    "skill_call": transcript_parts.said_to_skill,
    "companion": transcript_parts.attached,
    "steer": transcript_parts.said,
    "answer": transcript_parts.answered,
    "results": transcript_parts.results,
    "summary": transcript_parts.summary,
}
# These may be written beside the conversation.
_NO_LEAVES = ("other", "companion", "compact", "summary")

_PERSONS_SOURCES = ("sdk", "typed", "queued", "suggestion_accepted")
_PERSONS_TURNS = ("sdk", "human")
_INTERRUPTED = "[Request interrupted by user"
_COMPACT = "<command-name>/compact<"
# What a process that takes up a call of an earlier one says to the model behind its result: it is
# in the middle of a person's turn.
_GOES_ON = "Continue from where you left off."
_ABORTED_TOOLS = ("user-rejected", "interrupted")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the main conversation that others can hang on.

    `message_id` is what its message is known by, `parts` what it shows of it.  `merged` are the
    uuids of messages that the CLI joined to this one, and `aborted` says that the model, or the
    tool whose result it is, was stopped.  `error` is why the model's service said nothing.
    """

    uuid: str
    parent: str | None
    kind: Kind
    at: datetime | None
    message_id: str
    parts: tuple[Part, ...] = ()
    merged: tuple[str, ...] = ()
    usage: dict[str, Any] | None = None
    aborted: bool = False
    error: ClaudeError | None = None


def branch(lines: Iterable[bytes]) -> list[Row]:
    """The rows of the branch that was written to last, oldest first.

    A message's rows are there even where the branch goes on from an earlier one of them, and so
    are its tools' results and each compaction.
    """
    rows: dict[str, Row] = {}
    for line in lines:
        # The requests that the CLI keeps, a third of a transcript, need not be parsed.
        raw = protocol.parse(line) if b'"uuid"' in line else None
        if raw is not None and isinstance(raw.get("uuid"), str) and not raw.get("isSidechain"):
            rows.setdefault(raw["uuid"], _row(raw))
    on_branch = _ancestors(rows)
    for row in rows.values():
        # A parent is written before what hangs on it.
        if row.parent in on_branch and _goes_with(row, rows[row.parent]):
            on_branch.add(row.uuid)
    return [row for row in rows.values() if row.uuid in on_branch]


def _ancestors(rows: dict[str, Row]) -> set[str]:
    """The uuids from the last row to the root, or to where one is missing."""
    found: set[str] = set()
    at = next((row for row in reversed(rows.values()) if row.kind not in _NO_LEAVES), None)
    while at is not None and at.uuid not in found:
        found.add(at.uuid)
        at = rows.get(at.parent or "")
    return found


def _goes_with(row: Row, parent: Row) -> bool:
    """Whether a row that hangs on the branch belongs to it, though nothing goes on from there."""
    if row.kind == "answer":
        return parent.kind == "answer" and row.message_id == parent.message_id
    if row.kind == "results":
        return parent.kind == "answer"
    # A compaction's summary; behind a change of model the next row hangs on what was before it.
    return row.kind in ("boundary", "summary", "other")


def _row(raw: dict[str, Any]) -> Row:
    kind = _kind(raw)
    message, attachment = _object(raw, "message"), _object(raw, "attachment")
    content, message_id, usage = message.get("content"), None, None
    if kind == "answer":
        message_id, usage = message.get("id"), message.get("usage")
    elif kind == "steer":
        content, message_id = attachment.get("prompt"), attachment.get("source_uuid")
    parent = raw.get("parentUuid") or raw.get("logicalParentUuid")
    merged = raw.get("mergedSendUuids")
    merged = merged if isinstance(merged, list) else []
    return Row(
        uuid=raw["uuid"],
        parent=parent if isinstance(parent, str) else None,
        kind=kind,
        at=_time(raw.get("timestamp")),
        message_id=message_id if isinstance(message_id, str) else raw["uuid"],
        parts=tuple(_PARTS[kind](blocks_of(content))) if kind in _PARTS else (),
        merged=tuple(each for each in merged if isinstance(each, str)),
        usage=usage if isinstance(usage, dict) else None,
        aborted=raw.get("isAbortedMidStream") is True
        or raw.get("toolDenialKind") in _ABORTED_TOOLS,
        error=_error(raw) if raw.get("isApiErrorMessage") is True else None,
    )


def _error(raw: dict[str, Any]) -> ClaudeError:
    """The error of a row that the CLI wrote in place of an answer."""
    blocks, kind = blocks_of(_object(raw, "message").get("content")), raw.get("error")
    result = {
        "subtype": "success",
        "api_error_status": raw.get("apiErrorStatus"),
        "result": text_in(blocks[0]) if blocks else "",
    }
    return failures.from_result(result, kind if isinstance(kind, str) else None, None)


def _kind(raw: dict[str, Any]) -> Kind:
    message = _object(raw, "message")
    match raw["type"]:
        case "assistant" if raw.get("isMeta") is not True:
            return "synthetic" if message.get("model") == "<synthetic>" else "answer"
        case "attachment" if _is_steer(_object(raw, "attachment")):
            return "steer"
        case "system" if raw.get("subtype") == "compact_boundary":
            return "boundary"
        case "user" if raw.get("isCompactSummary") is True:
            return "summary"
        case "user":
            blocks = blocks_of(message.get("content"))
            return _kind_of_turn(raw, blocks) or _kind_of_note(raw, blocks)
    return "other"


def _kind_of_turn(raw: dict[str, Any], blocks: list[Block]) -> Kind | None:
    """What begins a turn; a skill's call has no source of its own, but the turn's origin."""
    source, origin = raw.get("promptSource"), raw.get("turnOrigin")
    if source is None and origin is None:
        return None
    if _goes_on(raw, blocks):
        return None
    if raw.get("isMeta") is True or not _is_persons(raw):
        return "turn"
    if source in _PERSONS_SOURCES and origin in (None, *_PERSONS_TURNS):
        return "question"
    is_call = source is None and origin in _PERSONS_TURNS and is_skill_call(blocks)
    return "skill_call" if is_call else "turn"


def _goes_on(raw: dict[str, Any], blocks: list[Block]) -> bool:
    is_clis = raw.get("isMeta") is True and raw.get("rowSource") == "harness"
    return is_clis and bool(blocks) and text_in(blocks[0]) == _GOES_ON


def _kind_of_note(raw: dict[str, Any], blocks: list[Block]) -> Kind:
    """What the CLI wrote in the user's name."""
    if raw.get("isMeta") is True:
        return "companion" if raw.get("turnCompanion") is True else "other"
    if any(block.get("type") == "tool_result" for block in blocks):
        return "results"
    text = text_in(blocks[0]) if blocks else ""
    if text.startswith(_INTERRUPTED):
        return "interrupt"
    return "compact" if text.startswith(_COMPACT) else "other"


def _is_steer(attachment: dict[str, Any]) -> bool:
    """Whether a person slipped it into the running turn; others tell of tasks that ended."""
    return (
        attachment.get("type") == "queued_command"
        and attachment.get("commandMode") == "prompt"
        and attachment.get("rowSource") in (None, "local")
        and attachment.get("isMeta") is not True
        and isinstance(attachment.get("source_uuid"), str)
        and _is_persons(attachment)
    )


def _is_persons(raw: dict[str, Any]) -> bool:
    """Whether no other session, task or plugin is named as where it comes from."""
    return raw.get("origin") is None or _object(raw, "origin").get("kind") == "human"


def _object(raw: dict[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _time(value: object) -> datetime | None:
    """A time in UTC; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
