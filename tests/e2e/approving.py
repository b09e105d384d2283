"""Asks a question whose tools wait for a person, and plays that person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.serving import Client, Frame, frames, wait_for

EVENTS = ["tool", "status", "approval"]


def write(path: object, content: str = "x") -> str:
    """A directive that has the model write a file."""
    return f"[[tool Write {json.dumps({'file_path': str(path), 'content': content})}]]"


def bash(command: str) -> str:
    """A directive that has the model run a command."""
    return f"[[tool Bash {json.dumps({'command': command})}]]"


class Asked:
    """A question that is being answered; `frames` are those of its stream so far."""

    def __init__(self, future: Future[None], seen: list[Frame]) -> None:
        self._future = future
        self.frames = seen

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The frames of a kind."""
        return [each.data for each in list(self.frames) if each.data.get("type") == kind]

    def approval(self, number: int = 0) -> dict[str, Any]:
        """The approval of that number, when it is asked for."""
        wait_for(lambda: len(self.of("approval")) > number, what="an approval")
        return self.of("approval")[number]

    def end(self) -> dict[str, Any]:
        """The last frame, when it has come."""
        self._future.result(60)
        return self.frames[-1].data

    @property
    def text(self) -> str:
        """The answer as it was streamed."""
        return "".join(each["token"] for each in self.of("token"))


@contextmanager
def asked(client: Client, question: str, project: str = "p", **body: Any) -> Iterator[Asked]:
    """Ask it with approvals, and read its stream meanwhile."""
    seen: list[Frame] = []
    wanted = {"approvals": True, "events": EVENTS, **body}
    reader = Client(client.url)
    reader.http.headers.update(client.http.headers)

    def read() -> None:
        with reader.stream(question, project, **wanted) as reply:
            assert reply.status_code == 200, reply.text
            for frame in frames(reply):
                seen.append(frame)  # noqa: PERF402 - each is looked at as it comes

    with ThreadPoolExecutor(1) as pool:
        try:
            yield Asked(pool.submit(read), seen)
        finally:
            pool.shutdown(wait=True)
            reader.close()


def decide(client: Client, approval: dict[str, Any], decision: str = "allow", **body: Any) -> Any:
    """Answer it; the reply."""
    return client.post(f"/approvals/{approval['id']}", {"decision": decision, **body})


def pending(client: Client, **query: str) -> list[dict[str, Any]]:
    """What waits."""
    found: list[dict[str, Any]] = client.get("/approvals", params=query).json()["approvals"]
    return found


def when_pending(client: Client, count: int = 1) -> list[dict[str, Any]]:
    """What waits, when so many do."""
    wait_for(lambda: len(pending(client)) >= count, what=f"{count} approvals")
    return pending(client)
