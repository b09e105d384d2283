"""What every reply has to look like, and a wire on which nothing is rewritten on the way."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import requests

from tests.serving import TIMEOUT_S, Client

JSON = {"Content-Type": "application/json"}
ASK_PATHS = ["/ask_question", "/ask_question_streaming"]


@dataclass(frozen=True, slots=True)
class Raw:
    """A reply whose request went over the wire byte by byte; header names are lower case."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


def send(
    client: Client,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    chunked: bool = False,
) -> Raw:
    """A request with exactly this target and these headers; `requests` would tidy up both."""
    address = urlsplit(client.url)
    line = http.client.HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT_S)
    try:
        given: Any = body
        extra = dict(headers or {})
        if chunked:
            given = iter([body or b""])
            extra["Transfer-Encoding"] = "chunked"
        line.request(method, target, given, extra, encode_chunked=chunked)
        reply = line.getresponse()
        found = {name.lower(): value for name, value in reply.getheaders()}
        return Raw(reply.status, found, reply.read())
    finally:
        line.close()


def segment(name: str) -> str:
    """A name as one path segment, its dots too: a client would fold `..` away."""
    return quote(name, safe="").replace(".", "%2E")


def delete(client: Client, project: str) -> Raw:
    """`DELETE /sessions/{project}` as it is."""
    return send(client, "DELETE", f"/sessions/{segment(project)}")


def post_text(client: Client, path: str, text: str) -> Raw:
    """POST this very JSON text."""
    return send(client, "POST", path, text.encode(), JSON)


def problem(reply: requests.Response | Raw, status: int, code: str) -> dict[str, Any]:
    """Check an error reply against the contract; its `detail`."""
    assert reply.status_code == status, reply.text
    headers = {name.lower(): value for name, value in reply.headers.items()}
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"]
    detail = reply.json()["detail"]
    assert isinstance(detail, dict), detail
    assert detail["code"] == code, detail
    assert isinstance(detail["error"], str)
    assert detail["error"].strip()
    says_nothing_private(reply.text)
    return detail


def invalid(reply: requests.Response | Raw, *loc: str | int) -> list[dict[str, Any]]:
    """Check a 422 in list form that names `loc`; its entries."""
    assert reply.status_code == 422, reply.text
    found = reply.json()["detail"]
    assert isinstance(found, list), found
    for entry in found:
        assert isinstance(entry["type"], str)
        assert isinstance(entry["msg"], str)
        assert isinstance(entry["loc"], list)
    assert [entry["loc"][: len(loc)] for entry in found].count(list(loc)) >= 1, found
    says_nothing_private(reply.text)
    return found


def says_nothing_private(text: str, *values: str) -> None:
    """No stack trace, no path of this machine, none of `values`."""
    assert "Traceback" not in text
    assert not re.search(r'File "|\.py\b', text), text
    assert not re.search(r"(?<![\w:/.])/(tmp|root|work|home|usr|opt|var|etc|proc)\b", text), text
    for value in values:
        assert value not in text


def is_uuid(text: str) -> bool:
    return str(UUID(text)) == text.lower()


def is_moment(text: str) -> bool:
    """Whether it is a whole ISO 8601 date and time."""
    return "T" in text and datetime.fromisoformat(text) is not None
