"""The whole way from a client to the model: real gunicorn, the real CLI, the demo model."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from cowork.claude import orphans
from cowork.demo.model import Model, serve
from cowork.demo.record import RecordedRequest
from tests import program
from tests.serving import Client, Frame, Gunicorn, frames, free_port, wait_for

DELAY_S = 0.01
_WAITING = 'python3 -c "import sys, time; time.sleep(int(sys.argv[1]))"'


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server with everything around it; `folder` holds all that it may write to."""

    server: Gunicorn
    model: Model
    folder: Path
    seen: set[int] = field(default_factory=set)

    @property
    def config(self) -> Path:
        """The CLI's own folder: settings, transcripts, bookkeeping."""
        return self.folder / "config"

    @property
    def workspace(self) -> Path:
        """Where the CLI works."""
        return self.folder / "workspace"

    def processes(self) -> list[int]:
        """The pids of all that the server has started: CLIs, their tools and what those left."""
        self.seen.update(self.server.workers() if self.server.child.poll() is None else ())
        return [pid for worker in self.seen for pid in orphans.find_started_by(worker)]

    def clis(self) -> dict[int, list[str]]:
        """The resident CLIs: pid and argv."""
        found = {pid: argv_of(pid) for pid in self.processes()}
        return {pid: argv for pid, argv in found.items() if "--input-format=stream-json" in argv}

    def cli(self, session_id: str) -> int:
        """The pid of the session's resident CLI; there is exactly one."""
        (pid,) = [
            pid
            for pid, argv in self.clis().items()
            if {f"--session-id={session_id}", f"--resume={session_id}"} & set(argv)
        ]
        return pid

    def wait_words(self, question: str, count: int = 10) -> RecordedRequest:
        """Wait until the model has written so many words of an answer; the request for it."""

        def found() -> list[RecordedRequest]:
            return [each for each in self.model.exchanges if each.question == question]

        wait_for(lambda: found() and len(found()[-1].words) >= count, what=f"words of {question!r}")
        return found()[-1]

    def transcript(self, session_id: str) -> Path:
        """The file that holds the session."""
        (path,) = self.config.glob(f"projects/*/{session_id}.jsonl")
        return path

    def answers_again(self, project: str = "p") -> None:
        """Whatever happened before, the project's next question is answered."""
        reply = self.server.ask("[[say all is well]]", project)
        assert reply.status_code == 200, reply.text
        assert reply.json()["message"] == "all is well"

    def wait_gone(self) -> None:
        """Wait until nothing is left of what the server has started."""
        wait_for(lambda: not self.processes(), what="the end of every process")


def argv_of(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def long_tool(seconds: int) -> str:
    """A directive that calls a tool which takes so long.

    Not a `sleep`: the CLI refuses one that stands alone, where the model has another way to wait.
    """
    return f"[[tool Bash {json.dumps({'command': f'{_WAITING} {seconds}'})}]]"


def at_long_tool(stage: Stage, seconds: int) -> list[int]:
    """The pids of that tool: it really runs."""
    arguments = [*shlex.split(_WAITING)[1:], str(seconds), ""]
    return [pid for pid in stage.processes() if argv_of(pid)[1:] == arguments]


def kill(pid: int) -> None:
    """Kill a process as the kernel does when memory is short, and wait until it is dead."""
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        # Readable when its last thread has gone, and its pipes with it.
        wait_for(lambda: select.select([handle], [], [], 0)[0], what="its death")
    finally:
        os.close(handle)


@contextmanager
def open_stage(
    folder: Path, claude: str, *, delay: float = DELAY_S, **environ: str
) -> Iterator[Stage]:
    """Start everything; at the end stop it and see that nothing is left.

    `delay` is the model's, in seconds between words; keyword arguments are the server's
    environment.  An empty value takes a variable away.
    """
    for name in ("home", "config", "workspace"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with serve(delay=delay) as model:
        full = {**_environment(folder, claude, model), **environ}
        full = {name: value for name, value in full.items() if value or name.endswith("_URL")}
        server = Gunicorn(full, log=folder / "server.log")
        stage = Stage(server, model, folder)
        stage.processes()
        try:
            yield stage
        finally:
            server.close()
        stage.wait_gone()


def _environment(folder: Path, claude: str, model: Model) -> dict[str, str]:
    """An environment with nothing of the machine's but its programs."""
    return {
        "HOME": str(folder / "home"),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "CLAUDE_CLI_PATH": program.knowing_its_login(claude, folder / "bin"),
        "CLAUDE_CONFIG_DIR": str(folder / "config"),
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "sk-dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CHAT_API_BASE_URL": "",
        "COWORK_WORKSPACE": str(folder / "workspace"),
        # Tests count processes; those about spares ask for them.
        "COWORK_SPARE_PROCESSES": "0",
        "COWORK_LOG_LEVEL": "info",
        "COWORK_LOG_FORMAT": "text",
    }


@dataclass(slots=True)
class Timed:
    """A stream that was read to its end, each frame with the moment it came (monotonic)."""

    asked: float
    frames: list[Frame] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    @property
    def first_token_at(self) -> float:
        """When the first token came."""
        return next(
            at for at, frame in zip(self.at, self.frames, strict=True) if "token" in frame.data
        )

    @property
    def last(self) -> dict[str, Any]:
        """The data of the last frame."""
        return self.frames[-1].data


def timed(
    client: Client,
    question: str,
    project: str = "p",
    then: Callable[[Timed, requests.Response], None] = lambda _timed, _reply: None,
    **body: Any,
) -> Timed:
    """Ask and read the stream, noting when each frame came; `then` is called after each."""
    found = Timed(time.monotonic())
    with client.stream(question, project, **body) as reply:
        assert reply.status_code == 200, reply.text
        for frame in frames(reply):
            found.at.append(time.monotonic())
            found.frames.append(frame)
            then(found, reply)
    assert found.frames[-1].data.get("done") is True, found.frames[-3:]
    return found
