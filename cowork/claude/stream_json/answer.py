"""One turn's messages of the CLI, read into events and, at the end, a `Result`.

Pure: no process, no clock.  Deltas are provisional: the CLI may lose its model connection and
silently ask again, so the `assistant` message that follows a block's deltas decides its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from cowork.claude.stream_json import billing, failures, notices
from cowork.claude.stream_json.answer_text import SEPARATOR, AnswerText
from cowork.claude.stream_json.pairing import EarlierTurns, Pairing
from cowork.claude.stream_json.protocol import Message, TextRun, content_blocks, whole_text
from cowork.claude.stream_json.result import Result
from cowork.errors import CoworkError
from cowork.events import Event, Thinking, TokenBatch, ToolResult

_SESSION_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class AnswerParser:
    """Reads the messages that follow one question, until its result.

    `read` returns what a message adds to the turn's log; `result` is set by the turn's last one.
    A result that says nothing is `unsure`: some CLIs print one before the model speaks, so that it
    is the end only if nothing follows.  `earlier` is what the process's former turns have shown.
    """

    def __init__(self, uuid: str, earlier: EarlierTurns | None = None) -> None:
        self.result: Result | None = None
        self.unsure: Result | None = None
        self.skills: tuple[str, ...] | None = None
        self.used_tools = False
        self.uuid = uuid
        self._earlier = earlier or EarlierTurns()
        self.pairing = Pairing(uuid, self._earlier)
        self._tools: set[str] = set()
        self._text = AnswerText()
        self._message_open = False
        self._message_id: str | None = None
        self._stop_reason: str | None = None
        # The first half of a character whose second one is in the next delta.
        self._half_thought = ""
        self._said_by_cli: list[str] = []
        self._failure_kind: str | None = None
        self._resets_at: float | None = None

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._text.value

    def read(self, message: Message) -> list[Event]:
        """What this message adds.

        Those of another turn, of sub-agents and of no known type add nothing.
        """
        if message.get("parent_tool_use_id") is not None:
            return []
        kind, guessed = message["type"], self.pairing.open and not self.pairing.sure
        if not self.pairing.takes(message):
            # The end of a turn that is not ours: if we took it for ours, what it said is void.
            return self._start_over() if kind == "result" and not self.pairing.open else []
        events: list[Event] = []
        if guessed and self.pairing.sure and kind in _BEGINS:
            events += self._start_over()  # ours begins here
        reader = _READERS.get(kind)
        return events + reader(self, message) if reader is not None else events

    def read_run(self, run: TextRun) -> TokenBatch | None:
        """What many deltas at once add, the same as `read` of each; None where not all are ours."""
        line_tag, literals = self.pairing.line_tag, run.literals
        if line_tag is None or (line_tag and run.lines.count(line_tag) != len(literals)):
            return None
        written = self._text
        if written.prefix or written.half:
            before = written.take_prefix() + written.take_half()
            literals = [orjson.dumps(before)[:-1] + literals[0][1:], *literals[1:]]
        written.live.write(run.text)
        return TokenBatch(literals)

    # -- what the model is writing

    def _stream_event(self, message: Message) -> list[Event]:
        event = message.get("event")
        if not isinstance(event, dict):
            return []
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._delta(event.get("delta"))
        if kind == "message_start":
            return self._message_start(event)
        if kind == "message_delta":
            delta = event.get("delta")
            self._stop_reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        elif kind == "message_stop":
            return self._message_stop(message)
        return []

    def _delta(self, delta: Any) -> list[Event]:
        if not isinstance(delta, dict):
            return []
        text = delta.get("text")
        if isinstance(text, str) and text and delta.get("type") == "text_delta":
            text, self._text.half = whole_text(self._text.half + text)
            return [self._text.write(text)] if text else []
        if delta.get("type") == "thinking_delta" and isinstance(delta.get("thinking"), str):
            thought, self._half_thought = whole_text(self._half_thought + delta["thinking"])
            return [Thinking(thought)]
        return []

    def _message_start(self, event: Message) -> list[Event]:
        events = self._text.drop_message() if self._message_open else []
        body = event.get("message")
        self._message_id = body.get("id") if isinstance(body, dict) else None
        self._begin_message()
        return events

    def _message_stop(self, message: Message) -> list[Event]:
        self._message_open = False
        if message.get("abandoned_blocks") is None or not self._text.live.tell():
            return []
        # The connection broke in a block that was never confirmed: it is asked for again.
        return self._text.drop_message()

    def _begin_message(self) -> None:
        # A message that was cut by max_tokens goes on in the next one.
        self._text.begin_message(continues=self._stop_reason == "max_tokens")
        self._half_thought = ""
        self.unsure = None
        self._message_open = True
        self._stop_reason = None

    # -- what the CLI confirms

    def _assistant(self, message: Message) -> list[Event]:
        body = message.get("message")
        if not isinstance(body, dict):
            return []
        if message.get("error") is not None or body.get("model") == "<synthetic>":
            return self._synthetic(message)
        events: list[Event] = []
        if body.get("id") != self._message_id:
            # Asked again without streaming: the message comes whole, with neither start nor stop.
            events += self._text.drop_message() if self._message_open else []
            self._message_id = body.get("id")
            self._begin_message()
            self._message_open = False
        for block in content_blocks(message):
            if block.get("type") == "text" and isinstance(block.get("text"), str):
                events += self._text.confirm(block["text"])
            elif block.get("type") == "tool_use":
                self.used_tools = True
                use = notices.tool_use(block)
                self._tools.add(use.id)
                events.append(use)
        return events

    def _synthetic(self, message: Message) -> list[Event]:
        """The CLI's own words: an error's, or a command's; the result says which."""
        kind = message.get("error")
        self._failure_kind = kind if isinstance(kind, str) else self._failure_kind
        texts = (block.get("text") for block in content_blocks(message))
        self._said_by_cli += [text for text in texts if isinstance(text, str)]
        return []

    # -- what happens besides

    def _user(self, message: Message) -> list[Event]:
        found = (self._tool_result(message, block) for block in content_blocks(message))
        return [event for event in found if event is not None]

    def _tool_result(self, message: Message, block: Message) -> ToolResult | None:
        """What a tool of this turn gave back; others' are not ours to tell."""
        if block.get("type") != "tool_result":
            return None
        cut = message.get("truncated") is True
        tool = block.get("tool_use_id")
        if cut and tool is None and len(self._tools) == 1:
            (tool,) = self._tools  # the line's beginning did not say
        if not isinstance(tool, str) or tool not in self._tools:
            return None
        self._tools.remove(tool)
        return notices.tool_result(tool, block, cut=cut)

    def _system(self, message: Message) -> list[Event]:
        if message.get("subtype") != "init":
            return notices.system_status(message)
        skills = message.get("skills")
        if isinstance(skills, list):
            self.skills = tuple(skill for skill in skills if isinstance(skill, str))
        return []

    def _rate_limit(self, message: Message) -> list[Event]:
        info = message.get("rate_limit_info")
        if not isinstance(info, dict):
            return []
        until = notices.rejected_until(info)
        self._resets_at = self._resets_at if until is None else until
        return [notices.rate_limit(info)]

    # -- the end

    def _result(self, message: Message) -> list[Event]:
        interrupted = str(message.get("terminal_reason", "")).startswith("aborted")
        error: CoworkError | None = None
        events: list[Event] = []
        if message.get("is_error") is not False:
            error = failures.from_result(message, self._failure_kind, self._resets_at)
        elif message.get("structured_output") is not None:
            events = self._structured(message)
        elif not self.text:
            events = self._unstreamed(message)
        usage = message.get("usage")
        result = Result(
            text=self.text,
            error=error,
            interrupted=interrupted,
            replaced=self._text.was_replaced,
            usage=usage if isinstance(usage, dict) else None,
            cost_usd=self._cost(message),
            spent=billing.tokens(message),
            usage_by_model=billing.by_model(message),
            session_id=_session_of(message),
            structured_output=message.get("structured_output"),
        )
        if error is None and not result.text and result.structured_output is None:
            self.unsure = result
        else:
            self.result = result
        return events

    def _cost(self, message: Message) -> float | None:
        told = billing.cost(message)
        total = message.get("total_cost_usd")
        if not isinstance(total, int | float):
            return told
        before, self._earlier.total_cost_usd = (
            self._earlier.total_cost_usd,
            float(total),
        )
        return told if told is not None else billing.share(float(total), before, message)

    def _structured(self, message: Message) -> list[Event]:
        """The answer is a value, given by a tool call; what the model wrote beside it is not."""
        said = message.get("result")
        text = (
            said if isinstance(said, str) else orjson.dumps(message["structured_output"]).decode()
        )
        return self._text.set(text)

    def _unstreamed(self, message: Message) -> list[Event]:
        """The answer of a turn in which the model wrote nothing, such as a command's."""
        said = SEPARATOR.join(self._said_by_cli) or message.get("result")
        return [self._text.write(said)] if isinstance(said, str) and said else []

    def _start_over(self) -> list[Event]:
        self._message_open, self._said_by_cli = False, []
        return self._text.clear()


def _session_of(message: Message) -> str | None:
    """The session's id, where it is one as the CLI takes it."""
    found = message.get("session_id")
    return found if isinstance(found, str) and _SESSION_ID.fullmatch(found) else None


# What says that a turn begins.
_BEGINS = frozenset({"system", "command_lifecycle"})
_READERS: dict[str, Callable[[AnswerParser, Message], list[Event]]] = {
    "stream_event": AnswerParser._stream_event,  # noqa: SLF001 - its own table
    "assistant": AnswerParser._assistant,  # noqa: SLF001
    "user": AnswerParser._user,  # noqa: SLF001
    "system": AnswerParser._system,  # noqa: SLF001
    "rate_limit_event": AnswerParser._rate_limit,  # noqa: SLF001
    "result": AnswerParser._result,  # noqa: SLF001
}
