"""Decide what the demo model does with a request: messages in, a scene out.

Pure and without a memory: the same request and the same ``attempt`` give the same scene.
A question's tools come first; everything else that it asks for happens to the answer after them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cowork.demo import talk
from cowork.demo.directives import PLAN_FILE, ToolCall, Wanted, parse
from cowork.demo.plain_words import understood
from cowork.demo.transcript import Context, ToolResult, is_side_request, read

BREAK_AFTER = 3
"""After so many pieces of text a scene stalls or is cut."""

_BIG_PIECE = 1024
_RESULT_LENGTH = 2000
_PLAN_FILE = re.compile(r"/[^\s\"'`\\]*/plans/[\w.-]+\.md")
_WORD = re.compile(r"\s*\S+\s*")
# What the service says with a status: the error's type and a sentence.
_FAILURES = {
    400: ("invalid_request_error", "messages: the demo model was told to refuse this"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low"),
    403: ("permission_error", "Your API key may not use this"),
    404: ("not_found_error", "model: {model}"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your rate limit"),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error instead of an answer."""

    status: int
    kind: str
    message: str
    retry_after_s: int | None = None


_POISONED = Failure(
    400, "invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What to play: thoughts, then text, then tools, then a reason to stop.

    The pieces are written one after the other, ``delay_s`` seconds between any two.
    ``stall_s`` is a longer pause after ``BREAK_AFTER`` pieces of text; ``cut`` ends the
    connection there. ``hang_s`` is a time without any reply, at whose end the connection ends.
    """

    thoughts: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    tools: tuple[ToolCall, ...] = ()
    stop_reason: str = "end_turn"
    delay_s: float = 0.0
    stall_s: float = 0.0
    cut: bool = False
    hang_s: float = 0.0
    failure: Failure | None = None


def direct(body: Mapping[str, Any], *, attempt: int = 1, delay_s: float = 0.0) -> Scene:
    """The scene for a request's body.

    ``attempt`` counts how often this very step of the conversation was requested, from 1 on.
    ``delay_s`` is the time between words unless the question says another.
    """
    if is_side_request(body):
        return Scene(text=(_aside(body),))
    context = read(body.get("messages") or ())
    if any(parse(each).poison for each in context.questions[:-1]):
        return Scene(failure=_POISONED)
    wanted = _offered(understood(parse(context.question)), body)
    if wanted.delay_ms is not None:
        delay_s = wanted.delay_ms / 1000
    wanted = replace(wanted, then=_with_plan_file(wanted.then, body))
    calling = _calling(wanted, len(context.tool_results), delay_s)
    if calling is not None:
        return calling
    if attempt <= wanted.status_times:
        return Scene(failure=_failure(wanted, str(body.get("model"))))
    if wanted.hang_s:
        return Scene(hang_s=wanted.hang_s)
    cut = bool(body.get("stream")) and attempt <= wanted.cut_times
    return _answer(wanted, context, delay_s=delay_s, cut=cut)


def _calling(wanted: Wanted, results: int, delay_s: float) -> Scene | None:
    """The scene that calls tools, where so many results leave some to call."""
    if wanted.tools and not results:
        names = " and ".join(call.name for call in wanted.tools)
        return Scene(
            thoughts=_thoughts(wanted),
            text=pieces(f"I will use {names}."),
            tools=wanted.tools,
            stop_reason="tool_use",
            delay_s=delay_s,
        )
    if wanted.then and results == len(wanted.tools):
        return Scene(tools=wanted.then, stop_reason="tool_use", delay_s=delay_s)
    return None


def _with_plan_file(calls: tuple[ToolCall, ...], body: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls with the file that a plan is to be written to, which the CLI tells in a message."""
    if not any(call.arguments.get("file_path") == PLAN_FILE for call in calls):
        return calls
    told = _PLAN_FILE.findall(json.dumps(body.get("messages")))
    return tuple(
        replace(call, arguments={**call.arguments, "file_path": told[-1]})
        if told and call.arguments.get("file_path") == PLAN_FILE
        else call
        for call in calls
    )


def _offered(wanted: Wanted, body: Mapping[str, Any]) -> Wanted:
    """With its question to the user as a tool, where the CLI has that."""
    asked = wanted.question
    tools = [each.get("name") for each in body.get("tools") or () if isinstance(each, dict)]
    if asked is None or asked.name not in tools:
        return wanted
    return replace(wanted, tools=(asked,), say=None)


def pieces(text: str) -> tuple[str, ...]:
    """A text in words, each with the blanks after it; joined they are the text."""
    return tuple(_WORD.findall(text)) or ((text,) if text else ())


def _answer(wanted: Wanted, context: Context, *, delay_s: float, cut: bool) -> Scene:
    text = _text(wanted, context)
    stop_reason = "refusal" if wanted.refuse else "end_turn"
    if wanted.max_tokens:
        half = (len(text) + 1) // 2
        stop_reason = stop_reason if context.continued else "max_tokens"
        text = text[half:] if context.continued else text[:half]
    if wanted.cut_times and not cut:
        # After a cut the CLI asks again, in the end without streaming; that the text is another
        # one shows which answer it took.
        text = (*pieces("Once more, in one piece: "), *text)
    fresh = not (context.tool_results or context.continued)
    return Scene(
        thoughts=_thoughts(wanted) if fresh else (),
        text=text,
        stop_reason=stop_reason,
        delay_s=0.0 if wanted.big is not None and wanted.delay_ms is None else delay_s,
        stall_s=wanted.stall_s,
        cut=cut,
    )


def _text(wanted: Wanted, context: Context) -> tuple[str, ...]:
    if wanted.big is not None:
        return _big(wanted.big)
    return pieces(_sentence(wanted, context))


def _sentence(wanted: Wanted, context: Context) -> str:
    if wanted.faults:
        return " ".join(wanted.faults)
    told = _told(wanted, context)
    if told is not None:
        return told
    if wanted.refuse:
        return "I cannot help with that."
    if context.tool_results:
        return "\n".join(map(_quoted_result, context.tool_results))
    earlier = [parse(text).rest or text for text in context.questions[:-1]]
    return talk.reply(wanted.rest, earlier, context.images)


def _told(wanted: Wanted, context: Context) -> str | None:
    """The answer that the question itself prescribes, if it does."""
    if wanted.say is not None:
        return wanted.say
    if wanted.echo:
        return wanted.rest
    if wanted.count:
        return _count(context.questions)
    if wanted.words is not None:
        return _numbered("word", wanted.words)
    return None


def _thoughts(wanted: Wanted) -> tuple[str, ...]:
    return pieces(_numbered("thought", wanted.think))


def _numbered(word: str, count: int) -> str:
    return " ".join(f"{word}{number}" for number in range(1, count + 1))


def _count(questions: Sequence[str]) -> str:
    noun = "question" if len(questions) == 1 else "questions"
    return f"I see {len(questions)} {noun}: " + ", ".join(f'"{text}"' for text in questions)


def _big(size: int) -> tuple[str, ...]:
    """``size`` bytes in numbered lines, so that a lost or doubled piece can be seen."""
    lines = (
        f"{number:08d} ".ljust(_BIG_PIECE - 1, ".") + "\n"
        for number in range(-(-size // _BIG_PIECE))
    )
    text = tuple(lines)
    return (*text[:-1], text[-1][: size - _BIG_PIECE * (len(text) - 1)]) if text else ()


def _quoted_result(result: ToolResult) -> str:
    verb = "failed" if result.failed else "answered"
    return f"{result.name} {verb}: {result.text[:_RESULT_LENGTH]}"


def _failure(wanted: Wanted, model: str) -> Failure:
    status = wanted.status or _SERVER_ERROR
    fallback = 400 if status < _SERVER_ERROR else _SERVER_ERROR
    kind, message = _FAILURES.get(status, _FAILURES[fallback])
    return Failure(status, kind, message.format(model=model), wanted.retry_after_s)


def _aside(body: Mapping[str, Any]) -> str:
    """Something short and harmless for what the CLI asks on its own behalf."""
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    if schema:
        return json.dumps(_example(schema))
    context = read(body.get("messages") or ())
    if context.compact:
        asked = "\n".join(f"- {text}" for text in context.questions) or "- nothing"
        return f"<analysis>A demo.</analysis>\n<summary>\nThe user asked:\n{asked}\n</summary>"
    return "Demo session"


def _example(schema: Mapping[str, Any]) -> Any:
    """The smallest value that fits a JSON schema of the plain kind that the CLI uses."""
    match schema.get("type"):
        case "object":
            return {k: _example(v) for k, v in (schema.get("properties") or {}).items()}
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return 0
    return (schema.get("enum") or ["Demo session"])[0]
