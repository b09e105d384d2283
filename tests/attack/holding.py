"""Tries to make a server hold more than its budgets say, by moves that chance puts in order."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from socket import SO_RCVBUF, SOL_SOCKET, socket
from typing import Any

import requests

from tests.attack.environment import CANARIES, Ground, Row, detail_of
from tests.serving import Client, Gunicorn, free_port, wait_for

MIB = 2**20
# More than a kernel takes of a reply that nobody reads.
BODY = 8 * MIB
WAITING = TRANSFER = 16 * MIB
OUTBOX = 8 * MIB
TURNS = 60
OPEN = 100
AT_ONCE = 8
# What is stated in SECURITY.md: each budget (that of questions twice), what one of `OPEN`
# connections may hold uncounted (a small body or reply and as much again of its head), and as much
# again for the allocator and for what is copied from one place to the next.
FIGURE = (2 * WAITING + 2 * TRANSFER + OUTBOX + OPEN * 2 * 64 * 1024) * 2
# Of that so much may stay with the allocator when everybody has gone.
REST = FIGURE // 2
REFUSED = {"at_capacity", "queue_full", "payload_too_large", "project_busy"}
LIMITS = {
    "COWORK_MAX_BODY": str(BODY),
    "COWORK_WAITING_TURNS": str(TURNS),
    "COWORK_WAITING_BYTES": str(WAITING),
    "COWORK_TRANSFER_BYTES": str(TRANSFER),
    "COWORK_OUTBOX_BYTES": str(OUTBOX),
    "COWORK_MAX_PROCESSES": "8",
    "COWORK_SPARE_PROCESSES": "0",
    "COWORK_FIRST_EVENT_WAIT": "0",
    "COWORK_QUEUE_TIMEOUT": "600",
    "COWORK_DISCONNECT_GRACE": "0",
    "COWORK_READ_TIMEOUT": "60",
    "COWORK_LOG_LEVEL": "warning",
}
KEYS = ["a key", "another's key", "a key of the file"]


class Holder:
    """Plays moves against one server and keeps open what they opened."""

    def __init__(self, ground: Ground, server: Gunicorn, row: Row) -> None:
        self._server = server
        self._row = row
        self._lines: list[socket] = []
        self._lock = threading.Lock()
        self._large = ""
        self.refused = 0
        self._seed = ground.dice("hold").random()
        self.moves: list[Callable[[Client, random.Random], None]] = [
            self.unfinished,
            self.waiting,
            self.failed,
            self.unread,
            self.labels,
            self.keys,
            self.outbox,
        ]

    def prepare(self) -> None:
        """An answer that is worth not reading."""
        caller = self.client("a key")
        reply = caller.ask("x" * (BODY - 1000), "large")
        assert reply.status_code == 200, reply.text[:300]
        self._large = reply.json()["turn_id"]
        caller.close()

    def client(self, what: str) -> Client:
        return Client(self._server.url, CANARIES[what])

    def move(self, number: int) -> None:
        """The move of that number, the same for the same seed."""
        dice = random.Random(f"{self._seed} {number}")  # noqa: S311 - attacks, not secrets
        caller = self.client(dice.choice(KEYS))
        try:
            dice.choice(self.moves)(caller, dice)
        except requests.ConnectionError:
            self.refused += 1  # cut while it was still sending
        finally:
            caller.close()

    def unfinished(self, caller: Client, dice: random.Random) -> None:
        """A body that does not end."""
        self._open(
            caller, "POST /ask_question", b'{"question":"' + b"x" * dice.randrange(BODY), BODY
        )

    def waiting(self, caller: Client, dice: random.Random) -> None:
        """A question that waits, or whose answer does not end."""
        text = "[[words 1]] [[stall]] " + dice.choice("xé日🎉") * dice.randrange(BODY // 4)
        asked: dict[str, Any] = {"project_name": f"p{dice.randrange(60)}", "question": text}
        asked["timeout"] = dice.choice([1, 5])
        body = json.dumps(asked, ensure_ascii=False).encode()
        self._open(caller, "POST /ask_question_streaming", body, len(body))

    def failed(self, caller: Client, dice: random.Random) -> None:
        """A large question that fails."""
        said = "[[words 1]] [[die]] " + "x" * dice.randrange(BODY // 2)
        self._told(caller.ask(said, f"f{dice.randrange(4)}", on_busy="reject", timeout=0.5))

    def unread(self, caller: Client, dice: random.Random) -> None:
        """A large reply that nobody reads."""
        caller.http.headers["Authorization"] = f"Bearer {CANARIES['a key']}"
        for _ in range(dice.randrange(1, 5)):
            self._open(caller, f"GET /turns/{self._large}", b"", 0)

    def labels(self, caller: Client, dice: random.Random) -> None:
        """Whatever is not the question, as large as it may be."""
        name = dice.choice(["user_id", "message_type", "agent_type", "system_prompt", "x"])
        self._told(caller.ask("", f"l{dice.randrange(4)}", **{name: "u" * dice.randrange(BODY)}))

    def keys(self, caller: Client, dice: random.Random) -> None:
        """Many keys of idempotency."""
        body = {"project_name": "keys", "question": "[[words 1]]", "on_busy": "reject"}
        for _ in range(4):
            key = f"{dice.random()}".ljust(255, "k")
            headers = {"Idempotency-Key": key}
            self._told(caller.post("/ask_question", {**body, "timeout": 0.5}, headers=headers))

    def outbox(self, caller: Client, dice: random.Random) -> None:
        """Chat messages that nobody takes."""
        said = "[[words 1]] " + "x" * dice.randrange(BODY // 2)
        self._told(caller.ask(said, f"o{dice.randrange(4)}", on_busy="reject", timeout=0.5))

    def _told(self, reply: requests.Response) -> None:
        known = reply.status_code in {200, 422, 502, 504} or detail_of(reply) in REFUSED
        self.refused += reply.status_code in {413, 429, 503}
        self._row.check(known, f"{reply.status_code} {reply.text}")

    def _open(self, caller: Client, what: str, said: bytes, length: int) -> None:
        """A connection that sends this and reads nothing; the oldest goes for it."""
        line = socket()
        line.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        line.settimeout(20)
        head = (
            f"{what} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: {caller.http.headers['Authorization']!s}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        )
        with self._lock:
            self._lines.append(line)
            gone = self._lines.pop(0) if len(self._lines) > OPEN else None
        if gone is not None:
            gone.close()
        with suppress(OSError):  # refused while it sends
            line.connect(("127.0.0.1", self._server.port))
            line.sendall(head.encode() + said)
        self._row.check(True, "")

    def close(self) -> None:
        for line in self._lines:
            line.close()


def hold(ground: Ground, count: int) -> Row:
    """`count` moves; what the worker holds stays within `FIGURE`, and falls back afterwards."""
    row = Row("hold")
    dead = f"http://127.0.0.1:{free_port()}"
    server = ground.beside(**LIMITS, CHAT_API_BASE_URL=dead)
    holder = Holder(ground, server, row)
    try:
        holder.prepare()
        (worker,) = server.workers()
        before, files = _rss(worker), _files(worker)
        stop, seen = threading.Event(), [before]
        with ThreadPoolExecutor(AT_ONCE + 1) as pool:
            looks = pool.submit(_look, server, worker, stop, seen, row)
            try:
                for done in [pool.submit(holder.move, number) for number in range(count)]:
                    done.result()
            finally:
                stop.set()
            looks.result()
        holder.close()
        _is_served_again(holder, row)
        wait_for(lambda: _files(worker) <= files + 10, 30, "the descriptors' end")
        wait_for(lambda: _rss(worker) - before < REST, 30, "the memory's return")
        row.check(max(seen) - before <= FIGURE, f"held {(max(seen) - before) / MIB:.0f} MiB")
        row.facts = {
            "figure_mib": FIGURE // MIB,
            "held_mib": (max(seen) - before) // MIB,
            "left_mib": (_rss(worker) - before) // MIB,
            "refused": holder.refused,
        }
    finally:
        holder.close()
        server.close()
    return row


def _look(server: Gunicorn, worker: int, stop: threading.Event, seen: list[int], row: Row) -> None:
    caller = Client(server.url)
    while not stop.wait(0.05):
        seen.append(_rss(worker))
        reply = caller.get("/health/live")
        row.check(reply.status_code == 200, f"/health/live: {reply.status_code}")
    caller.close()


def _is_served_again(holder: Holder, row: Row) -> None:
    for what in KEYS:
        with_key = holder.client(what)

        def idle(caller: Client = with_key) -> bool:
            return bool(caller.get("/health").json()["turns"] == 0)

        wait_for(idle, 60, "the turns' end")
        reply = with_key.ask("[[words 1]] " + "x" * (BODY - 1000), "again")
        row.check(reply.status_code == 200, f"afterwards: {reply.status_code} {reply.text}")
        for project in with_key.get("/sessions").json()["sessions"]:
            with_key.delete(f"/sessions/{project}")
        with_key.close()


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def _files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
