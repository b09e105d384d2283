"""What the messages of one CLI say: of its answer, its session, and whether it is ready or idle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cowork.claude.process.control_requests import ControlRequests
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.stdin import StdinWriter
from cowork.claude.process.steers import is_dropped
from cowork.claude.stream_json import protocol
from cowork.claude.stream_json.failures import ProcessGone
from cowork.claude.stream_json.pairing import EarlierTurns, names_a_question
from cowork.claude.stream_json.permissions import permission_request
from cowork.claude.stream_json.protocol import Message, TextRun
from cowork.claude.stream_json.result import Result
from cowork.claude.stream_json.vocabulary import unknown_in
from cowork.errors import ClaudeError, ClaudeFailed, ClaudeUnavailable
from cowork.events import Emitted
from cowork.log import logger, masked
from cowork.runtime.condition import PredicateCondition

log = logger(__name__)

IDLE_TIMEOUT_S = 2.0
# A CLI that is idle and has not ended its turn by then never will.
RESULT_GRACE_S = 5.0
_OURS = frozenset({"control_request", "control_response", "control_cancel_request", "system"})


class MessageDispatcher:
    """Hands what a CLI says to the answer that waits for it.

    It knows nothing of the process that has it: a process that has ended would else be freed by
    the garbage collector alone.  `reply` is the answer of the turn that runs, `failure` why there
    will be no other, `turns` how many questions were asked; `session_id` is what the CLI will
    resume, `last_used` when a turn began or ended (monotonic).  `kill` ends the CLI at once;
    `on_unknown` gets what it says that is not known (`vocabulary.unknown_in`).
    """

    def __init__(
        self,
        pid: int,
        session_id: str,
        *,
        stdin: StdinWriter,
        earlier: EarlierTurns,
        kill: Callable[[], None],
        on_unknown: Callable[[list[str]], None] = lambda _names: None,
    ) -> None:
        self.session_id = session_id
        self.last_used = time.monotonic()
        self.turns = 0
        self.reply: PendingAnswer | None = None
        self.failure: ClaudeError | None = None
        self.is_ready = self.spoke = False
        self.remote_control: bool | None = None
        # Whether it is in plan mode, once it has said that it changed its mode.
        self.plans: bool | None = None
        self._pid = pid
        self._stdin = stdin
        self.requests = ControlRequests(stdin)
        self._earlier = earlier
        self._kill = kill
        self._on_unknown = on_unknown
        self._condition = PredicateCondition()
        self._tells_state = False
        self._is_idle = True
        self._garbage = 0

    def wait_ready(self, until: float) -> bool:
        """Whether the CLI answers, waiting for it until `until` (monotonic); raises `failure`."""
        with self._condition:
            self._condition.wait_for(lambda: self.is_ready or self.failure is not None, until)
            if self.failure is not None:
                raise self.failure
            return self.is_ready

    def wait_idle(self) -> None:
        """The CLI says that it is idle a moment after the result of the turn before."""
        with self._condition:
            idle = self._condition.wait_for(
                lambda: self._is_idle or self.failure is not None, time.monotonic() + IDLE_TIMEOUT_S
            )
        if not idle:
            raise ProcessGone("timeout: the Claude CLI did not become idle")

    def begin(self, reply: PendingAnswer) -> None:
        """A question is about to be sent.  Raises `ProcessGone` where there is nobody to ask."""
        with self._condition:
            if self.failure is not None:
                raise ProcessGone("the Claude CLI has ended")
            self.reply = reply
            self._is_idle = False
        self.last_used = time.monotonic()
        self.turns += 1

    def expect(self, reply: PendingAnswer) -> None:
        """A message that is no question is about to be sent."""
        with self._condition:
            self.reply = reply

    def withdraw(self) -> None:
        """The question could not be sent."""
        with self._condition:
            self.reply = None

    def is_current(self, reply: PendingAnswer) -> bool:
        """Whether it is the answer of the turn that runs."""
        with self._condition:
            return self.reply is reply

    # -- reading, in the reader's thread

    def take(self, lines: bytes) -> None:
        """Take whole lines, from the reader's thread; nearly all are a run of tokens."""
        reply = self.reply
        if reply is not None:
            reply.saw_output = True
            run = protocol.text_run(lines)  # which nearly every block is
            if run is not None:
                tokens = reply.answer.read_run(run)
                if tokens is not None:
                    reply.on_events([tokens])
                    return
        events: list[Emitted] = []
        for part in protocol.parts(lines):
            if isinstance(part, bytes):
                self._take_line(part, events)
            elif self.reply is not None:
                self._take_run(self.reply, part, events)
        if events and self.reply is not None:
            self.reply.on_events(events)

    def _take_run(self, reply: PendingAnswer, run: TextRun, events: list[Emitted]) -> None:
        tokens = reply.answer.read_run(run)
        if tokens is not None:
            events.append(tokens)
            return
        for line in run.lines.split(b"\n")[:-1]:  # some are another turn's
            self._take_line(line, events)

    def _take_line(self, line: bytes, events: list[Emitted]) -> None:
        """Take one line, and add what it says to the running turn, unless it ends that."""
        message = protocol.parse(line)
        if message is None:
            self._count_garbage(line)
            return
        self.spoke = True
        unknown = unknown_in(message)
        if unknown:
            self._on_unknown(unknown)
        if message["type"] in _OURS:
            self._control(message)
        reply = self.reply
        if reply is None:
            self._earlier.record_unowned(message)
            return
        answer = reply.answer
        if message["type"] == "command_lifecycle":
            reply.saw_lifecycle(message)
            if reply.is_unasked and is_dropped(message, answer.uuid):
                self._complete(reply, [], Result(text="", interrupted=True), message)
                return
        events += answer.read(message)
        if answer.pairing.self_started and not answer.pairing.sure:
            reply.on_events([*events])
            events.clear()
            self._end_self_started()
            return
        result = answer.result
        if result is None and (self._is_idle or not self._tells_state):
            result = answer.unsure
        if result is not None:
            self._complete(reply, [*events], result, message)
            events.clear()

    def _complete(
        self, reply: PendingAnswer, events: list[Emitted], result: Result, message: Message
    ) -> None:
        if events:
            reply.on_events(events)
        following = reply.begin_following(message.get("user_message_uuids"))
        with self._condition:
            if self.reply is not reply:
                return  # another thread has ended it
            self.reply = reply.following = following
            self._is_idle = following is None and (self._is_idle or not self._tells_state)
            self.turns += following is not None
        self.last_used = time.monotonic()
        if result.session_id == self.session_id:
            result = replace(result, session_id=None)
        elif result.session_id is not None:
            log.info("CLI switched to another session", pid=self._pid, now=result.session_id)
            self.session_id = result.session_id
        if reply.answer.pairing.self_started:
            self._end_self_started()
        reply.finish(result)

    def overdue(self, reply: PendingAnswer, last_activity: float) -> None:
        """End a turn whose result does not come, once the CLI is silent."""
        silent_at = last_activity + RESULT_GRACE_S
        if silent_at > time.monotonic():
            reply.expect_end(silent_at)
        elif self._is_idle and self.reply is reply:
            self.fail(ClaudeFailed("the Claude CLI ended its turn without a result"))
        else:
            reply.expect_end(float("inf"))

    def _end_self_started(self) -> None:
        """End a CLI that began a turn by itself: whatever set it going, it is not its owner's.

        Killed, since it would go through with that turn; what it leaves is swept by whoever ends
        the process.  A question that it has not begun goes to another one.
        """
        if self.failure is None:
            log.warning("CLI is running a self-started turn, killing it", pid=self._pid)
        self.fail(ProcessGone("the Claude CLI started a turn by itself"))
        self._kill()

    def _control(self, message: Message) -> None:
        kind = message["type"]
        if kind == "control_request":
            self._take_request(message)
        elif kind == "control_response":
            self._control_response(message.get("response"))
        elif kind == "control_cancel_request":
            if self.reply is not None:
                self.reply.cancel_request(message.get("request_id"))
        elif message.get("subtype") == "session_state_changed":
            self._take_state(message.get("state") == "idle")
        elif message.get("subtype") == "init":
            self._take_init(message)
        elif isinstance(message.get("permissionMode"), str):
            self.plans = message["permissionMode"] == "plan"

    def _take_request(self, message: Message) -> None:
        """Hand it to whoever asked the question, where that is served; else refuse it."""
        reply, request = self.reply, permission_request(message)
        if reply is None or request is None or not reply.add_request(request):
            refusal = protocol.control_refusal(message.get("request_id"))
            self._stdin.send(protocol.encode(refusal), timeout=1.0)

    def _take_state(self, idle: bool) -> None:
        with self._condition:
            self._tells_state, self._is_idle = True, idle
            reply = self.reply
            self._condition.notify()
        if reply is None:
            if not idle:
                self._end_self_started()
        elif not idle:
            reply.running = True
        elif reply.running and reply.answer.unsure is None:
            reply.expect_end(time.monotonic() + RESULT_GRACE_S)

    def _take_init(self, message: Message) -> None:
        if not self.is_ready:
            self._become_ready()
        elif self.reply is None and self.turns and not names_a_question(message):
            self._end_self_started()

    def _control_response(self, response: Any) -> None:
        if not isinstance(response, dict):
            return
        if response.get("request_id") != "initialize":
            self.requests.take(response)
            return
        if response.get("subtype") == "error":
            log.error(
                "CLI rejected the initialize request",
                pid=self._pid,
                why=masked(str(response)[:500]),
            )
            self.fail(ClaudeUnavailable("the Claude CLI rejected the initialize request"))
        else:
            self.remote_control = protocol.offers_remote_control(response.get("response"))
            self._become_ready()

    def _become_ready(self) -> None:
        with self._condition:
            self.is_ready = True
            self._condition.notify()

    def _count_garbage(self, line: bytes) -> None:
        if line:
            self._garbage += 1
            if self._garbage == 1:
                shown = masked(line[:200].decode(errors="replace"))
                log.warning("CLI wrote a line that is not a message", pid=self._pid, line=shown)

    def fail(self, failure: ClaudeError, *, died: bool = False) -> None:
        """Mark the process as unusable; the first reason is the one that counts."""
        with self._condition:
            self.failure = failure = self.failure or failure
            reply, self.reply = self.reply, None
            self._condition.notify()
        self.requests.end()
        if reply is not None:
            if died and not reply.saw_output:
                failure = ProcessGone("the Claude CLI died before it read the question")
            reply.finish(reply.answer.cut_off(failure))
