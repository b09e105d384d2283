"""A session's transcript as the conversation that a person saw.  Pure: lines in, messages out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from cowork.claude import transcript_rows
from cowork.claude.deferred_tool import NOT_ASKED
from cowork.claude.transcript_parts import Part
from cowork.claude.transcript_rows import Row
from cowork.errors import ClaudeError

_BEGINNINGS = ("question", "skill_call", "turn")
_NO_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class ConversationMessage:
    """What a person said, or what the model said up to the next thing that was said.

    `parts` are, by their `type`: `text` (`text`; `skill`, where one was asked for), `thinking`
    (`text`), `tool_use` (`id`, `name`, `input`) and behind it its `tool_result` (`id`, `content`,
    `is_error`; `truncated`, where it is cut at 64 KiB), `image` and `document` (`media_type`, None
    where it is not told; a document's `name`), and `summary` (`text`) of what was compacted.
    """

    id: str
    """Of a person's message the uuid that it was sent with, of the model's the API's id."""
    question_id: str | None
    """The uuid of what its turn began with; None where that is not in the transcript."""
    role: Literal["user", "assistant"]
    created_at: datetime
    parts: tuple[Part, ...]
    state: Literal["complete", "interrupted"] = "complete"
    usage: dict[str, Any] | None = None
    """The API's own count for the model's message."""
    merged_ids: tuple[str, ...] = ()
    """The uuids of messages that waited together with this one: the CLI made one of them all."""
    error: ClaudeError | None = None
    """Why its turn ended behind it, where the model's service failed."""


def read_conversation(lines: Iterable[bytes]) -> list[ConversationMessage]:
    """The conversation in a transcript's lines, oldest first, as far as it is the present branch.

    What was said before a compaction is there as well, if it is in the same transcript.
    """
    reading = _Reading()
    for row in _without_abandoned(transcript_rows.branch(lines)):
        reading.add(row)
    return [draft.message() for draft in reading.drafts if draft.parts]


def _without_abandoned(rows: list[Row]) -> list[Row]:
    """Without how a CLI ended by itself whose server was killed while it waited for a person.

    The turn goes on from before that.  Where it does not, and something else was said since, that
    is what the model is sent, and stands.
    """
    begun = max((at for at, row in enumerate(rows) if row.kind in _BEGINNINGS), default=0)
    kept, is_abandoned = rows[:begun], False
    for row in rows[begun:]:
        if row.kind == "results" and any(map(_is_not_asked, row.parts)):
            is_abandoned = True
        elif not is_abandoned or row.kind not in ("answer", "synthetic"):
            kept.append(row)
    return kept


def _is_not_asked(part: Part) -> bool:
    return part.get("is_error") is True and str(part.get("content")).startswith(NOT_ASKED)


def last_assistant_row(lines: Iterable[bytes], question_id: str) -> str | None:
    """The uuid at which `--resume-session-at` cuts behind the turn that began with that question.

    None where the model said nothing in it, or nothing since the last compaction: the CLI finds no
    row from before that.
    """
    found, is_asked = None, False
    for row in transcript_rows.branch(lines):
        if row.kind in _BEGINNINGS:
            is_asked = question_id in (row.uuid, *row.merged)
        elif row.kind == "boundary":
            found = None
        elif is_asked and row.kind in ("answer", "synthetic"):
            found = row.uuid
    return found


def following_turn(lines: Iterable[bytes], question_id: str) -> str | None:
    """The uuid that the turn began with which came next on the branch; None for the last one."""
    is_behind = False
    for row in transcript_rows.branch(lines):
        if row.kind in _BEGINNINGS:
            if is_behind:
                return row.uuid
            is_behind = question_id in (row.uuid, *row.merged)
    return None


@dataclass(slots=True)
class _Draft:
    """A message whose rows are still being read."""

    row: Row
    question_id: str | None
    role: Literal["user", "assistant"]
    created_at: datetime
    parts: list[Part] = field(default_factory=list)
    results: dict[str, list[Part]] = field(default_factory=dict)
    is_interrupted: bool = False
    usage: dict[str, Any] | None = None
    error: ClaudeError | None = None

    def message(self) -> ConversationMessage:
        return ConversationMessage(
            id=self.row.message_id,
            question_id=self.question_id,
            role=self.role,
            created_at=self.created_at,
            parts=tuple(self._parts()),
            state="interrupted" if self.is_interrupted else "complete",
            usage=self.usage,
            merged_ids=self.row.merged,
            error=self.error,
        )

    def _parts(self) -> Iterator[Part]:
        for part in self.parts:
            yield part
            if part["type"] == "tool_use":
                yield from self.results.get(part["id"], ())


class _Reading:
    """Makes messages of the rows of a branch, which are added oldest first."""

    def __init__(self) -> None:
        self.drafts: list[_Draft] = []
        self._at = _NO_TIME
        self._question: str | None = None
        self._callers: dict[str, _Draft] = {}

    def add(self, row: Row) -> None:
        # A row without a time is as old as the one before it.
        self._at = row.at or self._at
        if row.kind in _BEGINNINGS:
            self._question = row.uuid
        match row.kind:
            case "question" | "skill_call" | "steer":
                self._begin(row, "user")
            case "companion":
                self._add_companion(row)
            case "summary":
                self._begin(row, "assistant")
            case "compact":
                self._add_compact(row)
            case "answer":
                self._add_answer(row)
            case "synthetic":
                self._add_error(row.error)
            case "results":
                self._add_results(row)
            case "interrupt":
                self._add_interrupt()

    def _begin(self, row: Row, role: Literal["user", "assistant"]) -> None:
        self.drafts.append(_Draft(row, self._question, role, self._at, list(row.parts)))

    def _last(self) -> _Draft | None:
        return self.drafts[-1] if self.drafts else None

    def _add_answer(self, row: Row) -> None:
        self._add_error(None)
        draft = self._last()
        if draft is None or draft.row.kind != "answer" or draft.row.message_id != row.message_id:
            self._begin(row, "assistant")
            draft = self.drafts[-1]
        else:
            draft.parts.extend(row.parts)
        draft.usage = row.usage or draft.usage
        draft.is_interrupted |= row.aborted
        self._callers |= {part["id"]: draft for part in row.parts if part["type"] == "tool_use"}

    def _add_error(self, error: ClaudeError | None) -> None:
        """The turn has ended so, unless something is said in it after all."""
        draft = self._last()
        if draft is not None and draft.question_id == self._question:
            draft.error = error

    def _add_companion(self, row: Row) -> None:
        draft = self._last()
        if draft is not None and draft.row.kind == "skill_call" and draft.row.uuid == row.parent:
            draft.parts.extend(row.parts)

    def _add_results(self, row: Row) -> None:
        """Each result, and what it has of images, to the message that called the tool."""
        results: list[Part] = []
        for part in row.parts:
            if part["type"] == "tool_result":
                draft, results = self._callers.get(part["id"]), []
                if draft is not None and part["id"] not in draft.results:
                    draft.results[part["id"]] = results
                    draft.is_interrupted |= row.aborted
            results.append(part)

    def _add_compact(self, row: Row) -> None:
        """The command for a compaction stands behind the summary that it is answered with."""
        draft = self._last()
        if draft is not None and draft.row.kind == "summary":
            draft.question_id = row.uuid

    def _add_interrupt(self) -> None:
        draft = self._last()
        if draft is not None and draft.role == "assistant" and draft.question_id == self._question:
            draft.is_interrupted = True
