"""What clients of other APIs do in a load."""

from __future__ import annotations

import json
import time
from contextlib import closing
from random import Random
from typing import Any

import requests

from tests.serving import Client
from tests.soak.tally import SERVER_ERROR, Tally

SHORT = ["[[words 20]] [[delay 5]]", "[[say yes]]", "[[think 5]] [[words 5]]"]
LONG = "[[words 200]] [[delay 10]]"
# In the clients' own words, what a killed process is.
CODES = {"api_error": "claude_failed"}


def completes(client: Client, project: str, dice: Random, tally: Tally) -> None:
    """A chat completion in the project, streaming or not."""
    body = {"messages": _user(dice.choice(SHORT)), "stream": dice.random() < 0.5}
    _ask(client, "/v1/chat/completions", body, project, tally)


def converses(client: Client, _project: str, dice: Random, tally: Tally) -> None:
    """A conversation without a name: it goes on, or its last message is edited."""
    said = _user(f"[[say one]] {dice.random()}")
    for _ in range(2):
        reply = _ask(client, "/v1/chat/completions", {"messages": said}, None, tally)
        if reply is None:
            return
        answer = json.loads(reply)["choices"][0]["message"]["content"]
        said += [{"role": "assistant", "content": answer}, *_user(dice.choice(SHORT))]
    if dice.random() < 0.5:  # the first question's answer, and another question
        said = [*said[:2], *_user("[[say edited]]")]
    _ask(client, "/v1/chat/completions", {"messages": said}, None, tally)


def messages(client: Client, project: str, dice: Random, tally: Tally) -> None:
    """One of Anthropic's messages, streaming or not."""
    body = {"max_tokens": 9, "messages": _user(dice.choice(SHORT)), "stream": dice.random() < 0.5}
    _ask(client, "/v1/messages", body, project, tally)


def responds(client: Client, project: str, dice: Random, tally: Tally) -> None:
    """A response in the background, which is read on from an event and cancelled, or to its end."""
    body = {"input": dice.choice([LONG, *SHORT]), "background": True}
    told = _ask(client, "/v1/responses", body, project, tally)
    if told is None:
        return
    path = f"/v1/responses/{json.loads(told)['id']}"
    after = dice.randrange(-1, 6)
    with client.get(f"{path}?stream=true&starting_after={after}", stream=True) as reply:
        if reply.status_code == requests.codes.ok:
            next(reply.iter_lines(), None)
    if dice.random() < 0.5:
        client.post(f"{path}/cancel")
    else:
        client.get(f"{path}?stream=true")


def chats(client: Client, project: str, dice: Random, tally: Tally) -> None:
    """A message in a chat of the AI SDK, which is resumed beside, and sometimes stopped."""
    part = {"type": "text", "text": dice.choice([LONG, *SHORT])}
    body = {"id": project, "message": {"id": "m", "role": "user", "parts": [part]}}
    begun = time.monotonic()
    with client.post("/api/chat", body, stream=True) as reply:
        if reply.status_code >= SERVER_ERROR:
            tally.failed(project, begun, reply.headers["X-Error-Code"], reply.text)
        if reply.status_code != requests.codes.ok:
            return
        with closing(Client(client.url)) as beside:
            with beside.get(f"/api/chat/{project}/stream", stream=True) as again:
                next(again.iter_lines(), None)
            if dice.random() < 0.3:
                beside.post(f"/api/chat/{project}/stop")
        if "[DONE]" not in reply.text:
            tally.failed(project, begun, "no last frame")


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _ask(
    client: Client, path: str, body: dict[str, Any], project: str | None, tally: Tally
) -> str | None:
    """The whole reply; None where it is an error, which counts where it is the server's."""
    begun = time.monotonic()
    headers = {} if project is None else {"X-Cowork-Project": project}
    reply = client.post(path, body, headers=headers)
    if reply.status_code < SERVER_ERROR:
        return reply.text if reply.status_code == requests.codes.ok else None
    error = reply.json()["error"]
    code = error.get("code") or CODES.get(error["type"], error["type"])
    tally.failed(project or "", begun, code, reply.text)
    return None
