"""One server, and all that a program can ask of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Self, Unpack

import httpx

from cowork.client.errors import BadReply
from cowork.client.questions import EventKind, Options
from cowork.client.stream import Answer, Lost, Stream
from cowork.client.transport import Json, Transport, segment

URL = "http://localhost:5002"
# What the server does at once, and what waits there for the project, which it does for 300 s.
CALL_S = 60.0
WAITING_S = 330.0
PATIENCE_S = 120.0
# As long as an approval may wait.
DEADLINE_S = 86_400.0
PAGE = 100
NOT_OURS = "what answers is no XO Cowork API"


class Client:
    """A server; use it as a context manager, or `close` it: it owns its connections.

    May be used by several threads at once.  Every call raises `CoworkError`; replies are the JSON
    of docs/api.md.
    """

    def __init__(
        self, url: str = URL, key: str | None = None, *, patience: float = PATIENCE_S
    ) -> None:
        """`patience` is how many seconds a lost stream is tried again, 600 at most.

        Raises ValueError where the address or the key cannot be used.
        """
        self._transport = Transport(url, key)
        self._patience = patience

    def __repr__(self) -> str:
        """Without the key."""
        return f"Client({self._transport.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections, those of streams too."""
        self._transport.close()

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    # Questions
    def ask(
        self,
        question: str,
        *,
        project: str,
        deadline: float = DEADLINE_S,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """The whole answer.  Asked once, whatever happens to the connection.

        `deadline` is seconds; raises `TurnFailed` where the turn failed.
        """
        given = {"deadline": deadline, "idempotency_key": idempotency_key}
        with self.stream(question, project=project, **given, **options) as stream:  # type: ignore[arg-type]
            return stream.answer()

    def stream(
        self,
        question: str,
        *,
        project: str,
        deadline: float = DEADLINE_S,
        idempotency_key: str | None = None,
        on_lost: Callable[[Lost], None] | None = None,
        **options: Unpack[Options],
    ) -> Stream:
        """The answer's events as they come; the question is asked at the first one.

        `on_lost` is told before a lost connection is made again, and may raise to give up.
        """
        body = {"project_name": project, "question": question, **options}
        key = idempotency_key or new_key()
        headers = {"Accept": "text/event-stream", "Idempotency-Key": key}

        def ask(silence: float) -> AbstractContextManager[httpx.Response]:
            sent = {"headers": headers, "timeout": silence}
            return self._transport.open("POST", "/ask_question_streaming", body, **sent)  # type: ignore[arg-type]

        return Stream(
            self._transport, ask, patience=self._patience, deadline=deadline, on_lost=on_lost
        )

    def events(
        self,
        turn_id: str,
        *,
        after: int = -1,
        events: Iterable[EventKind] | None = None,
        deadline: float = DEADLINE_S,
        on_lost: Callable[[Lost], None] | None = None,
    ) -> Stream:
        """The events of a turn, whoever asked it: from the first, or behind number `after`.

        `events` are kinds besides tokens; without it those that the question asked for.
        """
        return Stream(
            self._transport,
            None,
            turn_id=turn_id,
            after=after,
            events=None if events is None else tuple(events),
            patience=self._patience,
            deadline=deadline,
            on_lost=on_lost,
        )

    # Turns
    def turn(self, turn_id: str) -> Json:
        """A turn's state, text so far, usage and error."""
        return self.call("GET", f"/turns/{segment(turn_id)}")

    def interrupt(self, turn_id: str) -> Json:
        """End a turn; one that has ended stays as it is."""
        return self.call("POST", f"/turns/{segment(turn_id)}/interrupt")

    def interrupt_project(self, project: str) -> Json:
        """End what the project is answering; `success` is false where nothing runs."""
        return self.call("POST", f"/sessions/{segment(project)}/interrupt")

    def steer(self, turn_id: str, text: str, *, idempotency_key: str | None = None) -> Json:
        """Say something to a turn that runs; it joins at its next tool, or is the next question."""
        path = f"/turns/{segment(turn_id)}/steer"
        return self.call("POST", path, {"text": text}, key=idempotency_key or new_key())

    # Approvals
    def approvals(
        self,
        *,
        project: str | None = None,
        turn: str | None = None,
        state: str = "pending",
        limit: int | None = None,
    ) -> list[Json]:
        """What waits for a person, or, with `state="resolved"`, what was decided."""
        asked = {"project": project, "turn": turn, "state": state, "limit": limit}
        return _list(self.call("GET", "/approvals", params=asked), "approvals")

    def resolve(self, approval_id: str, decision: str, **more: Any) -> Json:
        """Answer one: `allow`, `deny` or `answer`, with the further keys of docs/approvals.md.

        Raises `Conflict` where somebody else was first, `NotFound` where it is too late.
        """
        said = {name: value for name, value in more.items() if value is not None}
        body = {"decision": decision, **said}
        return self.call("POST", f"/approvals/{segment(approval_id)}", body)

    # Sessions
    def sessions(self, *, limit: int = PAGE) -> Iterator[Json]:
        """The sessions, those used last first; read in pages of `limit`."""
        return self._pages("/sessions", "sessions", "cursor", {"details": "true", "limit": limit})

    def session(self, project: str) -> Json:
        """What a session is doing and what it took."""
        return self.call("GET", f"/sessions/{segment(project)}")

    def messages(self, project: str, *, limit: int = PAGE) -> Iterator[Json]:
        """What was said in a project, oldest first; read in pages of `limit`."""
        path = f"/sessions/{segment(project)}/messages"
        return self._pages(path, "messages", "after", {"limit": limit})

    def turns(self, project: str, *, state: str | None = None, limit: int = PAGE) -> Iterator[Json]:
        """The project's turns that are kept, newest first; read in pages of `limit`."""
        path = f"/sessions/{segment(project)}/turns"
        return self._pages(path, "turns", "cursor", {"state": state, "limit": limit})

    def rename(self, project: str, title: str | None) -> Json:
        """Give a session a title."""
        return self.call("PATCH", f"/sessions/{segment(project)}", {"title": title})

    def delete_session(self, project: str) -> Json:
        """Delete a project's session; `success` is false where there is none."""
        return self.call("DELETE", f"/sessions/{segment(project)}")

    def fork(
        self,
        project: str,
        to: str,
        *,
        at_turn: str | None = None,
        on_busy: str | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Begin the project `to` with what was said here, up to the end of a turn."""
        body = _given(to=to, at_turn=at_turn, on_busy=on_busy)
        path = f"/sessions/{segment(project)}/fork"
        return self.call("POST", path, body, key=idempotency_key or new_key(), timeout=WAITING_S)

    def rewind(
        self,
        project: str,
        to_turn: str,
        *,
        files: str = "keep",
        on_busy: str | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Have the project go on from a turn; `files` is `keep`, `preview` or `restore`."""
        body = _given(to_turn=to_turn, files=files, on_busy=on_busy)
        path = f"/sessions/{segment(project)}/rewind"
        return self.call("POST", path, body, key=idempotency_key or new_key(), timeout=WAITING_S)

    # The server
    def health(self) -> Json:
        """Each part of the server, and why a question would not be answered now."""
        return self.call("GET", "/health")

    def models(self) -> Json:
        """The models that a question may name."""
        return self.call("GET", "/models")

    def processes(self) -> list[Json]:
        """The CLI processes and what they take."""
        return _list(self.call("GET", "/processes"), "processes")

    def usage(self, *, by: str = "day", start: str | None = None, end: str | None = None) -> Json:
        """Turns, tokens and cost by `day`, `project`, `key` or `model`; days are YYYY-MM-DD."""
        return self.call("GET", "/usage", params={"by": by, "from": start, "to": end})

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        params: dict[str, Any] | None = None,
        key: str | None = None,
        timeout: float = CALL_S,
    ) -> Json:
        """Anything else: the reply's JSON object, an empty one where there is none.

        `key` is an `Idempotency-Key`, `timeout` seconds for all of it.
        """
        headers = None if key is None else {"Idempotency-Key": key}
        given = {"params": params, "headers": headers, "timeout": timeout}
        reply = self._transport.call(method, path, body, **given)  # type: ignore[arg-type]
        if reply is None:
            return {}
        if not isinstance(reply, dict):
            raise BadReply(NOT_OURS, code="bad_reply")
        return reply

    def _pages(self, path: str, name: str, cursor: str, params: dict[str, Any]) -> Iterator[Json]:
        seen = set[str]()
        while True:
            page = self.call("GET", path, params=params)
            yield from _list(page, name)
            following = page.get("next")
            if following is None:
                return
            if not isinstance(following, str) or following in seen:
                raise BadReply("the server's pages have no end", code="bad_reply")
            seen.add(following)
            params = {**params, cursor: following}


def new_key() -> str:
    """A name for a request that nobody else has."""
    return secrets.token_hex(16)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _list(reply: Json, name: str) -> list[Json]:
    found = reply.get(name) if isinstance(reply, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadReply(NOT_OURS, code="bad_reply")
    return found
