"""Who may call: this machine where there are no keys, holders of a key where there are."""

from __future__ import annotations

from collections.abc import Callable

from tests.contract.replies import JSON, Raw, problem, send
from tests.serving import Client, Served

KEY, OTHER = "k" * 32 + "-alice", "k" * 32 + "-robot"
KEYS = f"alice={KEY},robot={OTHER}"
ASK = b'{"project_name": "p", "question": "hi"}'
ROUTES = [
    ("GET", "/sessions"),
    ("DELETE", "/sessions/p"),
    ("POST", "/ask_question"),
    ("POST", "/ask_question_streaming"),
    ("POST", "/xo-auth/start"),
    ("GET", "/xo-auth/status/s?poll_token=t"),
    ("POST", "/xo-auth/consume"),
    ("GET", "/xo-auth/whoami"),
    ("GET", "/xo-auth/state"),
    ("POST", "/xo-auth/logout"),
    ("GET", "/outbox"),
    ("POST", "/outbox/retry"),
]
FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9",
}
FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "192.168.1.2:5002",
    "[2001:db8::1]",
    "evil.example:127",
]
FOREIGN_ORIGINS = [
    "https://evil.example",
    "null",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "file://",
]
WRONG = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": f"Bearer {KEY}x"},
    {"Authorization": f"Bearer {KEY[:-1]}"},
    {"Authorization": f"Basic {KEY}"},
    {"Authorization": "Bearer alice"},
    {"Authorization": "Bearer ü"},
    {"X-API-Key": ""},
    {"X-API-Key": KEY.upper()},
    {"X-API-Key": KEYS},
    {"Cookie": f"key={KEY}"},
]
Another = Callable[..., Client]


def _try(client: Client, method: str, path: str, headers: dict[str, str]) -> Raw:
    body = ASK if method == "POST" else None
    return send(client, method, path, body, {**(JSON if body else {}), **headers})


def _port(client: Client) -> str:
    return client.url.rpartition(":")[2]


def test_without_keys_this_machine_is_served(served: Served) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        for host in (name, f"{name}:{_port(served)}"):
            assert send(served, "GET", "/sessions", None, {"Host": host}).status_code == 200, host


def test_without_keys_a_proxied_caller_is_not_served(served: Served) -> None:
    for header, value in FORWARDED.items():
        for method, path in ROUTES:
            reply = _try(served, method, path, {header: value})
            problem(reply, 401, "unauthorized")
            assert reply.headers["www-authenticate"]


def test_a_foreign_host_is_forbidden(served: Served) -> None:
    for host in FOREIGN_HOSTS:
        for method, path in ROUTES:
            problem(_try(served, method, path, {"Host": host}), 403, "forbidden")
        problem(_try(served, "GET", "/", {"Host": host}), 403, "forbidden")


def test_a_foreign_origin_is_forbidden(served: Served) -> None:
    for origin in FOREIGN_ORIGINS:
        for method, path in ROUTES:
            reply = _try(served, method, path, {"Origin": origin})
            problem(reply, 403, "forbidden")
            assert "access-control-allow-origin" not in reply.headers


def test_a_foreign_page_is_told_nothing_beforehand(served: Served) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "*"}
    for origin in FOREIGN_ORIGINS:
        reply = send(served, "OPTIONS", "/ask_question", None, {"Origin": origin, **asks})
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_page_of_this_server_is_served(served: Served) -> None:
    reply = _try(served, "POST", "/ask_question", {"Origin": served.url})
    assert reply.status_code == 200, reply.text


def test_a_listed_origin_is_served_and_told_so(serve: Callable[..., Served]) -> None:
    page = "https://app.example"
    served = serve(COWORK_ALLOWED_ORIGINS=page)
    reply = _try(served, "POST", "/ask_question", {"Origin": page})
    assert reply.status_code == 200, reply.text
    assert reply.headers["access-control-allow-origin"] == page
    assert "origin" in reply.headers.get("vary", "").lower()
    problem(_try(served, "GET", "/sessions", {"Origin": f"{page}.evil"}), 403, "forbidden")


def test_where_there_are_keys_everyone_needs_one(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=KEYS, COWORK_TRUSTED_PROXIES="127.0.0.1")
    for number, (method, path) in enumerate(ROUTES):
        # Addresses of their own: wrong keys from one are soon too many.
        source = {"X-Forwarded-For": f"203.0.113.{number}"}
        for headers in WRONG:
            reply = _try(served, method, path, {**source, **headers})
            problem(reply, 401, "unauthorized")
            assert reply.headers["www-authenticate"].startswith("Bearer")
        in_url = f"{path}{'&' if '?' in path else '?'}api_key={KEY}&key={KEY}"
        problem(_try(served, method, in_url, {}), 401, "unauthorized")


def test_a_key_comes_in_either_header(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=KEYS)
    right = [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
        {"X-API-Key": KEY},
        {"X-API-Key": OTHER},
    ]
    for headers in right:
        assert _try(served, "GET", "/sessions", headers).status_code == 200, headers
        assert _try(served, "POST", "/ask_question", headers).status_code == 200, headers


def test_liveness_needs_no_key(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=KEYS)
    reply = served.get("/health/live")
    assert reply.status_code == 200
    assert KEY not in reply.text


def test_a_holder_of_a_key_may_come_through_a_proxy(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=KEYS)
    headers = {"Authorization": f"Bearer {KEY}", "X-Forwarded-For": "203.0.113.9"}
    assert _try(served, "GET", "/sessions", headers).status_code == 200


def test_sessions_belong_to_the_keys_name(serve: Callable[..., Served], another: Another) -> None:
    served = serve(COWORK_API_KEYS=KEYS)
    alice, robot = another(served, KEY), another(served, OTHER)
    hers = alice.ask("secret of alice").json()
    its = robot.ask("[[count]] hi").json()
    assert its["is_new_session"] is True
    assert its["session_id"] != hers["session_id"]
    assert its["message"] == "I see 1 questions: hi"
    assert alice.get("/sessions").json() == {"sessions": {"p": hers["session_id"]}, "count": 1}
    assert robot.get("/sessions").json() == {"sessions": {"p": its["session_id"]}, "count": 1}
    assert robot.delete("/sessions/p").json()["success"] is True
    assert robot.get("/sessions").json()["count"] == 0
    assert alice.ask("[[count]] again").json()["message"].startswith("I see 2 questions")


def test_a_key_is_in_no_reply(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=KEYS)
    for key in (KEY, f"{KEY}x"):
        for path in ("/health", "/sessions", "/nope", "/openapi.json", "/health/ready"):
            reply = _try(served, "GET", path, {"Authorization": f"Bearer {key}"})
            assert KEY not in reply.text
            assert KEY not in str(reply.headers)


LOGIN_CALLS = [
    ("POST", "/xo-auth/start"),
    ("GET", "/xo-auth/status/s?poll_token=t"),
    ("POST", "/xo-auth/consume"),
    ("POST", "/xo-auth/logout"),
]


def test_fault_s8_only_keys_that_are_named_get_at_the_servers_one_login(
    serve: Callable[..., Served], another: Another
) -> None:
    """Everybody's chat history is delivered with the token of that login."""
    served = serve(COWORK_API_KEYS=KEYS, COWORK_LOGIN_KEYS="robot")
    alice, robot = another(served, KEY), another(served, OTHER)
    for method, path in LOGIN_CALLS:
        refused = _try(alice, method, path, {"Authorization": f"Bearer {KEY}"})
        problem(refused, 403, "forbidden")
        allowed = _try(robot, method, path, {"Authorization": f"Bearer {OTHER}"})
        assert allowed.status_code not in {401, 403}, path
    for name in ("whoami", "state"):
        assert alice.get(f"/xo-auth/{name}").status_code != 403


def test_fault_s8_with_several_names_and_no_setting_nobody_does(
    serve: Callable[..., Served], another: Another
) -> None:
    served = serve(COWORK_API_KEYS=KEYS)
    problem(another(served, KEY).post("/xo-auth/logout"), 403, "forbidden")
    served = serve(COWORK_API_KEYS=f"alice={KEY}")
    assert another(served, KEY).post("/xo-auth/logout").status_code == 200
