"""Find the user's own words in what the Claude CLI sends to the model API.

The CLI wraps a question in much that no user wrote.
Seen from 2.1.332, in the order of the request's ``messages``::

    user    [text "<system-reminder>..", text "first question"]
    system  "# Environment .."
    assistant [text ".."]
    user    "second question"
    assistant [tool_use ..]
    user    [tool_result ..]

A turn that failed leaves its question behind, so that one user message holds several text blocks,
oldest first; an interrupted turn leaves a note in brackets beside it.
Therefore each text block is judged by itself, and each one that the CLI did not write is a
question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cowork.demo import images

# How the CLI asks for the rest of an answer that ran into ``max_tokens``.
_CONTINUE = ("Output token limit hit", "Your response was cut off because it exceeded")
# How the CLI asks for the summary that replaces a long history.
_COMPACT = ("CRITICAL: Respond with TEXT ONLY",)
# Texts that the CLI writes in the user's name.
_NOTES = (
    *_CONTINUE,
    *_COMPACT,
    "[Request interrupted",
    "[Image: source",
    "[This turn ended before it finished",
    "[Agent call interrupted",
    "[Tool call ",
    "[Your previous response ",
    "[structured-output-enforce]",
    "Your response above was stopped by a safety classifier",
    "Continue from where you left off.",
    "This session is being continued from",
    "Stop hook feedback",
    "Base directory for this skill: ",
    "Caveat: ",
    "<local-command-",
    "<task-notification>",
)
# What the CLI sends for a question without any words.
_NO_WORDS = "(no content)"
# How the system prompts begin by which the CLI asks for something beside the conversation.
_SIDE_SYSTEMS = (
    "You are naming a coding session",
    "Analyze if this message indicates a new conversation topic",
    "Generate a concise, sentence-case title",
    "Summarize this coding conversation",
)
_REMINDER = r"<system-reminder>.*?</system-reminder>"
_ONE_REMINDER = re.compile(r"\s*<system-reminder>\n?(.*?)</system-reminder>\s*", re.DOTALL)
_LEADING_REMINDERS = re.compile(rf"\A\s*(?:{_REMINDER}\s*)+", re.DOTALL)
# What the server tells a new session of the one that it lost.
_EARLIER = re.compile(r"<earlier_conversation>\n.*?\n</earlier_conversation>", re.DOTALL)
# What was said while the model was at work, with the CLI's words around it.
_STEER = re.compile(
    r"The user sent a new message while you were working:\n(.*?)\n\nThis is how Claude Code",
    re.DOTALL,
)
_TRAILING_REMINDER = re.compile(rf"\s*{_REMINDER}\s*\Z", re.DOTALL)
_COMMAND_NAME = re.compile(r"<command-name>/?(.*?)</command-name>", re.DOTALL)
_COMMAND_ARGS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool that the model called gave back."""

    name: str
    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Context:
    """What the model knows when it is asked."""

    questions: tuple[str, ...] = ()
    """The user's questions, oldest first; the last one is to be answered."""
    tool_results: tuple[ToolResult, ...] = ()
    """What tools gave back since the last question."""
    images: tuple[str, ...] = ()
    """What each image that came with the last question shows."""
    continued: bool = False
    """The answer to the last question was cut at ``max_tokens`` and the rest is wanted."""
    compact: bool = False
    """Not an answer but a summary of the conversation is wanted."""

    @property
    def question(self) -> str:
        """The question to answer; empty when there are no words of the user's."""
        return self.questions[-1] if self.questions else ""


def read(messages: Sequence[Mapping[str, Any]]) -> Context:
    """Read the ``messages`` of a request."""
    questions: list[str] = []
    results: list[ToolResult] = []
    notes: list[str] = []
    shown: list[Mapping[str, Any]] = []
    tools: dict[str, str] = {}
    for message in messages:
        blocks = _blocks(message)
        if message.get("role") == "assistant":
            tools |= {b["id"]: b["name"] for b in blocks if b.get("type") == "tool_use"}
        elif message.get("role") == "user":
            results += [_result(b, tools) for b in blocks if b.get("type") == "tool_result"]
            if any(is_question for _, is_question in _texts(blocks)):
                shown = [b for b in blocks if b.get("type") == "image"]
            for text, is_question in _texts(blocks):
                if is_question:
                    # What came before belongs to an earlier question.
                    questions.append(text)
                    results.clear()
                    notes.clear()
                else:
                    notes.append(text)
    return Context(
        questions=tuple(questions),
        tool_results=tuple(results),
        images=tuple(map(images.describe, shown)),
        continued=any(note.startswith(_CONTINUE) for note in notes),
        compact=bool(notes) and notes[-1].startswith(_COMPACT),
    )


def is_side_request(body: Mapping[str, Any]) -> bool:
    """Whether the CLI asks on its own behalf: a title, a probe of the quota, a summary."""
    wants_json = bool((body.get("output_config") or {}).get("format")) and not body.get("tools")
    if wants_json or body.get("max_tokens") == 1:
        return True
    system = [b.get("text", "") for b in _content(body.get("system"))]
    named = any(text.lstrip().startswith(_SIDE_SYSTEMS) for text in system)
    return named or read(body.get("messages") or ()).compact


def _content(content: object) -> list[dict[str, Any]]:
    """The blocks of a content, which may also be a bare string or absent."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, list):
        return [block for block in content if isinstance(block, dict)]
    return []


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _content(message.get("content"))


def _texts(blocks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, bool]]:
    """The texts of a user's message, each with whether the user wrote it."""
    texts = [_unwrapped(b.get("text", "")) for b in blocks if b.get("type") == "text"]
    texts = [text for text in texts if text]
    at = 0
    while at < len(texts):
        text = texts[at]
        at += 1
        if text.startswith(("<command-name>", "<command-message>")):
            if _is_skill(texts[at:]):
                # The next text is the skill's own, which may repeat the question.
                at += 1
                yield _command(text), True
        elif text == _NO_WORDS:
            yield "", True
        else:
            yield text, not text.startswith(_NOTES)


def _unwrapped(text: str) -> str:
    """A text without the reminders around it, what was said earlier and blanks at its ends.

    A note may itself be a reminder, since 2.1.332.
    """
    note = _ONE_REMINDER.fullmatch(text)
    if note and note[1].startswith(_NOTES):
        return note[1].strip()
    steer = _STEER.match(note[1] if note else text)
    if steer:
        return steer[1].strip()
    text = _TRAILING_REMINDER.sub("", _LEADING_REMINDERS.sub("", text))
    return _EARLIER.sub("", text).strip()


def _is_skill(following: Sequence[str]) -> bool:
    """Whether a command became a prompt; the CLI answers its own commands by itself."""
    return bool(following) and not following[0].startswith("<local-command-")


def _command(text: str) -> str:
    """``/name arguments`` as the user typed it."""
    name, args = _COMMAND_NAME.search(text), _COMMAND_ARGS.search(text)
    return f"/{name[1] if name else ''} {args[1] if args else ''}".strip()


def _result(block: Mapping[str, Any], tools: Mapping[str, str]) -> ToolResult:
    texts = [b["text"] for b in _content(block.get("content")) if b.get("type") == "text"]
    name = tools.get(block.get("tool_use_id", ""), "the tool")
    return ToolResult(name, "\n".join(texts), bool(block.get("is_error")))
