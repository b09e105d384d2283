"""One resident `claude` process: one JSON line in, lines out, interrupt, the escalation of its end.

A thread belongs to each process, for its standard output; it ends with it.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from cowork.claude import orphans
from cowork.claude.process.configuration import Configuration
from cowork.claude.process.continuation import Continuation
from cowork.claude.process.control_requests import ControlRequests
from cowork.claude.process.dispatcher import MessageDispatcher
from cowork.claude.process.escalation import Escalation
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.stderr import StderrTail
from cowork.claude.process.stdin import WRITE_TIMEOUT_S, StdinWriter
from cowork.claude.process.stdout_reader import StdoutReader
from cowork.claude.stream_json import failures, protocol
from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.failures import ProcessGone
from cowork.claude.stream_json.pairing import EarlierTurns
from cowork.claude.stream_json.protocol import Message
from cowork.claude.stream_json.request_observer import RequestObserver
from cowork.errors import ClaudeFailed
from cowork.events import Emitted
from cowork.log import logger, masked
from cowork.runtime.condition import PredicateCondition
from cowork.runtime.fd_watcher import FdWatcher
from cowork.runtime.ids import new_hex, new_id

log = logger(__name__)

# The first step of the escalation that ends a process; the others are in `escalation.py`.
INTERRUPT_STEP_S = 1.0
SKILLS_TIMEOUT_S = 10.0
WARM_UP_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0


class ClaudeProcess:
    """A running CLI and the session it speaks for; answers one question at a time.

    `continued` is the answer of the turn that it goes on with, where it does.  `resumed` is whether
    another process had the session before; `initialize` holds the fields of the request that
    begins it.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        *,
        process_id: str,
        session_id: str,
        cwd: str,
        watcher: FdWatcher,
        resumed: bool = False,
        initialize: Mapping[str, Any] | None = None,
        model: str | None = None,
        plans: bool = False,
        continuation: Continuation | None = None,
        on_unknown: Callable[[list[str]], None] = lambda _names: None,
    ) -> None:
        self.id = process_id
        self.pid = child.pid
        self.cwd = cwd
        self.started = self._asked_at = time.monotonic()
        self.skills: tuple[str, ...] | None = None
        self.model: str | None = None
        self._plans = plans
        self._child = child
        self._escalation = Escalation(child)
        self._marker = orphans.marker(process_id)
        self._ending = threading.Lock()
        self._condition = PredicateCondition()
        self._read_all = False
        self._earlier = EarlierTurns(resumed=resumed)
        self._stdin = StdinWriter(self._pipe(child.stdin))
        self._dispatcher = MessageDispatcher(
            child.pid,
            session_id,
            stdin=self._stdin,
            earlier=self._earlier,
            kill=child.kill,
            on_unknown=on_unknown,
        )
        self.configuration = Configuration(self.requests, model)
        self.continued: PendingAnswer | None = None
        if continuation is not None:  # before the CLI says anything
            self.continued = self._continue(continuation)
        # In this order: at the end of standard output, what standard error said is waited for.
        self._stderr = StderrTail(self._pipe(child.stderr))
        self._watcher = watcher
        self._first = protocol.control_request("initialize", "initialize", **(initialize or {}))
        self._stdout_reader = StdoutReader(
            child.pid,
            self._pipe(child.stdout),
            before=self._send_first,
            on_lines=self._dispatcher.take,
            on_failure=self._on_unreadable,
            on_end=self._on_stdout_end,
        )
        self._begin_reading()

    def _begin_reading(self) -> None:
        """Raises `RuntimeError`, with the child ended, where there is no thread for it."""
        watched = False
        try:
            watched = self._watcher.watch(self._stderr)
            self._stdout_reader.thread.start()
        except RuntimeError:
            self._escalation.kill()
            self._stdin.close()
            self._pipe(self._child.stdout).close()
            if watched:
                self._watcher.unwatch(self._stderr)
            raise
        finally:
            if not watched:  # nobody waits on it; else only whoever does may close it
                self._stderr.close()

    @property
    def alive(self) -> bool:
        """Whether it can be asked: it has not ended, failed or begun to end."""
        return self._dispatcher.failure is None

    @property
    def exit_code(self) -> int | None:
        """The code it has ended with, negative for a signal; None while it lives."""
        return self._child.poll()

    @property
    def last_activity(self) -> float:
        """When it was last asked or wrote something (monotonic)."""
        return max(self._asked_at, self._stdout_reader.last_output)

    @property
    def busy(self) -> bool:
        return self._dispatcher.reply is not None

    @property
    def session_id(self) -> str:
        """What the CLI will resume; some commands begin another session."""
        return self._dispatcher.session_id

    @property
    def turns(self) -> int:
        """How many questions it was asked."""
        return self._dispatcher.turns

    @property
    def last_used(self) -> float:
        """When it was last asked or ended a turn (monotonic)."""
        return self._dispatcher.last_used

    @property
    def remote_control(self) -> bool | None:
        """Whether its session can be steered from elsewhere; None where it did not say."""
        return self._dispatcher.remote_control

    @property
    def requests(self) -> ControlRequests:
        """For control requests to the CLI."""
        return self._dispatcher.requests

    @property
    def has_left_its_mode(self) -> bool:
        """Whether it began to plan, or ended that, so that another question would not expect it."""
        return self._dispatcher.plans is not None and self._dispatcher.plans != self._plans

    def wait_idle(self) -> None:
        """Wait until the CLI has put its former turn away; raises `ProcessGone`."""
        self._dispatcher.wait_idle()

    def wait_ready(self, until: float) -> bool:
        """Whether the CLI answers, waiting for it until `until` (monotonic).

        Raises `SessionMissing` or `SessionInUse` where the session is the trouble, else
        `ClaudeUnavailable`, when it ends instead.
        """
        return self._dispatcher.wait_ready(until)

    def ask(
        self,
        prompt: str | list[Any],
        on_events: Callable[[list[Emitted]], object],
        *,
        uuid: str | None = None,
        observer: RequestObserver | None = None,
        takes_requests: bool = False,
    ) -> PendingAnswer:
        """Send a question, as text or content blocks; `uuid` is its name in the transcript.

        Raises `ProcessGone` where it certainly was not read.
        """
        self._dispatcher.wait_idle()
        uuid = uuid or new_id()
        answer = AnswerParser(uuid, self._earlier, cwd=self.cwd, observer=observer)
        reply = PendingAnswer(self, answer, on_events, takes_requests=takes_requests)
        self._dispatcher.begin(reply)
        self._asked_at = self._dispatcher.last_used
        if not self._send(protocol.user_message(prompt, uuid)):
            self._dispatcher.withdraw()
            raise ProcessGone("the Claude CLI did not accept the question")
        return reply

    def steer(self, reply: PendingAnswer, text: str, uuid: str) -> bool:
        """Give the CLI a message for the turn of `reply`, which it takes in when it can.

        False where that turn takes none any more, or the CLI did not read it: it is killed then.
        """
        if not self._dispatcher.is_current(reply) or not reply.steers.expect(uuid):
            return False
        reply.answer.pairing.add(uuid)
        if not self._send(protocol.user_message(text, uuid)):
            self.kill()
            return False
        return True

    def _continue(self, continuation: Continuation) -> PendingAnswer:
        """The answer of the turn that this process goes on with by itself."""
        answer = AnswerParser("", self._earlier, cwd=self.cwd, observer=continuation.observer)
        answer.continue_text(continuation.text)
        if continuation.call is not None:
            answer.tools.restore(*continuation.call)
        reply = PendingAnswer(self, answer, continuation.on_events, takes_requests=True)
        self._dispatcher.begin(reply)
        self._asked_at = self._dispatcher.last_used
        return reply

    def answer_request(self, request_id: str, answer: Message) -> bool:
        """Answer what the CLI has asked; False where it did not take that."""
        return self._send(protocol.control_answer(request_id, answer), ANSWER_TIMEOUT_S)

    def list_skills(self) -> tuple[str, ...] | None:
        """The skills this CLI knows; needs a message, but none that reaches the model.

        The message goes into the session's history, so ask a process of a throwaway session.
        """
        answer = self._tell("skills", SKILLS_TIMEOUT_S).answer
        self.model = answer.session_model
        return answer.skills

    def warm_up(self) -> bool:
        """Send a message that the CLI does not forward to the model: the first turn is faster.

        Only for a session that is yet to begin: nothing of it is kept, no transcript is made, and
        the model is not asked.  False where the CLI does not play along; it is of no use then.
        """
        reply = self._tell([], WARM_UP_TIMEOUT_S)
        self.skills = reply.answer.skills
        result = reply.result
        return result is not None and result.error is None and not result.text

    def _tell(self, content: str | list[Any], timeout: float) -> PendingAnswer:
        """The reply to a message that the model is not asked about."""
        answer = AnswerParser(new_id(), self._earlier)
        reply = PendingAnswer(self, answer, lambda _events: None)
        self._dispatcher.expect(reply)
        message = protocol.user_message(content, reply.answer.uuid)
        self._send({**message, "shouldQuery": False}, timeout)
        until = time.monotonic() + timeout
        while reply.wait(until) is None and time.monotonic() < until:
            pass  # it was woken
        return reply

    def interrupt(self, reply: PendingAnswer) -> None:
        """Interrupt the turn of `reply`; nothing happens when another turn runs by now."""
        if self._dispatcher.is_current(reply):
            self._send_interrupt()

    def overdue(self, reply: PendingAnswer) -> None:
        """End a turn whose result does not come, once the CLI is silent."""
        self._dispatcher.overdue(reply, self.last_activity)

    def _send(self, message: Message, timeout: float = WRITE_TIMEOUT_S) -> bool:
        return self._stdin.send(protocol.encode(message), timeout)

    def _send_interrupt(self) -> None:
        # What waits would else begin another turn.
        request = protocol.control_request(
            f"interrupt-{new_hex()}", "interrupt", cancel_queued=True
        )
        self._send(request, timeout=1.0)

    # -- reading

    def _send_first(self) -> None:
        """From the reader's thread: a CLI that hangs may not even read it, where it is large."""
        first, self._first = self._first, {}
        self._send(first)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # noqa: S101 - Popen was asked for three pipes
        return pipe

    # -- the end

    def _on_unreadable(self, failure: ClaudeFailed) -> None:
        self.shorten_timeouts()  # nobody reads what it would say on its way out
        self._dispatcher.fail(failure)

    def _on_stdout_end(self) -> None:
        """Find out why standard output has ended, and tell whoever waits."""
        try:
            self._escalation.await_exit(lambda: 1.0)
            self._stderr.ended.wait(0.5)
            code, stderr = self._child.poll(), self._stderr.text
            spoke = self._dispatcher.spoke and self._dispatcher.is_ready
            failure = failures.from_death(code, stderr, spoke=spoke)
            if self.alive and stderr.strip():
                log.warning(
                    "CLI process ended", pid=self.pid, code=code, stderr=masked(stderr[-2000:])
                )
            self._dispatcher.fail(failure, died=True)
        finally:
            # By its reader alone: closed by another, under a read, it would never be free.
            self._pipe(self._child.stdout).close()
            with self._condition:
                self._read_all = True
                self._condition.notify()

    def end(self) -> None:
        """Escalate until nothing of this process is left; bounded at about ten seconds.

        interrupt → its result → stdin's end → SIGTERM → SIGKILL → sweep.  Safe to call twice.
        """
        with self._ending:
            hung = not self._end_turn()
            self._dispatcher.fail(ClaudeFailed("the Claude CLI was stopped"))
            self._stdin.close()
            self._escalation.run(hung=hung)
            try:
                self.sweep()
            finally:
                self._close_pipes()

    def _end_turn(self) -> bool:
        """Interrupt the running turn, if there is one; False when the CLI does not react."""
        reply = self._dispatcher.reply
        if reply is None:
            return True
        reply.interrupt()
        deadline = (reply.interrupted_at or time.monotonic()) + INTERRUPT_STEP_S
        while reply.result is None and time.monotonic() < deadline:
            reply.wait(deadline)
        return reply.result is not None

    def kill(self) -> None:
        """Kill the CLI in the middle of its turn, so that it writes nothing more of it.

        `end` has to follow.
        """
        self._dispatcher.fail(ClaudeFailed("the Claude CLI was stopped"))
        self._escalation.kill()

    def shorten_timeouts(self) -> None:
        """Shorten every step of the escalation, also of one that is under way."""
        self._escalation.shorten()

    def sweep(self) -> None:
        """Kill what carries our marker and is not the CLI or a server that it keeps.

        While the CLI lives, only processes outside its Unix session are swept: its tools run in
        sessions of their own, its MCP servers do not.
        """
        own = None if self._child.poll() is not None else self.pid
        killed = orphans.sweep(self._marker, spare=lambda pid: orphans.session_of(pid) == own)
        if killed:
            log.info("killed leftover processes of a turn", pid=self.pid, killed=len(killed))

    def _close_pipes(self) -> None:
        self._watcher.unwatch(self._stderr)
        # A pipe that somebody else still holds has a reader still, who closes it at its end.
        with self._condition:
            self._condition.wait_for(lambda: self._read_all, time.monotonic() + 1.0)
