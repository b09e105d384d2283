"""Approvals with random ends on the real CLI: yes, no, nobody, an interrupt, two answers, SIGKILL.

Each tool appends a line to a file of its own: what ran, and how often, is seen there.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from cowork.demo.model import Model, serve
from tests import program
from tests.faults.environment import Ground
from tests.faults.report import Row
from tests.serving import Client, Gunicorn, wait_for

AT_ONCE = 8
TIMEOUT_S = 1.0
WAIT_S = 150.0
KILLED = 0.25
ENDS = ("allow", "allow", "allow", "change", "deny", "deny_interrupt", "two", "expire", "interrupt")
# How a turn may end whose worker or CLI was killed, or that was interrupted.
FAILED = {"worker_lost", "turn_interrupted", "claude_failed", "shutting_down"}


@dataclass(slots=True)
class Case:
    """One approval: what is done with it, and where it would be seen to have run."""

    number: int
    end: str
    file: Path
    changed: Path
    turn: str = ""
    approval: str = ""
    answers: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"approval-{self.number}"

    def question(self) -> dict[str, Any]:
        wanted = {"approval_timeout": TIMEOUT_S} if self.end == "expire" else {}
        given = json.dumps({"command": f"echo ran >> {self.file}"})
        return {
            "project_name": f"a{self.number % AT_ONCE}",
            "question": f"[[tool Bash {given}]]",
            "approvals": True,
            "events": ["approval"],
            **wanted,
        }


def run(ground: Ground, row: Row, count: int) -> None:
    """Rounds of eight at once, of which some lose their worker."""
    with serve(delay=0.0) as model:
        server = ground.beside(**_settings(ground, model))
        try:
            for first in range(0, count, AT_ONCE):
                _round(ground, server, row, range(first, min(first + AT_ONCE, count)))
            _judge_audit(server, row)
        finally:
            server.close()


def _settings(ground: Ground, model: Model) -> dict[str, str]:
    claude = program.real_claude()
    assert claude is not None, "the claude CLI is missing; install it with: make install-cli"
    config = ground.folder / "approvals"
    config.mkdir()
    return {
        "CLAUDE_CLI_PATH": program.knowing_its_login(claude, config / "bin"),
        "CLAUDE_CONFIG_DIR": str(config),
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "sk-dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "COWORK_APPROVALS": "optional",
        "COWORK_TURN_RETENTION": "600",
        "COWORK_STORE": f"sqlite://{ground.folder}/approvals.db",
        "COWORK_STORE_KEY_FILE": str(ground.folder / "approvals.key"),
    }


def _round(ground: Ground, server: Gunicorn, row: Row, numbers: range) -> None:
    dice = ground.dice("approvals", numbers.start)
    folder = ground.folder / "ran"
    folder.mkdir(exist_ok=True)
    cases = [
        Case(n, dice.choice(ENDS), folder / f"{n}.txt", folder / f"{n}-changed.txt")
        for n in numbers
    ]
    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        played = [pool.submit(_play, each, server.url, ground.dice(each.key)) for each in cases]
        if dice.random() < KILLED:
            time.sleep(dice.uniform(0.0, 1.5))
            with suppress(ProcessLookupError):
                os.kill(server.workers()[0], signal.SIGKILL)
            row.saw("worker killed")
        for each in played:
            each.result()
    for case in cases:
        _judge(server, row, case)


def _play(case: Case, url: str, dice: random.Random) -> None:
    """Ask, wait until it is to be approved, and do what this case is about."""
    with closing(Client(url)) as client:
        case.turn = _asked(case, client)
        shown = _until(client, f"/turns/{case.turn}", _waits_or_ended)
        waiting = shown.get("waiting_for")
        if not waiting:
            return
        (case.approval,) = waiting
        time.sleep(dice.uniform(0.0, 0.3))
        if case.end == "interrupt":
            _taken(lambda: client.post(f"/turns/{case.turn}/interrupt"))
        elif case.end == "two":
            with ThreadPoolExecutor(2) as pool, closing(Client(url)) as other:
                pair = [(client, "allow"), (other, "deny")]
                case.answers = list(pool.map(lambda each: _answer(case, *each), pair))
        elif case.end != "expire":
            case.answers = [_answer(case, client, case.end)]


def _asked(case: Case, client: Client) -> str:
    """The turn's id, asked for until somebody has taken the question."""
    deadline = time.monotonic() + WAIT_S
    headers = {"Idempotency-Key": case.key, "Accept": "text/event-stream"}
    while time.monotonic() < deadline:
        reply = _try(
            lambda: client.post(
                "/ask_question_streaming", case.question(), headers=headers, stream=True
            )
        )
        if reply is not None:
            reply.close()
        # Also of a turn that has been lost meanwhile, which is told as an error.
        if reply is not None and "X-Turn-ID" in reply.headers:
            return str(reply.headers["X-Turn-ID"])
        time.sleep(0.1)
    raise AssertionError(f"{case.key} was not taken")


def _waits_or_ended(shown: dict[str, Any]) -> bool:
    return bool(shown.get("waiting_for")) or shown.get("state") not in {"running", "queued"}


def _until(client: Client, path: str, true: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def look() -> bool:
        nonlocal found
        reply = _try(lambda: client.get(path))
        if reply is None or reply.status_code != requests.codes.ok:
            found = {"reply": None if reply is None else (reply.status_code, reply.text)}
            return False
        found = reply.json()
        return bool(true(found))

    try:
        wait_for(look, WAIT_S, path)
    except AssertionError as fault:
        raise AssertionError(f"{path} stays {found}") from fault
    return found


def _answer(case: Case, client: Client, decision: str) -> int:
    body: dict[str, Any] = {"decision": decision}
    if decision == "change":
        body = {"decision": "allow", "input": {"command": f"echo ran >> {case.changed}"}}
    if decision == "deny_interrupt":
        body = {"decision": "deny", "interrupt": True}
    reply = _taken(lambda: client.post(f"/approvals/{case.approval}", body))
    assert reply.status_code != requests.codes.not_found, f"{case.key}: {reply.text}"
    return reply.status_code


def _taken(call: Any) -> requests.Response:
    """Its reply, asked for until there is a worker that takes it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        reply = _try(call)
        if reply is not None and reply.status_code < requests.codes.server_error:
            return reply
        time.sleep(0.1)
    raise AssertionError("no worker took it")


def _try(call: Any) -> requests.Response | None:
    try:
        reply: requests.Response = call()
    except requests.RequestException:
        return None  # its worker was the one
    return reply


def _judge(server: Gunicorn, row: Row, case: Case) -> None:
    """What ran is what was allowed, once, and the turn has ended."""
    with closing(Client(server.url)) as client:
        turn = _until(client, f"/turns/{case.turn}", lambda t: t["state"] != "running")
        audit = _audit(client, case)
    ran = [each.read_text() if each.exists() else "" for each in (case.file, case.changed)]
    name = f"{case.key} ({case.end}, {case.turn}, {case.answers})"
    code = (turn.get("error") or {}).get("code")
    row.check(all(each in {"", "ran\n"} for each in ran), f"{name}: ran {ran}")
    row.check("" in ran, f"{name}: both ran")
    decision = audit.get("decision")
    if any(ran):
        row.check(decision == "allow", f"{name}: ran, though {decision}")
        row.check(bool(audit.get("applied_at")), f"{name}: ran before it was passed on")
    elif decision == "allow":
        row.check(code in FAILED, f"{name}: allowed and not run, though {turn['state']} {code}")
    if ran[1]:
        row.check(case.end == "change", f"{name}: another command ran")
    if ran[0] and case.end in {"change", "deny", "deny_interrupt", "expire", "interrupt"}:
        row.check(False, f"{name}: it ran")
    row.check(turn["state"] == "succeeded" or code in FAILED, f"{name}: {turn['state']} {code}")
    row.saw(str(decision or code))
    row.did()


def _audit(client: Client, case: Case) -> dict[str, Any]:
    if not case.approval:
        return {}
    query = {"state": "resolved", "turn": case.turn}
    found = client.get("/approvals", params=query).json()["approvals"]
    return next((each for each in found if each["id"] == case.approval), {})


def _judge_audit(server: Gunicorn, row: Row) -> None:
    with closing(Client(server.url)) as client:
        left = client.get("/approvals").json()["approvals"]
    row.check(left == [], f"still pending: {left[:3]}")
