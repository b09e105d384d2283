"""`xo-cowork demo` (`make demo`): the real server and the real CLI on the demo model.

Starts the model, then the server pointed at it with a HOME of its own, asks one question so that
tokens can be seen to arrive, and serves until Ctrl-C.  Everything lives in a temporary folder and
is gone afterwards; no account is needed and none is touched.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from cowork.claude.executable import CLI_WHEEL, bundled
from cowork.demo.model import serve
from cowork.runtime import address

# The wheel holds the CLI's binary.
NO_CLI = (
    f"the Claude CLI was not found; this installs it: {sys.executable} -m pip install {CLI_WHEEL}"
)
START_S = 60.0
STOP_S = 35.0
QUESTION = "Hello! Who are you, and what is 2+2?"
# What the machine has set for the real service must not reach the demo: accounts, keys, state.
SCRUBBED = (
    "ANTHROPIC_",
    "CHAT_API_",
    "CLAUDE_",
    "XO_",
    "COWORK_ADMIN_KEYS",
    "COWORK_API_KEYS",
    "COWORK_CLAUDE_USER",
    "COWORK_CLI_ENV",
    "COWORK_KEY",
    "COWORK_LOGIN_KEYS",
    "COWORK_STORE",
    "COWORK_WORKSPACE",
    "COWORK_XO_REFRESH_PATH",
    "AI_WORKSPACE_ROOT",
)
KEPT = ("CLAUDE_CLI_PATH", "CLAUDE_TIMEOUT", "CLAUDE_PERMISSION_MODE")


def main(checkout: Path | None = None) -> int:
    """Run the demo until Ctrl-C; the exit status.

    `checkout` is where the package is imported from, where it is not installed.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, _stop)
    if not _has_cli():
        print(NO_CLI)
        return 1
    try:
        port = address.checked_port(os.environ.get("PORT") or "5002")
        address.check_free("127.0.0.1", port)
    except ValueError as fault:
        print(fault)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="xo-cowork-demo-") as folder,
        serve() as model,
        _server(_environment(Path(folder), model.url, port, checkout)) as server,
        suppress(KeyboardInterrupt),
    ):
        if not _wait_live(server, port):
            return 1
        print(f"console       http://localhost:{port}/#/demo")
        print(f"server        http://localhost:{port}   (docs: http://localhost:{port}/docs)")
        print(f"demo model    {model.url}")
        _ask(port)
        _say_what_next(port, checkout)
        server.wait()
    return 0


def _has_cli() -> bool:
    named = os.environ.get("CLAUDE_CLI_PATH") or "claude"
    return shutil.which(named) is not None or (named == "claude" and bundled() is not None)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _server(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The server, ended with all that it started."""
    died_with_us = shutil.which("setpriv")
    wrapper = [died_with_us, "--pdeathsig", "TERM", "--"] if died_with_us else []
    server = subprocess.Popen(
        [*wrapper, sys.executable, "-m", "cowork", "serve"],
        cwd=environ["HOME"],
        env=environ,
        stdin=subprocess.DEVNULL,
        # Ctrl-C comes to us; we end the server before the model.
        start_new_session=True,
    )
    try:
        yield server
    finally:
        print("\nstopping ...")
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _environment(folder: Path, model_url: str, port: int, checkout: Path | None) -> dict[str, str]:
    home = folder / "home"
    home.mkdir()
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SCRUBBED) or name in KEPT
    }
    if checkout is not None:
        ours["PYTHONPATH"] = str(checkout)
    return {
        "COWORK_LOG_LEVEL": "warning",
        "COWORK_APPROVALS": "optional",
        "COWORK_CHECKPOINTS": "true",
        **ours,
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "COWORK_WORKSPACE": str(folder / "workspace"),
        "COWORK_DEMO": "true",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "CHAT_API_BASE_URL": "",
        "ANTHROPIC_BASE_URL": model_url,
        "ANTHROPIC_API_KEY": "demo-key-that-opens-nothing",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
    }


def _wait_live(server: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health/live")
            live = connection.getresponse().status == http.client.OK
            connection.close()
            # Somebody else's server on that port must not pass for ours.
            if live and server.poll() is None:
                return True
        time.sleep(0.1)
    print("the server did not start; what it said stands above")
    return False


def _ask(port: int) -> None:
    """Ask one question and print its tokens as they come."""
    print(f"\nasking        {QUESTION}\n")
    body = json.dumps({"project_name": "demo", "question": QUESTION})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/ask_question_streaming", body, headers)
    reply = connection.getresponse()
    if reply.status != http.client.OK:
        print(reply.read().decode())
    for line in reply if reply.status == http.client.OK else ():
        if line.startswith(b"data: "):
            print(json.loads(line[6:]).get("token", ""), end="", flush=True)
    connection.close()


def _say_what_next(port: int, checkout: Path | None) -> None:
    command = "xo-cowork" if checkout is None else f"{os.path.relpath(sys.executable)} -m cowork"
    print(f"""

open          http://localhost:{port}/#/demo
or            curl -N http://localhost:{port}/ask_question_streaming \\
                   -H "Content-Type: application/json" \\
                   -d '{{"project_name": "test", "question": "help"}}'
or            {command} chat --url http://localhost:{port}
or            http://localhost:{port}/docs
stop          Ctrl-C
""")
