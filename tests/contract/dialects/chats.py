"""A chat as front ends have it: the whole of it is sent with each question."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.contract.dialects.completions import chunks, complete, text_of
from tests.serving import Client
from tests.transcripts import plain, said_in, transcript


@dataclass(slots=True)
class Chat:
    """One of `client`'s, whose CLI keeps its sessions in `home`; `headers` and `body` go with it."""

    client: Client
    home: Path
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, question: Any, **body: Any) -> requests.Response:
        """Ask, and remember nothing of it."""
        asked = [*self.messages, {"role": "user", "content": question}]
        reply = complete(self.client, asked, headers=self.headers, **{**self.body, **body})
        assert isinstance(reply, requests.Response)
        return reply

    def say(self, question: Any, **body: Any) -> requests.Response:
        """Ask and remember the answer, as it was told."""
        reply = self.ask(question, **body)
        assert reply.status_code == 200, reply.text
        if body.get("stream"):
            answer = {"role": "assistant", "content": text_of(chunks(reply))}
        else:
            answer = reply.json()["choices"][0]["message"]
        self.messages += [{"role": "user", "content": question}, answer]
        return reply

    def back_to(self, place: int) -> Chat:
        """The chat up to its question of that place, from 0, which another takes the place of."""
        before = self.messages[: 2 * place]
        return Chat(self.client, self.home, self.headers, self.body, before)

    def texts(self) -> list[str]:
        """What was said in it, by its client."""
        return plain([each["content"] for each in self.messages])

    def sent(self, reply: requests.Response) -> list[str]:
        """What was said in it, as the model has it."""
        assert reply.headers["Content-Type"] == "application/json"
        return plain(said_in(transcript(self.home, reply.json()["cowork"]["session_id"])))


def state_of(reply: requests.Response) -> str:
    return reply.headers["X-Session-State"]


def session_of(reply: requests.Response) -> str:
    found: str = reply.json()["cowork"]["session_id"]
    return found
