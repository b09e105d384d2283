"""One resident `claude` process: one JSON line in, lines out, interrupt, the escalation of its end.

A thread belongs to each process, for its standard output; it ends with it.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import IO, Any

from cowork.claude import orphans
from cowork.claude.process.escalation import Escalation
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.stderr import StderrTail
from cowork.claude.process.stdin import WRITE_TIMEOUT_S, StdinWriter
from cowork.claude.process.stdout_reader import StdoutReader
from cowork.claude.stream_json import failures, protocol
from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.pairing import EarlierTurns, names_a_question
from cowork.claude.stream_json.protocol import Message, TextRun
from cowork.claude.stream_json.result import Result
from cowork.errors import ClaudeError, ClaudeFailed, ClaudeUnavailable
from cowork.events import Emitted
from cowork.log import logger, masked
from cowork.runtime.condition import PredicateCondition
from cowork.runtime.fd_watcher import FdWatcher
from cowork.runtime.ids import new_hex, new_id

log = logger(__name__)

# The first step of the escalation that ends a process; the others are in `escalation.py`.
INTERRUPT_STEP_S = 1.0
IDLE_TIMEOUT_S = 2.0
# A CLI that is idle and has not ended its turn by then never will.
RESULT_GRACE_S = 5.0
SKILLS_TIMEOUT_S = 10.0
WARM_UP_TIMEOUT_S = 3.0


class ProcessGone(ClaudeFailed):
    """The process was dead before it had read the question, so asking another one is safe."""


class ClaudeProcess:
    """A running CLI and the session it speaks for; answers one question at a time.

    `resumed` is whether another process had the session before; `initialize` holds the fields of
    the request that begins it.
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
    ) -> None:
        self.id = process_id
        self.pid = child.pid
        self.session_id = session_id
        self.cwd = cwd
        self.started = self.last_used = self._asked_at = time.monotonic()
        self.turns = 0
        self.skills: tuple[str, ...] | None = None
        self.remote_control: bool | None = None
        self._child = child
        self._escalation = Escalation(child)
        self._marker = orphans.marker(process_id)
        self._condition = PredicateCondition()
        self._ending = threading.Lock()
        self._reply: PendingAnswer | None = None
        self._earlier = EarlierTurns(resumed=resumed)
        self._ready = self._tells_state = self._read_all = False
        self._idle = True
        self._failure: ClaudeError | None = None
        self._spoke = False
        self._garbage = 0
        self._stdin = StdinWriter(self._pipe(child.stdin))
        # In this order: at the end of standard output, what standard error said is waited for.
        self._stderr = StderrTail(self._pipe(child.stderr))
        self._watcher = watcher
        self._first = protocol.control_request("initialize", "initialize", **(initialize or {}))
        self._stdout_reader = StdoutReader(
            child.pid,
            self._pipe(child.stdout),
            before=self._send_first,
            on_lines=self._take,
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
        return self._failure is None

    @property
    def last_activity(self) -> float:
        """When it was last asked or wrote something (monotonic)."""
        return max(self._asked_at, self._stdout_reader.last_output)

    @property
    def busy(self) -> bool:
        return self._reply is not None

    def wait_ready(self, until: float) -> bool:
        """Whether the CLI answers, waiting for it until `until` (monotonic).

        Raises `SessionMissing` or `SessionInUse` where the session is the trouble, else
        `ClaudeUnavailable`, when it ends instead.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._ready or self._failure is not None, until)
            if self._failure is not None:
                raise self._failure
            return self._ready

    def ask(self, prompt: str, on_events: Callable[[list[Emitted]], None]) -> PendingAnswer:
        """Send a question.  Raises `ProcessGone` where it certainly was not read."""
        self._wait_idle()
        uuid = new_id()
        reply = PendingAnswer(self, AnswerParser(uuid, self._earlier), on_events)
        with self._condition:
            if self._failure is not None:
                raise ProcessGone("the Claude CLI has ended")
            self._reply = reply
            self._idle = False
        self.last_used = self._asked_at = time.monotonic()
        self.turns += 1
        if not self._send(protocol.user_message(prompt, uuid)):
            with self._condition:
                self._reply = None
            raise ProcessGone("the Claude CLI did not accept the question")
        return reply

    def list_skills(self) -> tuple[str, ...] | None:
        """The skills this CLI knows; needs a message, but none that reaches the model.

        The message goes into the session's history, so ask a process of a throwaway session.
        """
        return self._tell("skills", SKILLS_TIMEOUT_S).answer.skills

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
        with self._condition:
            answer = AnswerParser(new_id(), self._earlier)
            reply = self._reply = PendingAnswer(self, answer, lambda _events: None)
        message = protocol.user_message(content, reply.answer.uuid)
        self._send({**message, "shouldQuery": False}, timeout)
        until = time.monotonic() + timeout
        while reply.wait(until) is None and time.monotonic() < until:
            pass  # it was woken
        return reply

    def _wait_idle(self) -> None:
        """The CLI says that it is idle a moment after the result of the turn before."""
        with self._condition:
            idle = self._condition.wait_for(
                lambda: self._idle or self._failure is not None, time.monotonic() + IDLE_TIMEOUT_S
            )
        if not idle:
            raise ProcessGone("timeout: the Claude CLI did not become idle")

    def interrupt(self, reply: PendingAnswer) -> None:
        """Interrupt the turn of `reply`; nothing happens when another turn runs by now."""
        with self._condition:
            if self._reply is not reply:
                return
        self._send_interrupt()

    def _send(self, message: Message, timeout: float = WRITE_TIMEOUT_S) -> bool:
        return self._stdin.send(protocol.encode(message), timeout)

    def _send_interrupt(self) -> None:
        self._send(protocol.control_request(f"interrupt-{new_hex()}", "interrupt"), timeout=1.0)

    # -- reading

    def _send_first(self) -> None:
        """From the reader's thread: a CLI that hangs may not even read it, where it is large."""
        first, self._first = self._first, {}
        self._send(first)

    def _take(self, lines: bytes) -> None:
        reply = self._reply
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
            elif self._reply is not None:
                self._take_run(self._reply, part, events)
        if events and self._reply is not None:
            self._reply.on_events(events)

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
        self._spoke = True
        if message["type"] in _OURS:
            self._control(message)
        reply = self._reply
        if reply is None:
            self._earlier.record_unowned(message)
            return
        answer = reply.answer
        events += answer.read(message)
        if answer.pairing.self_started and not answer.pairing.sure:
            reply.on_events([*events])
            events.clear()
            self._end_self_started()
            return
        result = answer.result
        if result is None and (self._idle or not self._tells_state):
            result = answer.unsure
        if result is not None:
            self._complete(reply, [*events], result)
            events.clear()

    def _complete(self, reply: PendingAnswer, events: list[Emitted], result: Result) -> None:
        if events:
            reply.on_events(events)
        with self._condition:
            if self._reply is not reply:
                return  # another thread has ended it
            self._reply = None
            self._idle = self._idle or not self._tells_state
        self.last_used = time.monotonic()
        if result.session_id == self.session_id:
            result = replace(result, session_id=None)
        elif result.session_id is not None:
            log.info("CLI switched to another session", pid=self.pid, now=result.session_id)
            self.session_id = result.session_id
        if reply.answer.pairing.self_started:
            self._end_self_started()
        reply.finish(result)

    def overdue(self, reply: PendingAnswer) -> None:
        """End a turn whose result does not come, once the CLI is silent."""
        silent_at = self.last_activity + RESULT_GRACE_S
        if silent_at > time.monotonic():
            reply.expect_end(silent_at)
        elif self._idle and self._reply is reply:
            self._fail(ClaudeFailed("the Claude CLI ended its turn without a result"))
        else:
            reply.expect_end(float("inf"))

    def _end_self_started(self) -> None:
        """End a CLI that began a turn by itself: whatever set it going, it is not its owner's.

        Killed, since it would go through with that turn; what it leaves is swept by whoever ends
        the process.  A question that it has not begun goes to another one.
        """
        if self._failure is None:
            log.warning("CLI is running a self-started turn, killing it", pid=self.pid)
        self._fail(ProcessGone("the Claude CLI started a turn by itself"))
        self._child.kill()

    def _control(self, message: Message) -> None:
        kind = message["type"]
        if kind == "control_request":
            self._send(protocol.control_refusal(message), timeout=1.0)
        elif kind == "control_response":
            self._control_response(message.get("response"))
        elif message.get("subtype") == "session_state_changed":
            self._take_state(message.get("state") == "idle")
        elif message.get("subtype") == "init":
            self._take_init(message)

    def _take_state(self, idle: bool) -> None:
        with self._condition:
            self._tells_state, self._idle = True, idle
            reply = self._reply
            self._condition.notify()
        if reply is None:
            if not idle:
                self._end_self_started()
        elif not idle:
            reply.running = True
        elif reply.running and reply.answer.unsure is None:
            reply.expect_end(time.monotonic() + RESULT_GRACE_S)

    def _take_init(self, message: Message) -> None:
        if not self._ready:
            self._become_ready()
        elif self._reply is None and self.turns and not names_a_question(message):
            self._end_self_started()

    def _control_response(self, response: Any) -> None:
        if not isinstance(response, dict) or response.get("request_id") != "initialize":
            return
        if response.get("subtype") == "error":
            log.error(
                "CLI rejected the initialize request", pid=self.pid, why=masked(str(response)[:500])
            )
            self._fail(ClaudeUnavailable("the Claude CLI rejected the initialize request"))
        else:
            self.remote_control = protocol.offers_remote_control(response.get("response"))
            self._become_ready()

    def _become_ready(self) -> None:
        with self._condition:
            self._ready = True
            self._condition.notify()

    def _count_garbage(self, line: bytes) -> None:
        if line:
            self._garbage += 1
            if self._garbage == 1:
                shown = masked(line[:200].decode(errors="replace"))
                log.warning("CLI wrote a line that is not a message", pid=self.pid, line=shown)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # noqa: S101 - Popen was asked for three pipes
        return pipe

    # -- the end

    def _on_unreadable(self, failure: ClaudeFailed) -> None:
        self.shorten_timeouts()  # nobody reads what it would say on its way out
        self._fail(failure)

    def _on_stdout_end(self) -> None:
        """Find out why standard output has ended, and tell whoever waits."""
        try:
            self._escalation.await_exit(lambda: 1.0)
            self._stderr.ended.wait(0.5)
            code, stderr = self._child.poll(), self._stderr.text
            failure = failures.from_death(code, stderr, spoke=self._spoke and self._ready)
            if self._failure is None and stderr.strip():
                log.warning(
                    "CLI process ended", pid=self.pid, code=code, stderr=masked(stderr[-2000:])
                )
            self._fail(failure, died=True)
        finally:
            # By its reader alone: closed by another, under a read, it would never be free.
            self._pipe(self._child.stdout).close()
            with self._condition:
                self._read_all = True
                self._condition.notify()

    def _fail(self, failure: ClaudeError, *, died: bool = False) -> None:
        """Mark the process as unusable; the first reason is the one that counts."""
        with self._condition:
            self._failure = failure = self._failure or failure
            reply, self._reply = self._reply, None
            self._condition.notify()
        if reply is not None:
            if died and not reply.saw_output:
                failure = ProcessGone("the Claude CLI died before it read the question")
            reply.finish(Result(text=reply.answer.text, error=failure))

    def end(self) -> None:
        """Escalate until nothing of this process is left; bounded at about ten seconds.

        interrupt → its result → stdin's end → SIGTERM → SIGKILL → sweep.  Safe to call twice.
        """
        with self._ending:
            hung = not self._end_turn()
            self._fail(ClaudeFailed("the Claude CLI was stopped"))
            self._stdin.close()
            self._escalation.run(hung=hung)
            try:
                self.sweep()
            finally:
                self._close_pipes()

    def _end_turn(self) -> bool:
        """Interrupt the running turn, if there is one; False when the CLI does not react."""
        reply = self._reply
        if reply is None:
            return True
        reply.interrupt()
        deadline = (reply.interrupted_at or time.monotonic()) + INTERRUPT_STEP_S
        while reply.result is None and time.monotonic() < deadline:
            reply.wait(deadline)
        return reply.result is not None

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


_OURS = frozenset({"control_request", "control_response", "system"})
