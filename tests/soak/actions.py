"""What a client does in a load: each one thing, in a project."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from random import Random

import requests

from cowork.claude import orphans as sweep
from tests.faults.environment import code_of, error_of
from tests.serving import Client, frames
from tests.soak import other_apis
from tests.soak.tally import FAILS, SERVER_ERROR, Tally
from tests.turns.raw_client import ASK, ASK_STREAMING, LEAVING, Line, question

# Both CLIs, and the model of the real one, understand these.
SCENES = ["[[words 60]] [[delay 5]]", "[[words 5]]", "[[say yes]]", "[[think 30]] [[words 20]]"]
LONG = ["[[words 400]] [[delay 10]]", "[[hang]]", "[[think 300]] [[delay 10]]"]


def _asks(client: Client, project: str, dice: Random, tally: Tally) -> None:
    begun = time.monotonic()
    reply = client.ask(dice.choice(SCENES), project)
    if reply.status_code == requests.codes.ok:
        tally.answered(begun, reply.json()["session_id"])
    elif reply.status_code >= SERVER_ERROR:
        tally.failed(project, begun, code_of(reply), reply.text)


def _streams(client: Client, project: str, dice: Random, tally: Tally) -> None:
    _read(client, project, dice.choice(SCENES), tally, lambda _turn: None)


def _interrupts(client: Client, project: str, dice: Random, tally: Tally) -> None:
    def interrupt(turn: str) -> None:
        time.sleep(dice.uniform(0.0, 0.5))
        with closing(Client(client.url)) as beside:
            by_project = f"/sessions/{project}/interrupt"
            beside.post(dice.choice([f"/turns/{turn}/interrupt", by_project]))
            # Another's turn may have been the one that ran.
            beside.post(f"/turns/{turn}/interrupt")

    _read(client, project, dice.choice(LONG), tally, interrupt)


def _read(
    client: Client, project: str, text: str, tally: Tally, meanwhile: Callable[[str], None]
) -> None:
    begun = time.monotonic()
    with client.stream(text, project) as reply:
        if reply.status_code != requests.codes.ok:
            if reply.status_code >= SERVER_ERROR:
                tally.failed(project, begun, code_of(reply), reply.text)
            return
        meanwhile(reply.headers["X-Turn-ID"])
        seen = list(frames(reply))
    last = seen[-1].data if seen else {}
    if not last.get("done"):
        tally.failed(project, begun, "no last frame")
    elif last["success"]:
        tally.answered(begun, last["session_id"])
    elif (code := error_of(seen)) in FAILS:
        tally.failed(project, begun, code, str(seen[-2].data))


def _leaves(client: Client, project: str, dice: Random, _tally: Tally) -> None:
    text = dice.choice(SCENES + LONG)
    line = Line(client, dice.choice([ASK, ASK_STREAMING]), question(text, project))
    time.sleep(dice.uniform(0.0, 0.6))
    getattr(line, dice.choice(LEAVING))()


def _deletes(client: Client, project: str, _dice: Random, tally: Tally) -> None:
    begun = time.monotonic()
    reply = client.delete(f"/sessions/{project}")
    if reply.status_code >= SERVER_ERROR:
        tally.failed(project, begun, code_of(reply))


def _kills(client: Client, _project: str, dice: Random, tally: Tally) -> None:
    """SIGKILL to a process of the server's, busy or not."""
    listed = client.get("/processes").json()["processes"]
    if not listed:
        return
    chosen = dice.choice(listed)
    try:
        handle = os.pidfd_open(chosen["pid"])
    except ProcessLookupError:
        return  # it ended by itself
    try:
        # Ours, and no stranger that got the pid.
        if sweep._marker_of(chosen["pid"]) is not None:
            tally.kills.append((chosen["project"], time.monotonic()))
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _changes(client: Client, project: str, dice: Random, tally: Tally) -> None:
    """Fork, rewind or steer; where there is nothing to, the server says so."""
    begun = time.monotonic()
    turns = client.get(f"/sessions/{project}/turns").json().get("turns", [])
    turn = dice.choice(turns)["turn_id"] if turns else "never"
    what = dice.choice(["fork", "rewind", "steer"])
    if what == "fork":
        to = f"{project}-fork-{dice.randrange(3)}"
        reply = client.post(f"/sessions/{project}/fork", {"to": to})
        client.delete(f"/sessions/{to}")
    elif what == "rewind":
        reply = client.post(f"/sessions/{project}/rewind", {"to_turn": turn})
    else:
        reply = client.ask("[[say aside]]", project, on_busy="steer")
    if reply.status_code >= SERVER_ERROR:
        tally.failed(project, begun, code_of(reply), reply.text)


def _looks(client: Client, project: str, _dice: Random, tally: Tally) -> None:
    """What a console and a monitor ask for all the time."""
    begun = time.monotonic()
    paths = ["/sessions?details=true", "/processes", "/health", "/metrics", "/approvals"]
    for path in [*paths, f"/sessions/{project}", f"/sessions/{project}/messages?last=true"]:
        reply = client.get(path)
        if reply.status_code >= SERVER_ERROR:
            tally.failed(project, begun, f"{path} {reply.status_code}", reply.text)


ACTIONS: dict[Callable[[Client, str, Random, Tally], None], int] = {
    _asks: 30,
    _streams: 40,
    _leaves: 12,
    _interrupts: 10,
    _deletes: 4,
    _kills: 4,
    _changes: 6,
    _looks: 6,
    other_apis.completes: 8,
    other_apis.converses: 8,
    other_apis.messages: 6,
    other_apis.responds: 6,
    other_apis.chats: 6,
}
