"""The resident process: one session, one turn after another, until stdin or a signal ends it."""

# pathlib costs 10 ms at a start that takes 20.
# ruff: noqa: PTH118, PTH208

from __future__ import annotations

import _signal as signal
import os
import time

from . import children, scenes
from .listener import Interrupted, Listener
from .transcript import Transcript, home
from .turn import Turn
from .wire import Wire, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .config import Config

_MODELS = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5", "fable": "claude-fable-5-2"}
_DEFAULT_MODEL = "claude-opus-5-5"
_SKILLS = ["deep-research", "dataviz", "update-config", "verify", "debug", "simplify", "batch"]
_COMMANDS = ["clear", "compact", "config", "context", "init", "model", "usage"]
_BACKLOG_LIMIT = 1 << 20
_DRAIN_S = 10.0


class Process:
    """One `claude` and its session.

    `unsolicited_at` is when it will begin a turn by itself, `tool` the pid of the running tool,
    `failed_last` whether the last result was an error: that is the exit code at stdin's end.
    `requests` were sent to the model by this process, `billed` of them before this turn,
    `carried` by those of the session that ended cleanly before it.
    """

    def __init__(self, config: Config, argv: list[str], flags: dict[str, str]) -> None:
        self.config = config
        self.argv = argv
        self.flags = flags
        self.wire = Wire()
        self.model = self.model_named(flags.get("--model"))
        self.permission = flags.get("--permission-mode", "default")
        self.turn: Turn | None = None
        self.tool: int | None = None
        self.results = 0
        self.requests = self.billed = self.carried = 0
        self.unsolicited_at: float | None = None
        self.failed_last = False
        self._stem = f"{os.urandom(4).hex()}-{os.urandom(2).hex()}-4{os.urandom(2).hex()[1:]}-8fff-"
        self._ids = 0
        self.session = flags.get("--resume") or flags.get("--session-id") or self.uuid()
        self.transcript = Transcript(self.session, config.version)
        self.listener = Listener(self)
        self._open_session(resumed="--resume" in flags)
        self.carried = self.transcript.requests
        signal.signal(signal.SIGINT, self._on_sigint)
        signal.signal(signal.SIGTERM, self._on_end)
        signal.signal(signal.SIGHUP, self._on_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # Ends a wait; see Wire.

    # -- life

    def run(self) -> NoReturn:
        """Play until there is nothing left to do."""
        while True:
            messages = self.listener.take()
            if messages:
                self._play(Turn(self, messages))
            elif self.unsolicited_at is not None and self.unsolicited_at <= time.monotonic():
                self.unsolicited_at = None
                self._play(Turn(self, []))
            elif self.wire.ended:
                self.leave(1 if self.failed_last else 0)
            else:
                self._read(self._idle_s())

    def leave(self, code: int, *, drain: bool = True) -> NoReturn:
        """End, keeping what is to be kept."""
        self.transcript.flush(now=True)
        if self.results:
            self.transcript.keep_requests(self.carried + self.requests)
        if drain and self.config.drain:
            self.wire.drain(_DRAIN_S)
        self.config.log.add("exit", code=code)
        os._exit(code)

    def die(self, complaint: str) -> NoReturn:
        """A bad line on stdin: the real CLI ends on the spot, in mid-turn too."""
        complain(complaint)
        self.leave(1)

    # -- what a turn does

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass; raises Interrupted."""
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            self._read(max(0.0, left))
            self._stop_if_told()
            if left <= 0:
                return

    def emit(self, line: str) -> None:
        """Print an event; waits while the reader is far behind, raises Interrupted."""
        partial = line.startswith('{"type":"stream_event"')
        if not partial or "--include-partial-messages" in self.flags:
            self.send(f"{line}\n".encode())

    def send(self, data: bytes) -> None:
        """Print bytes as they are."""
        self.wire.write(data)
        while self.wire.backlog > _BACKLOG_LIMIT:
            self._read(None)
            self._stop_if_told()

    def say(self, scene: str, **values: object) -> None:
        """Print the lines of a scene that needs no turn."""
        filled: dict[str, object] = {"session": self.session, **values}
        for line in scenes.load(scene):
            if isinstance(line, scenes.Line):
                filled["uuid"] = self.uuid()
                self.emit(line.fill(lambda name: scenes.to_json(filled[name])))

    def say_state(self, state: str) -> None:
        """`session_state_changed`, where the environment asks for it."""
        if os.environ.get("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS") == "1":
            self.say("state", state=state)

    def uuid(self) -> str:
        """A fresh UUID, cheaply: a random stem and a count."""
        self._ids += 1
        return f"{self._stem}{self._ids:012x}"

    def model_named(self, name: object) -> str:
        """The model an alias stands for; any other name stands for itself."""
        return _MODELS.get(str(name), str(name) if name else _DEFAULT_MODEL)

    def skills(self) -> list[str]:
        """Names of the skills: those that come along, and the user's; a name is there once."""
        try:
            own = sorted(os.listdir(os.path.join(home(), "skills")))
        except OSError:
            own = []
        own = [name for name in own if name not in _SKILLS]
        return [*_SKILLS, *own]

    def commands(self) -> list[str]:
        """Names of the slash commands; every skill is one."""
        return [*self.skills(), *_COMMANDS]

    # -- sessions, turns, signals

    def _open_session(self, *, resumed: bool) -> None:
        known = self.transcript.exists()
        if resumed and not known:
            error = f"No conversation found with session ID: {self.session}"
            self.say("resume_unknown", cost=0, index=0, elapsed=0, error=error)
            self.die(error)
        if known and not resumed:
            self.die(f"Error: Session ID {self.session} is already in use.")
        if known:
            self.transcript.load()

    def _play(self, turn: Turn) -> None:
        self.turn = turn
        start = time.monotonic()
        turn.keep_questions()
        if not self.transcript.enter():
            self.config.log.add("overlap", what="process", session=self.session)
        try:
            outcome = turn.play()
        except Interrupted:
            self.turn = None  # Nothing interrupts the last words.
            outcome = turn.play_interrupted(by_signal=self.listener.signalled)
        self.turn = None
        self.listener.told_to_stop = False
        self.transcript.leave()
        self.billed = self.requests
        fields = {"uuid": turn.uuid, "text": turn.question, "outcome": outcome}
        self.config.log.add(
            "turn", session=self.session, start=start, end=time.monotonic(), **fields
        )
        if self.listener.signalled:
            self.leave(0)

    def _read(self, timeout: float | None) -> None:
        lines = self.wire.pump(timeout)
        self.transcript.flush()
        for line in lines:
            self.listener.hear(line)

    def _stop_if_told(self) -> None:
        if self.listener.told_to_stop and self.turn is not None:
            raise Interrupted

    def _idle_s(self) -> float | None:
        waits = [self.transcript.wait_s]
        if self.unsolicited_at is not None:
            waits.append(max(0.0, self.unsolicited_at - time.monotonic()))
        return min((wait for wait in waits if wait is not None), default=None)

    def _on_sigint(self, *_: object) -> None:
        if self.turn is None and not self.listener.waiting:
            self.leave(0)
        self.listener.told_to_stop = self.listener.signalled = True

    def _on_end(self, number: int, _: object) -> NoReturn:
        if self.tool is not None and self.config.term_kills_tools:
            children.kill(self.tool)
        self.leave(128 + number, drain=False)
