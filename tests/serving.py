"""The server under test: in this process (`Served`), or as real gunicorn (`Gunicorn`)."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3
from werkzeug.serving import WSGIRequestHandler, make_server

from cowork.app import create_app
from cowork.composition import open_services
from cowork.settings.settings import Settings
from tests import canaries, processes
from tests.patience import PATIENCE_S, SOON_S

ROOT = Path(__file__).resolve().parent.parent
# Hides from a server what its machine would not have in production.
ABSENT = ROOT / "tests" / "absent"
TIMEOUT_S = 60.0
_BLOCK = 1 << 16
# Below those that the system gives away (`ip_local_port_range`).
PORTS = (10_000, 32_000)
# A look may take some milliseconds of the CPU, which is the server's that it waits for.
LONGEST_PAUSE_S = 0.05
# Of its own: the suite seeds `random` anew for each test, in each part alike.
_DICE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event: its id and its data, parsed."""

    id: str | None
    data: dict[str, Any]


def frames(reply: requests.Response) -> Iterator[Frame]:
    """The frames of a stream, as they come; comments are skipped."""
    found: dict[str, str] = {}
    # One reader for a reply, whoever asks: it has read ahead.
    reader = vars(reply).setdefault("_lines", _lines(reply.raw))
    for line in reader:
        text = line.decode()
        canaries.search("a frame", text)
        if not text:
            if "data" in found:
                yield Frame(found.get("id"), json.loads(found["data"]))
            found = {}
        elif not text.startswith(":"):
            name, _, value = text.partition(": ")
            found[name] = value


def _lines(raw: Any) -> Iterator[bytes]:
    """As `iter_lines(chunk_size=1)`, by what has come and not byte by byte, which costs ten times."""
    rest = b""
    try:
        while block := raw.read1(_BLOCK):
            lines = (rest + block).splitlines(keepends=True)
            rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
            yield from (line.rstrip(b"\r\n") for line in lines)
    except urllib3.exceptions.ProtocolError as fault:
        raise requests.exceptions.ChunkedEncodingError(fault) from fault
    except urllib3.exceptions.ReadTimeoutError as fault:
        raise requests.exceptions.ConnectionError(fault) from fault
    raw.release_conn()  # which it does by itself only where all is read in one go
    if rest:
        yield rest


def joined(seen: list[Frame]) -> str:
    """The text of a stream's tokens."""
    return "".join(frame.data["token"] for frame in seen if frame.data.get("type") == "token")


def _search(reply: requests.Response, *_args: Any, stream: bool = False, **_kwargs: Any) -> None:
    canaries.search("a reply's headers", str(reply.headers))
    if not stream:
        canaries.search("a reply", reply.content)


class Client:
    """Talks to a server at `url` as its users do."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.hooks["response"].append(_search)
        if key is not None:
            self.http.headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.http.get(self.url + path, timeout=TIMEOUT_S, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        return self.http.post(self.url + path, json=body, timeout=TIMEOUT_S, **kwargs)

    def delete(self, path: str) -> requests.Response:
        return self.http.delete(self.url + path, timeout=TIMEOUT_S)

    def ask(self, question: str, project: str = "p", **body: Any) -> requests.Response:
        """`POST /ask_question`."""
        return self.post("/ask_question", {"project_name": project, "question": question, **body})

    def stream(self, question: str, project: str = "p", **body: Any) -> requests.Response:
        """`POST /ask_question_streaming` by a client of server-sent events, not read yet."""
        asked = {"project_name": project, "question": question, **body}
        headers = {"Accept": "text/event-stream"}
        return self.post("/ask_question_streaming", asked, headers=headers, stream=True)

    def streamed(self, question: str, project: str = "p", **body: Any) -> list[Frame]:
        """All frames of a streamed answer."""
        with self.stream(question, project, **body) as reply:
            assert reply.status_code == 200, reply.text
            return list(frames(reply))

    def close(self) -> None:
        self.http.close()


class _Handler(WSGIRequestHandler):
    """Without werkzeug's access log: it has query strings, and is not what is served with."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


class Served(Client):
    """The application served by a thread of this process; `services` are within reach."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.services = open_services(settings, environ).start()
        self.app = create_app(self.services)
        self._server = make_server(
            "127.0.0.1", 0, self.app, threaded=True, request_handler=_Handler
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()
        super().__init__(f"http://127.0.0.1:{self._server.server_port}")

    def close(self) -> None:
        super().close()
        self.services.close()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


class Gunicorn(Client):
    """Real gunicorn with gunicorn_conf.py and the gevent worker, as `make run` starts it."""

    # What the server is started by.
    prefix: tuple[str, ...] = ()

    def __init__(
        self, environ: Mapping[str, str], *, log: Path, config: Path | None = None
    ) -> None:
        """`config` takes the place of gunicorn_conf.py."""
        self.log = log
        self.environ = dict(environ)
        self.port = int(environ["PORT"])
        # A directory of its own, so that no `.env` of the checkout is read.
        folder = log.parent / f"{log.stem}-cwd"
        folder.mkdir(exist_ok=True)
        with log.open("ab") as sink:
            self.child = subprocess.Popen(
                [
                    *self.prefix,
                    sys.executable,
                    "-m",
                    "cowork",
                    *([] if config is None else ["-c", str(config)]),
                ],
                cwd=folder,
                env={**environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ABSENT}"},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        super().__init__(f"http://127.0.0.1:{self.port}")
        canaries.learn(self.environ)
        self.wait_live()

    def wait_live(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.child.poll() is None, f"gunicorn ended:\n{self.log.read_text()}"
            try:
                if self.get("/health/live").status_code == 200:
                    return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError(f"gunicorn does not answer:\n{self.log.read_text()}")

    @property
    def master(self) -> int:
        """The pid of gunicorn's master."""
        return self.child.pid

    def workers(self) -> list[int]:
        """The pids of the workers."""
        return processes.children(self.master)

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.master, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 40.0) -> float:
        """Send a signal and wait for the end; the seconds it took."""
        begun = time.monotonic()
        self.send_signal(number)
        self.child.wait(timeout)
        return time.monotonic() - begun

    def close(self) -> None:
        super().close()
        canaries.search_processes()
        if self.child.poll() is None:
            try:
                self.stop(signal.SIGINT)  # no turn that goes on is waited for
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait(PATIENCE_S)
        canaries.search(self.log.name, self.log.read_bytes())


def free_port() -> int:
    """A port that nobody listens on now, and that the system gives to nobody who asks for any.

    The suite's parts run side by side: a port of the system's could be another part's server before
    it is ours, and a test would talk to that.
    """
    while True:
        port = _DICE.randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(condition: Any, timeout: float = SOON_S, what: str = "it") -> None:
    """Wait until `condition()` is true; fail after `timeout` seconds."""
    deadline, pause = time.monotonic() + timeout, 0.01
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout:g} s"
        time.sleep(pause)
        pause = min(1.2 * pause, LONGEST_PAUSE_S)
