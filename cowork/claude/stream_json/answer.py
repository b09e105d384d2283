"""One turn's messages of the CLI, read into events and, at the end, a `Result`.

Pure: no process, no clock.  Deltas are provisional: the CLI may lose its model connection and
silently ask again, so the `assistant` message that follows a block's deltas decides its text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from cowork.claude.stream_json import billing, failures, notices
from cowork.claude.stream_json.answer_text import SEPARATOR, AnswerText
from cowork.claude.stream_json.pairing import EarlierTurns, Pairing
from cowork.claude.stream_json.protocol import Message, TextRun, content_blocks, whole_text
from cowork.claude.stream_json.request_observer import RequestObserver
from cowork.claude.stream_json.result import Result, session_of
from cowork.claude.stream_json.streamed_usage import StreamedUsage
from cowork.claude.stream_json.subagent_names import SubagentNames
from cowork.claude.stream_json.tool_calls import ToolCalls
from cowork.errors import CoworkError
from cowork.events import Event, Thinking, TokenBatch


class AnswerParser:
    """Reads the messages that follow one question, until its result.

    `read` returns what a message adds to the turn's log; `result` is set by the turn's last one.
    A result that says nothing is `unsure`: some CLIs print one before the model speaks, so that it
    is the end only if nothing follows.  `earlier` is what the process's former turns have shown,
    `cwd` its directory.  Without a `uuid` it goes on with a turn of an earlier process.
    """

    def __init__(
        self,
        uuid: str,
        earlier: EarlierTurns | None = None,
        *,
        cwd: str = "",
        observer: RequestObserver | None = None,
    ) -> None:
        self.result: Result | None = None
        self.unsure: Result | None = None
        self.skills: tuple[str, ...] | None = None
        self.session_model: str | None = None
        self.tools = ToolCalls(cwd)
        self.uuid = uuid
        self._observer = observer
        self._earlier = earlier or EarlierTurns()
        self.pairing = Pairing(uuid, self._earlier)
        self._text = AnswerText()
        self._model: str | None = None
        self.usage = StreamedUsage()
        self._cwd = cwd
        self._subagents = SubagentNames()
        self._message_open = False
        self._message_id: str | None = None
        self._stop_reason: str | None = None
        # The first half of a character whose second one is in the next delta.
        self._half_thought = ""
        self._said_by_cli: list[str] = []
        self._failure_kind: str | None = None
        self._resets_at: float | None = None

    def following(self, uuid: str) -> AnswerParser:
        """For the answer to a message that the CLI goes on with by itself."""
        return AnswerParser(uuid, self._earlier, cwd=self._cwd)

    def observe(self, observer: RequestObserver | None) -> None:
        """Tell of the requests to the model from now on."""
        self._observer = observer

    def continue_text(self, text: str) -> None:
        """What an earlier process has said of the answer, which goes on behind it."""
        self._text.restore(text)

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._text.value

    def read(self, message: Message) -> list[Event]:
        """What this message adds.

        Those of another turn and of no known type add nothing, of sub-agents only their tools.
        """
        if message.get("parent_tool_use_id") is not None:
            return self._of_subagent(message) if self.pairing.open else []
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

    @property
    def used_tools(self) -> bool:
        """Whether the model has called one."""
        return self.tools.used

    def _of_subagent(self, message: Message) -> list[Event]:
        """Its tools; what it says is for the model."""
        if message["type"] == "assistant":
            return [self.tools.begin(each, message) for each in _tool_uses(message)]
        return self._user(message) if message["type"] == "user" else []

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
            self.usage.update(event)
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
        self._saw_model(body)
        return events

    def _saw_model(self, body: Any) -> None:
        """Which model has begun to answer a request, and what that takes so far."""
        if isinstance(body, dict):
            model = body.get("model")
            self._model = model if isinstance(model, str) else self._model
            self.usage.begin(body, self._model)

    def _message_stop(self, message: Message) -> list[Event]:
        self._message_open = False
        if message.get("abandoned_blocks") is None:
            self._request_ended()
            return []
        if not self._text.live.tell():
            return []
        # The connection broke in a block that was never confirmed: it is asked for again.
        return self._text.drop_message()

    def _request_ended(self) -> None:
        if self._observer is not None:
            self._observer.request_ended(self.usage.last)

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
            self._saw_model(body)
            self._request_ended()
        for block in content_blocks(message):
            if block.get("type") == "text" and isinstance(block.get("text"), str):
                events += self._text.confirm(block["text"])
            elif block.get("type") == "tool_use":
                events.append(self.tools.begin(block, message))
        return events

    def _synthetic(self, message: Message) -> list[Event]:
        """The CLI's own words: an error's, or a command's; the result says which."""
        kind = message.get("error")
        self._failure_kind = kind if isinstance(kind, str) else self._failure_kind
        removed = notices.media_removed(message)
        if removed is not None:
            self._failure_kind = None  # it is asked again without
            return [removed]
        texts = (block.get("text") for block in content_blocks(message))
        self._said_by_cli += [text for text in texts if isinstance(text, str)]
        return []

    # -- what happens besides

    def _user(self, message: Message) -> list[Event]:
        waited = bool(self.tools.waiting)
        events: list[Event] = []
        for block in content_blocks(message):
            events += self.tools.end(message, block)
        if waited and not self.tools.waiting and self._observer is not None:
            self._observer.tools_ended()
        return events

    def _system(self, message: Message) -> list[Event]:
        if message.get("subtype") != "init":
            return [self._subagents.named(each) for each in notices.system_status(message)]
        model = message.get("model")
        self.session_model = model if isinstance(model, str) else None
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
            cost_usd=self._earlier.cost_of(message),
            spent=billing.tokens(message),
            usage_by_model=billing.by_model(message),
            session_id=session_of(message),
            structured_output=message.get("structured_output"),
            model=self._model,
            stop_reason=reason if isinstance(reason := message.get("stop_reason"), str) else None,
            context_tokens=billing.context(self.usage.last),
            context_limit=billing.context_limit(message, self._model),
            permission_denials=self.tools.denials(message),
            files_changed=self.tools.files_changed,
        )
        if error is None and not result.text and result.structured_output is None:
            self.unsure = result
        else:
            self.result = result
        return events

    def cut_off(self, error: CoworkError | None = None, *, interrupted: bool = False) -> Result:
        """What there is of a turn whose process ends, or is given up, without its result.

        Its tokens are what the stream has told; nothing has told what they cost.
        """
        spent = self.usage.by_model
        tokens = billing.sum_tokens(spent) if spent else None
        return Result(
            text=self.text,
            error=error,
            interrupted=interrupted,
            replaced=self._text.was_replaced,
            usage=tokens,
            spent=tokens,
            usage_by_model=spent or None,
            model=self._model,
            context_tokens=billing.context(self.usage.last),
            files_changed=self.tools.files_changed,
        )

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


def _tool_uses(message: Message) -> list[Message]:
    return [block for block in content_blocks(message) if block.get("type") == "tool_use"]


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
