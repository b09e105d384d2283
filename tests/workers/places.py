"""Servers on one Redis: the one that runs a project, its sister, another machine's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests import fake_claude, processes
from tests.fakes import Fakes
from tests.redis_server import RedisServer
from tests.serving import Gunicorn, frames, free_port, wait_for

# One of each; a project is asked at home first, so that home is its worker.
NAMES = ("home", "sister", "machine")
_numbers = count()


class Machine(Gunicorn):
    """A server in a PID namespace of its own: nobody outside sees whether its processes live."""

    prefix = (
        "unshare",
        *(() if os.geteuid() == 0 else ("--user", "--map-root-user")),
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    )

    @property
    def master(self) -> int:
        """Inside of `unshare`, which itself ends with it."""
        found = processes.children(self.child.pid)
        return found[0] if found else self.child.pid


@dataclass(frozen=True, slots=True)
class Places:
    """The servers by their names, all on one Redis and over fakes that keep one log."""

    servers: Mapping[str, Gunicorn]
    redis: RedisServer
    fakes: Fakes
    folder: Path

    @property
    def home(self) -> Gunicorn:
        return self.servers["home"]

    def project(self) -> str:
        """A new project, whose worker is at home."""
        name = f"p{next(_numbers)}"
        reply = self.home.ask("[[say hello]]", name)
        assert reply.status_code == 200, reply.text
        return name

    def starts(self, project: str) -> int:
        """How many processes have been started for the project's session."""
        session = self.home.get("/sessions").json()["sessions"][project]
        return len([each for each in self.fakes.entries("start") if each["session"] == session])


@contextmanager
def open_places(
    folder: Path,
    names: tuple[str, ...] = NAMES,
    redis: RedisServer | None = None,
    url: str | None = None,
    *,
    workspaces: str = "{folder}/workspace",
    **environ: str,
) -> Iterator[Places]:
    """Start Redis, unless there is one, and the servers; `url` is what they are told of it.

    `workspaces` is where each works, by `{folder}` and its `{name}`.
    """
    folder.mkdir(exist_ok=True)
    fakes = Fakes(folder)
    binary = fake_claude.install(folder / "bin", fakes.settings())
    with ExitStack() as stack:
        redis = redis or stack.enter_context(RedisServer(folder))
        servers: dict[str, Gunicorn] = {}
        for name in names:
            kind = Machine if name.startswith("machine") else Gunicorn
            settings = _environ(folder, name, binary, url or redis.url)
            settings["COWORK_WORKSPACE"] = workspaces.format(folder=folder, name=name)
            servers[name] = kind({**settings, **environ}, log=folder / f"{name}.log")
            stack.callback(servers[name].close)
            if key := environ.get("COWORK_API_KEYS", "").partition("=")[2]:
                servers[name].http.headers["Authorization"] = f"Bearer {key}"
        wait_for(
            lambda: servers[names[0]].get("/workers").json()["count"] >= len(names), what="workers"
        )
        yield Places(servers, redis, fakes, folder)


def _environ(folder: Path, name: str, binary: Path, url: str) -> dict[str, str]:
    home = folder / name
    home.mkdir(parents=True)
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "CLAUDE_CLI_PATH": str(binary),
        "CHAT_API_BASE_URL": "",
        "COWORK_STORE": url,
        "COWORK_STORE_KEY_FILE": str(folder / "store.key"),
        "COWORK_SPARE_PROCESSES": "0",
        "COWORK_QUEUE_LIMIT": "24",
        "COWORK_LOG_LEVEL": "info",
        "COWORK_LOG_FORMAT": "text",
    }


def begun(
    server: Gunicorn, question: str, project: str, tokens: int = 3
) -> tuple[str, Callable[[], list]]:
    """Stream until so many tokens have come: the turn's id, and what reads the rest."""
    reply = server.stream(question, project)
    assert reply.status_code == 200, reply.text
    seen, coming = [], frames(reply)
    while len([frame for frame in seen if frame.data.get("type") == "token"]) < tokens:
        seen.append(next(coming))

    def rest() -> list:
        try:
            seen.extend(coming)
        finally:
            reply.close()
        return seen

    return reply.headers["X-Turn-ID"], rest
