"""Where the faults happen: real gunicorn over fake CLIs, and what can be seen of both."""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests

from tests import fake_claude
from tests.faults import probe
from tests.faults.report import Row
from tests.serving import Client, Frame, Gunicorn, frames, free_port

PROBED = Path(__file__).with_name("probed.conf.py")
AT_ONCE = 8
SETTLE_S = 15.0
# What a client may be told when the thing it talked to was killed or interrupted; "internal" and
# anything unknown is a fault.
TOLD = {"claude_failed", "turn_interrupted", "queue_full", "shutting_down", "claude_unavailable"}


# By how much a worker's memory may have grown when its processes and sessions are gone again; of
# descriptors, threads, greenlets and processes there are none more.
GROWTH_KB = 64 * 1024


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker holds: numbers of things, memory, and where its greenlets wait."""

    counts: dict[str, int]
    rss_kb: int
    waiting: dict[str, int]

    @classmethod
    def told(cls, counts: dict[str, Any]) -> Self:
        rss_kb, waiting = counts.pop("rss_kb"), counts.pop("waiting")
        return cls(counts, rss_kb, waiting)

    def more_than(self, before: dict[str, int]) -> dict[str, int]:
        """By how much each number has grown that has."""
        grown = {name: count - before[name] for name, count in self.counts.items()}
        return {name: more for name, more in grown.items() if more > 0}

    def new_among_waiting(self, before: Held) -> str:
        """Where greenlets wait that did not before."""
        more = Counter(self.waiting) - Counter(before.waiting)
        return "waiting: " + "; ".join(f"{count} in {calls}" for calls, count in more.items())


def compare(row: Row, before: Held, after: Held, growth_kb: int = GROWTH_KB) -> None:
    """Note what the worker holds, and as faults what it holds more of than before."""
    for name, count in before.counts.items():
        row.facts[f"worker's {name}"] = f"{count} to {after.counts[name]}"
    row.facts["worker's MB"] = f"{before.rss_kb / 1024:.1f} to {after.rss_kb / 1024:.1f}"
    for name, more in after.more_than(before.counts).items():
        row.check(False, f"the worker's {name} grew by {more}; {after.new_among_waiting(before)}")
    grown = after.rss_kb - before.rss_kb
    row.check(grown <= growth_kb, f"the worker's memory grew by {grown / 1024:.1f} MB")


class Ground:
    """Boots one server after another in `folder`; closing it ends everything."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.log = folder / "fakes.log"
        self.lifelines = fake_claude.Lifelines(folder)
        self.fake = fake_claude.install(folder / "bin")
        self._booted: Gunicorn | None = None
        self._boots = 0
        home = folder / "home"
        home.mkdir()
        self._environ = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOST": "127.0.0.1",
            "CLAUDE_CLI_PATH": str(self.fake),
            "CHAT_API_BASE_URL": "",
            "COWORK_WORKSPACE": str(folder / "workspace"),
            # Tests count processes; those about spares ask for them.
            "COWORK_SPARE_PROCESSES": "0",
            "COWORK_CLI_ENV": "FAKE_CLAUDE_CONFIG,FAKE_CLAUDE_LIFELINE",
            "COWORK_LOG_LEVEL": "warning",
            "COWORK_MAX_PROCESSES": "16",
            "COWORK_TURN_RETENTION": "10",
            **fake_claude.configure(folder / "fakes.json", log=str(self.log)),
            **self.lifelines.environment,
        }

    @property
    def server(self) -> Gunicorn:
        assert self._booted is not None, "boot first"
        return self._booted

    def boot(self, **environ: str) -> Gunicorn:
        """End the server there was, if any still lives, and start another."""
        self.end()
        self._booted = self.beside(**environ)
        return self._booted

    def beside(self, **environ: str) -> Gunicorn:
        """Another server beside the one that is booted; the caller closes it."""
        self._boots += 1
        full = {**self._environ, "PORT": str(free_port()), **environ}
        return Gunicorn(full, log=self.folder / f"gunicorn-{self._boots}.log", config=PROBED)

    def end(self) -> None:
        """Stop the server as an operator would."""
        if self._booted is not None:
            if self._booted.child.poll() is None:
                self._booted.stop()
            self._booted.close()

    def dice(self, *names: object) -> random.Random:
        """Chance that is the same again for the same seed and names."""
        return random.Random(f"{self.seed} {names}")  # noqa: S311 - faults, not secrets

    def each(self, run: Callable[[int], None], count: int, at_once: int = AT_ONCE) -> None:
        """`run(0)` to `run(count - 1)`, several at once; the first exception is raised."""
        with ThreadPoolExecutor(at_once) as pool:
            for done in [pool.submit(run, number) for number in range(count)]:
                done.result()

    # -- what can be seen

    def started(self) -> set[int]:
        """The pids of all fakes that were ever started."""
        return {entry["pid"] for entry in self.entries("start")}

    def entries(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in fake_claude.read_log(self.log) if entry["event"] == event]

    def living(self, pids: Iterable[int]) -> list[int]:
        """Those of these fakes that live; a pid that went to a stranger does not count."""
        return sorted(pid for pid in pids if self._is_ours(pid))

    def _is_ours(self, pid: int) -> bool:
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return str(self.lifelines.path).encode() in environ

    def kill(self, pid: int) -> None:
        if self._is_ours(pid) or pid in (self.server.child.pid, *self.server.workers()):
            os.kill(pid, signal.SIGKILL)

    def busy(self) -> int:
        """How many turns run or wait."""
        found: int = fresh(self.server).get("/health").json()["turns"]
        return found

    def residents(self) -> int:
        """How many processes the server itself knows of."""
        counts = fresh(self.server).get("/health").json()["processes"]
        return int(sum(counts.values()) - counts["limit"])

    def settled(self, timeout: float = SETTLE_S) -> str | None:
        """Wait until no turn runs and every process that lives is a known one; or what is left."""
        deadline = time.monotonic() + timeout
        while True:
            turns, known, held = self.busy(), self.residents(), self.lifelines.held
            if turns == 0 and known == held:
                return None
            if time.monotonic() > deadline:
                return f"{turns} turns, {held} processes where {known} are known, {timeout:g} s on"
            time.sleep(0.05)

    def held(self, at_most: dict[str, int] | None = None) -> Held:
        """What the worker holds when all sessions are deleted and nothing goes on any more.

        Waits until it is no more than `at_most`, a bounded time, else until it stays the same.
        """
        with closing(fresh(self.server)) as client:
            # A turn that was stopped while its process started leaves that to a project without a
            # session.
            listed = client.get("/processes").json()["processes"]
            started = {each["project"] for each in listed if each["project"] is not None}
            for name in started.union(client.get("/sessions").json()["sessions"]):
                client.delete(f"/sessions/{name}")
            # A conversation without a name has no session that a call could delete.
            for each in listed:
                if each.get("unnamed"):
                    client.delete(f"/processes/{each['id']}")
            self.settled()
            # Idle connections are held there too: ours, and of clients that nobody closed.
            self.server.http.close()
            gc.collect()
            deadline, last = time.monotonic() + SETTLE_S, None
            while True:
                found = Held.told(client.get(probe.PATH).json())
                if found.counts == last if at_most is None else not found.more_than(at_most):
                    return found
                if time.monotonic() > deadline:
                    return found
                last = found.counts
                time.sleep(0.2)

    def __enter__(self) -> Self:
        self.lifelines.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.lifelines.__exit__()


def fresh(server: Client) -> Client:
    """A client with connections of its own: those of a killed worker are of no use."""
    return Client(server.url)


def ask(server: Client, text: str, project: str, *, streaming: bool = False) -> str:
    """Ask and say how it ended: "answered", an error's code, or "cut" where the line broke."""
    client = fresh(server)
    try:
        if streaming:
            return _streamed(client, text, project)
        reply = client.ask(text, project)
    except requests.RequestException:
        return "cut"
    finally:
        client.close()
    return "answered" if reply.status_code == 200 else code_of(reply)


def _streamed(client: Client, text: str, project: str) -> str:
    with client.stream(text, project) as reply:
        if reply.status_code != 200:
            return code_of(reply)
        seen = list(frames(reply))
    if not seen or not seen[-1].data.get("done"):
        return "no last frame"
    return "answered" if seen[-1].data["success"] else error_of(seen)


def error_of(seen: list[Frame]) -> str:
    """The code of a stream's error frame."""
    return next((str(frame.data["code"]) for frame in seen if "code" in frame.data), "no error")


def code_of(reply: requests.Response) -> str:
    detail = reply.json()["detail"]
    return str(detail["code"]) if isinstance(detail, dict) else f"status {reply.status_code}"
