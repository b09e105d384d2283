"""Asks for chat completions, and reads what comes."""

from __future__ import annotations

import json
from typing import Any

import requests

from tests.serving import Client

PATH = "/v1/chat/completions"


def complete(client: Client, question: Any, *, headers: Any = None, **body: Any) -> Any:
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
    return client.post(PATH, {"messages": messages, **body}, headers=headers)


def chunks(reply: requests.Response) -> list[Any]:
    """The JSON of each frame, without the end, which has to be there."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    *data, end = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert end == "[DONE]"
    return [json.loads(each) for each in data]


def text_of(found: list[Any]) -> str:
    deltas = [choice["delta"] for each in found for choice in each.get("choices", [])]
    return "".join(delta.get("content") or "" for delta in deltas)


def error_of(reply: requests.Response, status: int, code: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == code
    return error
