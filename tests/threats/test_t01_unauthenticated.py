"""T1: nobody calls anything without a key, and everybody may ask whether the server lives."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from cowork import __version__
from cowork.app import create_app
from cowork.composition import open_services
from cowork.settings import api_keys
from cowork.settings.settings import SettingsError, load
from tests.scraping import await_count
from tests.serving import ROOT, Client, Gunicorn, Served, wait_for

KEY, OTHER = "k" * 40, "o" * 40
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]

# Who may call what, decided for each route: "owner" sees what is the key's own, "holder" is
# anybody with a key and is served what belongs to the server as a whole, "login" is whom
# COWORK_ADMIN_KEYS or COWORK_LOGIN_KEYS names, "metrics" whom COWORK_METRICS_KEYS names or who is
# on this machine, "open" is read without a key, where Host and Origin let the caller through, "all"
# needs nothing.
DECIDED = {
    "GET /": "open",
    "GET /client.js": "open",
    "GET /client.d.ts": "open",
    "GET /console/<name>": "open",
    "GET /console/vendor/<name>": "open",
    "GET /health": "holder",
    "GET /health/live": "all",
    "GET /health/ready": "all",
    "GET /docs": "open",
    "GET /docs/assets/<name>": "open",
    "GET /openapi.json": "open",
    "POST /ask_question": "owner",
    "POST /ask_question_streaming": "owner",
    "GET /sessions": "owner",
    "DELETE /sessions/<project_id>": "owner",
    "POST /sessions/<project_id>/interrupt": "owner",
    "POST /sessions/<project_id>/warm": "owner",
    "GET /processes": "owner",
    "DELETE /processes/<process_id>": "owner",
    "GET /sessions/<project_id>": "owner",
    "PATCH /sessions/<project_id>": "owner",
    "GET /sessions/<project_id>/messages": "owner",
    "GET /sessions/<project_id>/turns": "owner",
    "POST /sessions/<project_id>/fork": "owner",
    "POST /sessions/<project_id>/rewind": "owner",
    "GET /models": "holder",
    "GET /skills": "holder",
    "GET /mcp": "holder",
    "GET /approvals": "owner",
    "POST /approvals/<approval_id>": "owner",
    "GET /workers": "operator",
    # On this machine without a key.
    "GET /metrics": "metrics",
    # An operator sees everybody's.
    "GET /usage": "owner",
    "GET /turns/<turn_id>": "owner",
    "GET /turns/<turn_id>/events": "owner",
    "POST /turns/<turn_id>/ticket": "owner",
    "POST /turns/<turn_id>/interrupt": "owner",
    "POST /turns/<turn_id>/steer": "owner",
    "GET /outbox": "owner",
    "POST /outbox/retry": "owner",
    "POST /v1/chat/completions": "owner",
    "POST /v1/messages": "owner",
    "POST /v1/messages/count_tokens": "holder",
    "POST /v1/responses": "owner",
    "GET /v1/responses/<response_id>": "owner",
    "POST /v1/responses/<response_id>/cancel": "owner",
    "POST /api/chat": "owner",
    "GET /api/chat/<chat_id>/stream": "owner",
    "GET /api/chat/<chat_id>/messages": "owner",
    "POST /api/chat/<chat_id>/stop": "owner",
    "GET /v1/models": "holder",
    "GET /v1/models/<model_id>": "holder",
    # The XO login is the server's, whoever began it.
    "POST /xo-auth/start": "login",
    "GET /xo-auth/status/<auth_session_id>": "login",
    "POST /xo-auth/consume": "login",
    "GET /xo-auth/whoami": "holder",
    "GET /xo-auth/state": "holder",
    "POST /xo-auth/logout": "login",
}


@pytest.fixture
def guarded(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    """The application with keys configured."""
    environ = {**fake_environ, "COWORK_API_KEYS": f"me={KEY},you={OTHER}"}
    services = open_services(load(environ, dotenv=tmp_path / "none"), environ)
    yield create_app(services)
    services.close()


def routes(app: Flask) -> dict[str, str]:
    """Every route with its method, and a path that it matches."""
    found = {}
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = rule.rule
            for name in rule.arguments:
                path = path.replace(f"<{name}>", "x")
            found[f"{method} {rule.rule}"] = path
    return found


def test_t01_every_route_has_a_decision_about_who_may_call_it(guarded: Flask) -> None:
    undecided = routes(guarded).keys() ^ DECIDED.keys()
    assert not undecided, "decide who may call it, in DECIDED above"


def test_t01_no_route_answers_without_a_key_but_the_one_for_all(guarded: Flask) -> None:
    client = guarded.test_client()
    for name, path in routes(guarded).items():
        for method in METHODS:
            reply = client.open(path, method=method)
            if DECIDED[name] == "all":
                if method in {"GET", "HEAD"}:
                    assert reply.status_code in ({200, 503} if "ready" in path else {200})
                else:
                    # Of the one whose answer differs by caller a GET alone is open.
                    assert reply.status_code in ({401} if "ready" in path else {200, 405})
            elif DECIDED[name] == "metrics" and method in {"GET", "HEAD"}:
                assert reply.status_code == 200  # this client is on the machine itself
            elif DECIDED[name] == "open" and method in {"GET", "HEAD"}:
                assert reply.status_code == (404 if path.endswith("/x") else 200)
            else:
                assert reply.status_code == 401, f"{method} {path}"
                assert reply.headers["WWW-Authenticate"]
            assert "Set-Cookie" not in reply.headers
            reply.close()


OPEN = [path for _, path in (each.split(" ") for each in DECIDED if DECIDED[each] == "open")]
OPEN[OPEN.index("/docs/assets/<name>")] = "/docs/assets/swagger-ui.css"
OPEN.append("/docs/assets/start.js")
OPEN[OPEN.index("/console/<name>")] = "/console/app.js"
OPEN[OPEN.index("/console/vendor/<name>")] = "/console/vendor/purify.min.js"


@pytest.mark.parametrize("path", OPEN)
def test_fault_w11_what_is_open_tells_nothing_of_this_server(guarded: Flask, path: str) -> None:
    reply = guarded.test_client().get(path)
    assert reply.status_code == 200
    settings = guarded.extensions["cowork"].settings
    secret = [KEY, OTHER, str(settings.workspace), settings.claude_cli_path, settings.store]
    assert not [each for each in secret if each in reply.text]
    # swagger-ui's own files are the same everywhere.
    assert path.startswith("/docs/assets/") or f'"{__version__}"' not in reply.text
    reply.close()


def told(app: Flask, path: str) -> tuple[bytes, dict[str, str]]:
    """A reply's body and headers, but for those that differ each time."""
    reply = app.test_client().get(path, buffered=True)
    headers = dict(reply.headers)
    return reply.data, {name: headers[name] for name in headers.keys() - {"Date", "X-Request-ID"}}


def test_fault_w11_what_is_open_is_the_same_whatever_the_settings_are(
    guarded: Flask, fake_environ: dict[str, str], tmp_path: Path
) -> None:
    others = {
        "COWORK_API_KEYS": f"somebody={OTHER}",
        "COWORK_MAX_BODY": "1048576",
        "COWORK_STORE": f"sqlite:///{tmp_path}/state.db",
        "COWORK_WORKSPACE": str(tmp_path),
        "COWORK_PROJECT_DIRS": "true",
        "COWORK_ALLOWED_HOSTS": "localhost,cowork.example",
        "CHAT_API_BASE_URL": "",
        "CLAUDE_TIMEOUT": "77",
        "PORT": "9999",
    }
    environ = {**fake_environ, **others}
    services = open_services(load(environ, dotenv=tmp_path / "none"), environ)
    other = create_app(services)
    for path in OPEN:
        body, headers = told(guarded, path)
        assert (body, headers) == told(other, path), path
        # Flask's is made of the file's path; the console's of what is in the file.
        assert ("ETag" in headers) == (path.startswith(("/console/", "/client")))
    services.close()


@pytest.mark.parametrize("path", OPEN)
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil/x"}],
)
def test_fault_w11_host_and_origin_are_checked_of_what_is_open_too(
    guarded: Flask, path: str, headers: dict[str, str]
) -> None:
    assert guarded.test_client().get(path, headers=headers).status_code == 403


@pytest.mark.parametrize("path", OPEN)
def test_fault_w11_without_keys_it_is_for_this_machine_alone(
    fake_environ: dict[str, str], tmp_path: Path, path: str
) -> None:
    services = open_services(load(fake_environ, dotenv=tmp_path / "none"), fake_environ)
    client = create_app(services).test_client()
    there = {"REMOTE_ADDR": "203.0.113.9"}
    reply = client.get(path)
    assert reply.status_code == 200
    reply.close()
    assert client.get(path, environ_overrides=there).status_code == 401
    services.close()


def test_fault_s8_of_all_routes_a_key_that_is_not_named_is_refused_at_those_of_operators_alone(
    guarded: Flask,
) -> None:
    client = guarded.test_client()
    for name, path in routes(guarded).items():
        reply = client.open(path, method=name.partition(" ")[0], headers={"X-API-Key": KEY})
        assert (reply.status_code == 403) == (DECIDED[name] in {"login", "operator"}), name
        reply.close()


def ready(app: Flask, **given: str) -> dict[str, object]:
    peer = given.pop("peer", "203.0.113.9")
    headers = {name.replace("_", "-"): value for name, value in given.items()}
    reply = app.test_client().get(
        "/health/ready", headers=headers, environ_overrides={"REMOTE_ADDR": peer}
    )
    found: dict[str, object] = reply.get_json()
    assert reply.status_code == (200 if found["ready"] else 503)
    assert "Access-Control-Allow-Origin" not in reply.headers
    return found


def test_fault_s10_whether_it_is_ready_is_for_all_and_why_not_for_those_who_may_know(
    guarded: Flask,
) -> None:
    guarded.extensions["cowork"].stopping.set()
    bare = {"ready": False}
    for host in ("localhost", "evil.example", "10.0.0.3:5002", ""):
        assert ready(guarded, Host=host) == bare
        assert ready(guarded, Host=host, Origin="https://evil.example") == bare
    assert ready(guarded, X_API_Key="w" * 40) == bare
    assert ready(guarded, peer="127.0.0.1", Host="localhost", X_Forwarded_For="1.2.3.4") == bare
    assert ready(guarded, peer="127.0.0.1", Host="rebound.example") == bare
    assert ready(guarded, peer="127.0.0.1", Host="localhost", Sec_Fetch_Site="cross-site") == bare
    for told in (
        ready(guarded, X_API_Key=KEY),
        ready(guarded, peer="127.0.0.1", Host="localhost:5002"),
        ready(guarded, peer="::1", Host="[::1]"),
    ):
        assert "the server is shutting down" in told["reasons"]


def test_fault_s10_without_keys_a_stranger_is_told_no_more(
    serve: Callable[..., Served],
) -> None:
    client = serve().app.test_client()
    found = client.get(
        "/health/ready",
        headers={"Host": "x.example"},
        environ_overrides={"REMOTE_ADDR": "203.0.113.9"},
    )
    assert found.get_json().keys() == {"ready"}
    assert client.get("/health/ready").get_json().keys() == {"ready", "reasons"}


def test_t01_what_there_is_not_needs_a_key_too(guarded: Flask) -> None:
    client = guarded.test_client()
    for path in (
        "/nope",
        "/health/live/",
        "/health/livex",
        "//health/live",
        "/health/live%2F",
        "/docs/assets/../../x",
    ):
        assert client.get(path).status_code == 401, path


def test_t01_every_wrong_key_is_answered_alike(guarded: Flask) -> None:
    client = guarded.test_client()
    seen = set()
    wrong = [{}, {"X-API-Key": KEY[:-1]}, {"X-API-Key": "k" * 10_000}, {"X-API-Key": "ü" * 40}]
    wrong += [{"Authorization": f"Basic {KEY}"}, {"Authorization": f"Bearer {KEY}x"}]
    for headers in wrong:
        for query in ("", f"?key={KEY}&api_key={KEY}&access_token={KEY}"):
            reply = client.get(f"/sessions{query}", headers=headers)
            seen.add((reply.status_code, reply.text, reply.headers["WWW-Authenticate"]))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 401


@pytest.mark.parametrize(
    "short", ["me=short", f"me={'k' * 31}", "me=", f"={KEY}", f"me={KEY},me={OTHER}"]
)
def test_t01_a_key_that_is_too_easy_is_refused_at_start(short: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as fault:
        load({"COWORK_API_KEYS": short}, dotenv=tmp_path / "none")
    assert "k" * 31 not in str(fault.value)


def test_t01_make_key_prints_a_good_one() -> None:
    make = str(shutil.which("make"))
    made = [subprocess.check_output([make, "-s", "key", f"NAME={name}"], cwd=ROOT) for name in "ab"]
    found = api_keys.parse_pairs(b"".join(made).decode().splitlines())
    assert found.keys() == {"a", "b"}
    assert min(map(len, found.values())) >= 43


def test_t01_files_go_to_holders_of_a_files_key_too(
    serve: Callable[..., Served], another: Callable[..., Client], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"me={KEY}\n")
    me = another(serve(COWORK_API_KEYS_FILE=str(file)), KEY)
    for path in ("/docs", "/docs/assets/swagger-ui.css", "/openapi.json"):
        assert me.get(path).status_code == 200


def test_t01_without_keys_the_start_says_who_gets_in(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(HOST="0.0.0.0", COWORK_LOG_LEVEL="info")  # noqa: S104 - what is tested

    def told() -> list[str]:
        return [line for line in server.log.read_text().splitlines() if "loopback clients" in line]

    wait_for(told, what="the line about who gets in")
    said = told()
    assert len(said) == 1
    assert "no API keys: serving loopback clients only" in said[0]


@pytest.mark.parametrize("server", ["serve", "gunicorn"])
def test_t01_a_removed_key_is_of_no_use_any_more_nor_is_its_stream(
    request: pytest.FixtureRequest, server: str, another: Callable[..., Client], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"me={KEY}\nyou={OTHER}\n")
    served = request.getfixturevalue(server)(COWORK_API_KEYS_FILE=str(file), COWORK_KEEPALIVE="0.2")
    me, you = another(served, KEY), another(served, OTHER)
    with (
        me.stream("[[delay 100]] [[words 300]]", "mine") as mine,
        you.stream("[[delay 20]] [[words 100]]", "yours") as yours,
    ):
        lines = mine.iter_lines(chunk_size=1)
        next(lines)
        file.write_text(f"you={OTHER}\n")
        rest = b"\n".join(lines)
        assert '"success": true' in yours.text
    assert b'"code": "unauthorized"' in rest
    assert b'{"done": true, "success": false}' in rest
    await_count(served, 1, "stream_ends_total", how="key_revoked")
    wait_for(lambda: me.get("/sessions").status_code == 401, 5, "the end of the key")
    assert you.get("/sessions").status_code == 200


def test_t01_an_answer_is_not_for_a_key_that_was_removed_meanwhile(
    serve: Callable[..., Served], another: Callable[..., Client], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"me={KEY}\n")
    served = serve(COWORK_API_KEYS_FILE=str(file))
    # The fake writes for longer than the file is left alone.
    file.write_text(f"me={OTHER}\n")
    reply = another(served, KEY).ask("[[delay 150]] [[words 10]]")
    assert reply.status_code == 401
    assert "w1" not in reply.text
