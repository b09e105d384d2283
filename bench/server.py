"""The server as it runs in production: gunicorn, gunicorn_conf.py, one gevent worker."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from bench import proc
from cowork.claude import orphans

ROOT = Path(__file__).resolve().parent.parent
PROFILED = ROOT / "bench" / "profiled.py"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 40.0
REQUEST_TIMEOUT = 120.0


class Server:
    """A running server; `folder` holds all that it may write to, `log` what it said.

    Its environment has nothing of the machine's but PATH; keyword arguments are set besides.
    `profile` is a file for where its CPU time went.
    """

    def __init__(
        self, folder: Path, claude: Path | str, *, profile: Path | None = None, **environ: str
    ) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.port = _free_port()
        self._environ = {**_environment(folder, str(claude), self.port), **environ}
        self._arguments: list[str] = []
        if profile is not None:
            self._environ["PROFILE_OUT"] = str(profile.absolute())
            self._arguments = ["-c", str(PROFILED)]
        self._child: subprocess.Popen[bytes] | None = None
        self.worker = 0

    def __enter__(self) -> Self:
        for name in ("home", "cwd"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as sink:
            self._child = subprocess.Popen(
                proc.tied([sys.executable, "-m", "cowork", *self._arguments]),
                cwd=self.folder / "cwd",
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_how: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and all that it started."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        with suppress(OSError):
            self.worker = self.worker or next(iter(proc.children(child.pid)), 0)
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            print(f"warning: the server did not end in {STOP_TIMEOUT:g} s and was killed")
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(5.0)
        for pid in orphans.find_started_by(self.worker) if self.worker else ():
            print(f"warning: the server left process {pid} behind; it is killed")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request on a connection of its own: status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            sent = json.dumps(body) if body is not None else None
            connection.request(method, path, sent, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read() or b"null")
        finally:
            connection.close()

    def ask(self, project: str, question: str) -> dict[str, Any]:
        """A question's JSON answer; ends the run where there is none."""
        body = {"project_name": project, "question": question}
        status, reply = self.request("POST", "/ask_question", body)
        if status != http.client.OK:
            raise RuntimeError(f"the server answered {status}: {reply}")
        answer: dict[str, Any] = reply
        return answer

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._child is None or self._child.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.log.read_text()}")
            with suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/health/ready")[0] == http.client.OK:
                    (self.worker,) = proc.children(self._child.pid)
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the server is not ready:\n{self.log.read_text()}")


def _environment(folder: Path, claude: str, port: int) -> dict[str, str]:
    return {
        "HOME": str(folder / "home"),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "CLAUDE_CLI_PATH": claude,
        "CLAUDE_CONFIG_DIR": str(folder / "home" / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CHAT_API_BASE_URL": "",
        "COWORK_WORKSPACE": str(folder / "workspace"),
    }


def _free_port() -> int:
    """One that the system gives to nobody else meanwhile; see `tests/serving.py`."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
