"""The stops of the tour, each a function that gives a row of the report."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import socket
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cowork.claude.workspace import Workspace
from cowork.model import Project
from tests.attack.environment import CANARIES, FOR_THE_CLI, Ground, Row, detail_of
from tests.attack.tables import HOSTS, ORIGINS
from tests.threats.wire import connect, tell

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
OPEN = "/health/live"
# Yes or no for everybody who asks by GET.
BARE = "/health/ready"
# What is read without a key, so that a browser gets to where one can be typed in.
PAGES = {"/": 200, "//": 200, "/docs": 200, "/docs/assets/x": 404, "/openapi.json": 200}
# Read without a key by who is on the machine, as this attacker is; test_t30_metrics.py has others.
HERE = {"/metrics": 200}


def census(ground: Ground) -> Row:
    """Every route with every method, without a key and with a wrong one."""
    row = Row("census")
    nobody, wrong = ground.client(None), ground.client("a wrong key")
    for path in sorted({path for _, path in ground.routes()} | {"/nope", "/docs/assets/x", "//"}):
        for method in METHODS:
            for caller in (nobody, wrong):
                # Sources of their own: more than thirty wrong keys are told 429.
                reply = caller.http.request(method, ground.server.url + path, timeout=10)
                expected = {200, 405} if path == OPEN else {401}
                if path == BARE and method in {"GET", "HEAD"}:
                    expected = {200, 503}
                elif path in PAGES | HERE and method in {"GET", "HEAD"}:
                    expected = {(PAGES | HERE)[path]}
                elif caller is wrong and path != OPEN:
                    expected = {401, 429}
                row.check(reply.status_code in expected, f"{method} {path}: {reply.status_code}")
    row.check(ground.client().get("/sessions").status_code == 200, "a right key was refused")
    return row


def pages(ground: Ground) -> Row:
    """The tables of Hosts and Origins, on a route, on none, on a file and with a wrong method."""
    row = Row("pages")
    port = str(ground.server.port)
    key = f"Authorization: Bearer {CANARIES['a key']}\r\n"
    targets = [("GET", "/sessions"), ("GET", "/nope"), ("PUT", "/sessions"), ("GET", "/docs")]
    for method, path in targets:
        head = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n{key}"
        for host, served in HOSTS:
            told = tell(ground.server, f"{head}Host: {host.replace('PORT', port)}\r\n\r\n".encode())
            right = told.status not in {400, 403} if served else told.status in {400, 403}
            row.check(right, f"{method} {path} Host {host!r}: {told.status}")
        for origin, served in ORIGINS:
            line = "" if origin is None else f"Origin: {origin.replace('PORT', port)}\r\n"
            told = tell(ground.server, f"{head}Host: localhost:{port}\r\n{line}\r\n".encode())
            right = (told.status != 403) is served
            allowed = "access-control-allow-origin" in told.headers
            right = right and allowed == (
                origin is not None and "app.example" in origin.lower() and served
            )
            row.check(right, f"{method} {path} Origin {origin!r}: {told.status} {allowed}")
    return row


def schema(ground: Ground, cases: int) -> Row:
    """What schemathesis makes of our own OpenAPI document: never a 5xx, never a broken reply."""
    import schemathesis  # noqa: PLC0415 - half a second that only this stop needs
    from schemathesis.generation import GenerationMode  # noqa: PLC0415

    row = Row("schema")
    caller = ground.client()
    document = caller.get("/openapi.json").json()
    operations = [
        found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()
    ]
    modes = [
        (operation, mode)
        for operation in operations
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        # Nothing but a path's own name leaves nothing to get wrong.
        if mode is GenerationMode.POSITIVE or operation.body or operation.query
    ]
    share = max(2, cases // len(modes))

    def try_out(case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("timeout"), int | float):
            case.body["timeout"] = 20  # a client that asks for no time gets a 504, rightly
        reply = case.call(
            base_url=ground.server.url,
            session=caller.http,
            headers=dict(caller.http.headers),
            timeout=60,
        )
        status = reply.status_code
        row.check(status < 500, f"{case.method} {case.path}: {status} {reply.content[:200]!r}")
        if not reply.headers.get("x-request-id"):
            row.faults.append(f"{case.method} {case.path}: no X-Request-ID")

    found: list[Any] = []
    tries = 0
    while len(found) < cases:
        for operation, mode in modes:
            # Those without parameters have but one case.
            if tries == 0 or operation.body:
                strategy = operation.as_strategy(generation_mode=mode)
                _generate(strategy, share, ground.seed + tries, found.append)
        tries += 1
    # Asking starts processes and takes turns of one another: they go side by side.
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(try_out, case) for case in found]:
            done.result()
    row.facts["routes"] = len(operations)
    return row


def _generate(strategy: Any, count: int, number: int, use: Any) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Any) -> None:
        use(case)

    run()


def names(ground: Ground, cases: int) -> Row:
    """Project names: each one's directory under the root and its own, each name kept as it is."""
    row = Row("names")
    root = Path("/somewhere/workspace")
    space, seen = Workspace(root, per_project=True), {}
    parts = st.sampled_from(
        ["..", ".", "/", "\\", "~", "%2e%2e", "%00", "a", "A", "é", "é", "-", " "]
    )
    written = st.one_of(st.text(max_size=200), st.lists(parts, max_size=12).map("".join))

    def map_one(found: tuple[str, str]) -> None:
        project = Project(*found)
        path = Path(space.cwd(project))
        row.check(path.parent == root and path.name not in {"", ".", ".."}, f"{found!r}: {path}")
        owner = seen.setdefault(str(path), found)
        row.check(owner == found, f"{found!r} and {owner!r} share {path}")

    _generate(st.tuples(st.sampled_from(["", "me", "you"]), written), cases, ground.seed, map_one)
    caller = ground.client()
    dice = ground.dice("names")
    hostile = ["..", "../../etc", "/etc/passwd", "a/../b", ".", "~root", "%2e%2e", "CON", "a" * 200]
    for name in [*hostile, *(chr(dice.randrange(0x20, 0xD7FF)) * 3 for _ in range(cases // 50))]:
        reply = caller.delete(f"/sessions/{quote(name, safe='').replace('.', '%2E')}")
        said = reply.json().get("message") if reply.status_code == 200 else None
        row.check(
            reply.status_code == 422 or said == f"No session found for {name}",
            f"{name!r}: {reply.text}",
        )
    made = {path.resolve() for path in (ground.folder / "workspace").rglob("*")}
    outside = [path for path in made if not path.is_relative_to(ground.folder / "workspace")]
    row.check(not outside, f"outside the workspace: {outside}")
    return row


def slow(ground: Ground, count: int) -> Row:
    """Half-open and dripping connections; meanwhile `/health/live` answers as ever."""
    row = Row("slow")
    head = b"POST /ask_question HTTP/1.1\r\nHost: localhost\r\n"
    key = f"Authorization: Bearer {CANARIES['a key']}\r\n".encode()
    body = head + key + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    begun = time.monotonic()
    half = [_opened(ground, head) for _ in range(count)]
    dripping = [_opened(ground, body) for _ in range(count)]
    stop = threading.Event()
    drip = threading.Thread(target=_drip, args=(dripping, stop))
    drip.start()
    took = []
    caller = ground.client(None)
    try:
        while time.monotonic() - begun < 8:
            asked = time.monotonic()
            reply = caller.get(OPEN)
            took.append(time.monotonic() - asked)
            row.check(reply.status_code == 200, f"{OPEN}: {reply.status_code}")
            time.sleep(0.02)
        # Patience is 3 s; every one of them has been told so by now.
        for line in (*half, *dripping):
            row.check(_is_cut(line), "a slow connection was not cut")
    finally:
        stop.set()
        drip.join()
        for line in (*half, *dripping):
            line.close()
    took.sort()
    row.facts = {
        "connections": 2 * count,
        "live_p50_ms": round(took[len(took) // 2] * 1000, 1),
        "live_p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1),
    }
    return row


def _opened(ground: Ground, said: bytes) -> socket:
    line = connect(ground.server)
    line.sendall(said)
    return line


def _drip(lines: list[socket], stop: threading.Event) -> None:
    while not stop.wait(0.5):
        for line in lines:
            try:
                line.send(b" ")
            except OSError:
                continue


def _is_cut(line: socket) -> bool:
    """Whether the server has ended the connection, after a 408 where there was a request."""
    line.settimeout(5)
    try:
        while data := line.recv(65536):
            if b" 408 " not in data.split(b"\r\n")[0]:
                return False
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def everything(ground: Ground) -> Row:
    """Every endpoint as its users use it, and every way of getting a key wrong."""
    row = Row("everything")
    me, you, filed = (
        ground.client(),
        ground.client("another's key"),
        ground.client("a key of the file"),
    )
    for caller in (me, you, filed):
        row.check(caller.ask("hi [[stderr 2000]]").status_code == 200, "an answer")
        row.check(caller.stream("[[words 5]]").status_code == 200, "a stream")
        row.check(caller.ask("[[die]]", "broken").status_code == 502, "a failure")
        row.check(caller.get("/sessions").json()["count"] >= 1, "sessions")
    asked = {"project_name": "turn", "question": "[[words 3]]", "user_id": "u"}
    mine = me.post("/ask_question", asked, headers={"Idempotency-Key": "canaries"})
    turn = mine.json()["turn_id"]
    for path in (f"/turns/{turn}", f"/turns/{turn}/events"):
        row.check(me.get(path).status_code == 200, path)
        row.check(you.get(path).status_code == 404, f"another's {path}")
    for path in (f"/turns/{turn}/interrupt", "/sessions/turn/interrupt"):
        row.check(me.post(path).status_code == 200, path)
    row.check(you.post(f"/turns/{turn}/interrupt").status_code == 404, "another's interrupt")
    row.check(you.delete("/sessions/turn").json()["success"] is False, "another's session")
    row.check(me.delete("/sessions/turn").json()["success"] is True, "my session")
    _log_in_and_out(ground, row)
    for path in ("/", "/health", "/health/ready", "/docs", "/openapi.json", "/outbox", "/nope"):
        row.check(me.get(path).status_code in {200, 404}, path)
    wrong = CANARIES["a wrong key"]
    stranger = ground.client(None)
    for headers in (
        {"Authorization": f"Bearer {wrong}"},
        {"X-API-Key": wrong},
        {"Authorization": f"Basic {wrong}"},
        {"Cookie": f"key={wrong}"},
    ):
        reply = stranger.get(f"/sessions?key={CANARIES['a key']}", headers=headers)
        row.check(reply.status_code in {401, 429}, f"{headers}: {reply.status_code}")
    broken = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {wrong}\0\r\n\r\n"
    row.check(tell(ground.server, broken.encode()).status == 400, "a broken header")
    return row


def _log_in_and_out(ground: Ground, row: Row) -> None:
    me, poll = ground.client(), CANARIES["a poll token"]
    row.check(me.post("/xo-auth/start", {"client_reference": "x"}).status_code == 200, "start")
    status = me.get(f"/xo-auth/status/session-1?poll_token={poll}")
    row.check(status.status_code == 200, f"status: {detail_of(status)}")
    for body in ({"auth_session_id": "session-1", "poll_token": poll}, {}):
        consumed = me.post("/xo-auth/consume", body)
        row.check(consumed.status_code == 200, f"consume: {detail_of(consumed)}")
    for path in ("/xo-auth/whoami", "/xo-auth/state", "/health"):
        row.check(me.get(path).status_code == 200, path)
    row.check(me.post("/xo-auth/logout").status_code == 200, "logout")


def canaries(ground: Ground) -> Row:
    """Where the secrets are: in no log, no reply, no command line, no process but the server."""
    row = Row("canaries")
    # The last stop may have taken so long that no CLI is resident any more.
    row.check(ground.client().ask("[[say here]]", "canaries").status_code == 200, "no answer")
    logged, heard = ground.logged(), "\n".join(ground.heard)
    fakes = ground.fakes_log.read_text(errors="replace")
    row.facts = {"log_bytes": len(logged), "reply_bytes": len(heard)}
    row.check(len(ground.heard) > 20, "nothing was heard")
    row.check("canar" not in "".join(map(str, ground.routes())), "a canary in the routes")
    workers = {ground.server.child.pid, *ground.server.workers()}
    clis = [folder for folder in ground.processes() if int(folder.name) not in workers]
    # The search itself is tried where it must find something.
    row.check(
        bool(clis) and not _lacks(clis[0] / "environ", CANARIES["the CLI's own key"]), "no CLI"
    )
    for pid in workers:
        row.check(
            not _lacks(Path(f"/proc/{pid}/environ"), CANARIES["a key"]), "no key in the server"
        )
    for what, secret in CANARIES.items():
        row.check(secret not in logged, f"{what} is in the log")
        row.check(secret not in heard, f"{what} is in a reply")
        row.check(secret not in fakes, f"{what} is in what the CLI was asked")
        for folder in ground.processes():
            row.check(_lacks(folder / "cmdline", secret), f"{what} is on a command line")
            if int(folder.name) not in workers and what not in FOR_THE_CLI:
                row.check(_lacks(folder / "environ", secret), f"{what} is in the CLI's environment")
    for word in ("Traceback", '"level": "error"'):
        row.check(word not in logged, f"the log has {word}: {_around(logged, word)}")
    return row


def _around(text: str, word: str) -> str:
    place = text.find(word)
    return text[max(0, place - 200) : place + 300]


def _lacks(path: Path, secret: str) -> bool:
    try:
        return secret.encode() not in path.read_bytes()
    except OSError:
        return True  # gone meanwhile
