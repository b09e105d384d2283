"""What is attacked: real gunicorn over fake CLIs, with a canary in every secret's place."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests

from tests import fake_claude
from tests.serving import Client, Gunicorn, free_port
from tests.upstream import CONSUME_REPLY, START_REPLY, Upstream, ok

# Every secret's place and what lies there; none of it may be seen anywhere else.
CANARIES = {
    "a key": "canary-key-of-me-0123456789abcdefgh",
    "another's key": "canary-key-of-you-0123456789abcdef",
    "a key of the file": "canary-key-of-a-file-0123456789abc",
    "the Chat API's token": "canary-chat-api-token-0123456789",
    "the login's token": "canary-access-token-0123456789",
    "the login's refresh token": "canary-refresh-token-0123456789",
    "a poll token": "canary-poll-token-0123456789",
    "the start's poll token": "canary-env-poll-token-0123456789",
    "the start's auth session": "canary-env-auth-session-0123456789",
    "the CLI's own key": "canary-anthropic-key-0123456789",
    "a stranger's variable": "canary-database-password-0123456789",
    "a wrong key": "canary-wrong-key-0123456789abcdefgh",
}
# What the CLI is given on purpose: it calls the model with it, and its tools can read it.
FOR_THE_CLI = {"the CLI's own key"}


@dataclass(slots=True)
class Row:
    """One stop of the tour: what was tried how often, and what went wrong."""

    kind: str
    done: int = 0
    faults: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def check(self, right: bool, fault: str) -> None:
        """Count one try."""
        self.done += 1
        if not right:
            self.faults.append(fault[:500])


class Recorder(Client):
    """A client that keeps what it was told, to be searched in the end."""

    def __init__(self, url: str, key: str | None, heard: list[str]) -> None:
        super().__init__(url, key)
        self._heard = heard
        self.http.hooks["response"].append(self._keep)

    def _keep(self, reply: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        self._heard.append(f"{reply.status_code} {reply.headers}\n{reply.text}")


class Ground:
    """The server, its upstream and its fakes; `heard` is every reply that it ever gave."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self.folder = folder
        self.heard: list[str] = []
        self.fakes_log = folder / "fakes.log"
        self.lifelines = fake_claude.Lifelines(folder)
        self.upstream = Upstream()

    def __enter__(self) -> Self:
        self.lifelines.__enter__()
        self.upstream.__enter__()
        tokens = {"access_token": "the login's token", "refresh_token": "the login's refresh token"}
        granted = CONSUME_REPLY | {name: CANARIES[what] for name, what in tokens.items()}
        self.upstream.on("/auth/browser/consume", ok(granted))
        self.upstream.on("/auth/browser/start", ok(START_REPLY))
        keys = self.folder / "keys"
        keys.write_text(f"# canaries\nfiled={CANARIES['a key of the file']}\n")
        keys.chmod(0o600)
        (self.folder / "home").mkdir()
        self.server = Gunicorn(self._environ(keys), log=self.folder / "server.log")
        self.server.http.headers["Authorization"] = f"Bearer {CANARIES['a key']}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.upstream.__exit__()
        self.lifelines.__exit__()

    def _environ(self, keys: Path) -> dict[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder / "home"),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "CLAUDE_CLI_PATH": str(fake_claude.install(folder / "bin")),
            "CHAT_API_BASE_URL": self.upstream.url,
            "CHAT_API_TOKEN": CANARIES["the Chat API's token"],
            "XO_AUTH_SESSION_ID": CANARIES["the start's auth session"],
            "XO_POLL_TOKEN": CANARIES["the start's poll token"],
            "ANTHROPIC_API_KEY": CANARIES["the CLI's own key"],
            "DATABASE_PASSWORD": CANARIES["a stranger's variable"],
            "COWORK_API_KEYS": f"me={CANARIES['a key']},you={CANARIES['another' + chr(39) + 's key']}",
            "COWORK_API_KEYS_FILE": str(keys),
            "COWORK_ADMIN_KEYS": "me",
            "COWORK_ALLOWED_HOSTS": "cowork.example",
            "COWORK_ALLOWED_ORIGINS": "https://app.example",
            "COWORK_WORKSPACE": str(folder / "workspace"),
            "COWORK_PROJECT_DIRS": "true",
            "COWORK_CLI_ENV": "FAKE_CLAUDE_CONFIG,FAKE_CLAUDE_LIFELINE",
            "COWORK_MAX_PROCESSES": "8",
            "COWORK_READ_TIMEOUT": "3",
            "COWORK_LOG_LEVEL": "debug",
            "COWORK_LOG_FORMAT": "json",
            **fake_claude.configure(folder / "fakes.json", log=str(self.fakes_log)),
            **self.lifelines.environment,
        }

    def beside(self, **environ: str) -> Gunicorn:
        """Another server beside the one that is there; the caller closes it."""
        full = {**self._environ(self.folder / "keys"), **environ}
        return Gunicorn(full, log=self.folder / "beside.log")

    def client(self, what: str | None = "a key") -> Recorder:
        """A client that shows this canary for its key; None shows none."""
        return Recorder(self.server.url, None if what is None else CANARIES[what], self.heard)

    def dice(self, *names: object) -> random.Random:
        """Chance that is the same again for the same seed and names."""
        return seeded(self.seed, *names)

    def logged(self) -> str:
        return self.server.log.read_text(errors="replace")

    def processes(self) -> Iterator[Path]:
        """The /proc folders of the server and of all that it has started."""
        ours = str(self.folder).encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if ours in (folder / "environ").read_bytes():
                    yield folder
            except OSError:
                continue

    def routes(self) -> list[tuple[str, str]]:
        """Method and path of every documented route, `x` for each name in it."""
        document = self.client().get("/openapi.json").json()
        found = []
        for path, operations in document["paths"].items():
            plain = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
            found += [(m.upper(), plain) for m in operations if m in {"get", "post", "delete"}]
        return found


def seeded(seed: int, *names: object) -> random.Random:
    """Chance that is the same again for the same seed and names."""
    return random.Random(f"{seed} {names}")  # noqa: S311 - attacks, not secrets


def detail_of(reply: requests.Response) -> str:
    """The code of an error, or what came instead."""
    try:
        return str(reply.json()["detail"]["code"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return reply.text[:200]
