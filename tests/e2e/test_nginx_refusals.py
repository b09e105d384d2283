"""What nginx, with the site that we ship, says itself: in the shape that all our errors have."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.contract.replies import problem
from tests.e2e.nginx import nginx
from tests.patience import PATIENCE_S
from tests.serving import Client, Gunicorn

pytestmark = pytest.mark.e2e

KEY = "a-key-of-the-tests-0123456789-abcdef"
HEAD = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
# Requests that never reach the server, and the status and code of the refusal.
REFUSED = {
    "no HTTP": (b"HELLO\r\n\r\n", 400, "bad_request"),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
    "a bad escape": (b"GET /%zz" + HEAD + b"\r\n", 400, "bad_request"),
    "a path out of the root": (b"GET /../../etc" + HEAD + b"\r\n", 400, "bad_request"),
    "a bad length": (b"POST /" + HEAD + b"Content-Length: x\r\n\r\n", 400, "bad_request"),
    "HTTP/3.0 in a line": (b"GET / HTTP/3.0\r\n\r\n", 505, "bad_request"),
    "a long line": (b"GET /" + b"a" * 40_000 + HEAD + b"\r\n", 414, "uri_too_long"),
    "a long header": (
        b"GET /" + HEAD + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
        431,
        "headers_too_large",
    ),
    "a coding": (
        b"POST /" + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        501,
        "not_implemented",
    ),
    "a method": (b"TRACE /" + HEAD + b"\r\n", 405, None),
    "the page of refusals": (b"GET /.refused" + HEAD + b"\r\n", 404, None),
}


def ask(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body that a request of these bytes gets."""
    address = urlsplit(url)
    with socket.create_connection(
        (str(address.hostname), address.port or 80), timeout=PATIENCE_S
    ) as line:
        line.sendall(request)
        told = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    return int(first.split(" ")[1]), dict(field.split(": ", 1) for field in fields), body


def test_fault_w12_nginx_refuses_in_our_shape_what_it_does_not_hand_on(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    with nginx(tmp_path / "nginx", gunicorn().port) as url:
        for name, (request, status, code) in REFUSED.items():
            found, headers, body = ask(url, request)
            assert found == status, name
            assert headers["Content-Type"] == "application/json", name
            assert headers["X-Request-ID"], name
            detail = json.loads(body)["detail"]
            if code is None:
                assert detail in {"Not Found", "Method Not Allowed"}, name
            else:
                assert detail["code"] == code, name
                assert detail["error"], name


def test_fault_w12_what_the_server_itself_refuses_passes_as_it_is(
    gunicorn: Callable[..., Gunicorn], another: Callable[..., Client], tmp_path: Path
) -> None:
    server = gunicorn(COWORK_API_KEYS=f"tests={KEY}")
    with nginx(tmp_path / "nginx", server.port) as url:
        client = another(url, KEY)
        problem(client.get("/turns/nope"), 404, "turn_not_found")
        assert client.get("/nope").json() == {"detail": "Not Found"}
        refused = client.get("/ask_question")
        assert refused.status_code == 405
        assert {*refused.headers["Allow"].split(", ")} == {"OPTIONS", "POST"}
        problem(another(url).get("/sessions"), 401, "unauthorized")
        typeless = client.http.post(f"{url}/ask_question", data="x", timeout=PATIENCE_S)
        problem(typeless, 415, "unsupported_media_type")


def test_fault_w12_nginx_tells_in_our_shape_that_the_server_is_stopped(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = gunicorn()
    with nginx(tmp_path / "nginx", server.port) as url:
        server.stop()
        for path in ("/health/live", "/ask_question"):
            reply = requests.get(url + path, timeout=20)
            problem(reply, 502, "server_unreachable")
            assert reply.headers["Content-Type"] == "application/json"
            assert reply.headers["Retry-After"] == "1"
            assert reply.headers["X-Request-ID"]
