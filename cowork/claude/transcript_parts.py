"""What a row of a transcript shows: its content blocks as parts of a message.  Pure.

Every function takes blocks of whatever shape and passes over what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cowork.claude.stream_json import notices

Part = dict[str, Any]
Block = dict[str, Any]

_ATTACHED = ("image", "document")
_UNREADABLE_IMAGE = "[Image could not be processed: "
# The arguments stand there as they were sent, with whatever brackets they have.
_SKILL_CALL = re.compile(
    r"<command-message>[^<]*</command-message>\n<command-name>/([^<]*)</command-name>"
    r"(?:\n<command-args>(.*)</command-args>)?",
    re.DOTALL,
)
# What the server puts before a question, and behind a skill's: JSON in which no `<` stands.
_EARLIER = r"<earlier_conversation>\n[^<]*\n</earlier_conversation>"
_EARLIER_FIRST = re.compile(rf"\A{_EARLIER}\n\n")
_EARLIER_LAST = re.compile(rf"\n\n{_EARLIER}\Z")
# The model's own words of a summary stand between these; behind them is a path of the server's.
_SUMMARY_BEGINS = "Summary:\n"
_SUMMARY_ENDS = (
    "\n\nIf you need specific details from before compaction",
    "\nContinue the conversation from where it left off",
)


def blocks_of(content: object) -> list[Block]:
    """The blocks of a content, which may also be a bare string or absent."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, list):
        return [block for block in content if isinstance(block, dict)]
    return []


def text_in(block: Block) -> str:
    """The text of a text block, and of any other none."""
    text = block.get("text") if block.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def is_skill_call(blocks: list[Block]) -> bool:
    """Whether the CLI made this of `/skill arguments`."""
    return any(_SKILL_CALL.fullmatch(text_in(block)) for block in blocks)


def said(blocks: list[Block]) -> Iterator[Part]:
    """What a person said, without what the server put around it."""
    for block in blocks:
        text = text_in(block)
        if block.get("type") in _ATTACHED:
            yield _attached(block)
        elif text.startswith(_UNREADABLE_IMAGE) and len(blocks) > 1:
            # The CLI's words in the place of an image.
            yield {"type": "image", "media_type": None}
        elif text := _without_blank(_EARLIER_FIRST.sub("", text)):
            yield {"type": "text", "text": text}


def said_to_skill(blocks: list[Block]) -> Iterator[Part]:
    """What a person said to a skill; with no word for it, its call."""
    for block in blocks:
        if (call := _SKILL_CALL.fullmatch(text_in(block))) is not None:
            text = _EARLIER_LAST.sub("", call[2] or "") or f"/{call[1]}"
            yield {"type": "text", "text": text, "skill": call[1]}
        else:
            yield from said([block])


def attached(blocks: list[Block]) -> Iterator[Part]:
    """The images and documents alone."""
    yield from (_attached(block) for block in blocks if block.get("type") in _ATTACHED)


def answered(blocks: list[Block]) -> Iterator[Part]:
    """What the model said, thought and called."""
    for block in blocks:
        kind, thought = block.get("type"), block.get("thinking")
        if kind in ("tool_use", "server_tool_use"):
            use = notices.tool_use(block)
            yield {"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}
        elif kind == "thinking" and isinstance(thought, str) and thought:
            yield {"type": "thinking", "text": thought}
        elif text := text_in(block):
            yield {"type": "text", "text": text}


def results(blocks: list[Block]) -> Iterator[Part]:
    """What tools gave back, each before the images and documents in it."""
    for block in blocks:
        tool, content = block.get("tool_use_id"), block.get("content")
        if block.get("type") == "tool_result" and isinstance(tool, str):
            result = notices.tool_result(tool, block, cut=False)
            yield {
                "type": "tool_result",
                "id": tool,
                "content": result.content,
                "is_error": result.is_error,
                **({"truncated": True} if result.truncated else {}),
            }
            yield from attached(blocks_of(content))


def summary(blocks: list[Block]) -> Iterator[Part]:
    """A compaction's summary, without what the CLI says around it to the model."""
    text = "\n".join(map(text_in, blocks))
    begins = text.find(_SUMMARY_BEGINS)
    text = text[begins + len(_SUMMARY_BEGINS) :] if begins >= 0 else text
    ends = [at for at in map(text.rfind, _SUMMARY_ENDS) if at >= 0]
    if text := text[: min(ends, default=len(text))].strip():
        yield {"type": "summary", "text": text}


def _attached(block: Block) -> Part:
    """An image or a document by its kind and name; what is in it stays in the transcript."""
    source, name = block.get("source"), block.get("title")
    media_type = source.get("media_type") if isinstance(source, dict) else None
    part = {
        "type": block["type"],
        "media_type": media_type if isinstance(media_type, str) else None,
    }
    return {**part, "name": name} if isinstance(name, str) else part


def _without_blank(text: str) -> str:
    """Without the blank that the server puts before a `/`, so that it is no command."""
    return text[1:] if text.startswith(" /") else text
