"""The first hour: what a newcomer's first commands print, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from cowork.__main__ import main
from tests.e2e import test_curl
from tests.fakes import Fakes
from tests.serving import ROOT, Gunicorn, free_port, wait_for

KEY = "k" * 32
# Wrong settings, and the one line that each comes to.
WRONG = {
    "PORT=abc": "PORT: expected a whole number from 0 to 65535, got 'abc'",
    "PORT=70000": "PORT: expected a whole number from 0 to 65535, got '70000'",
    "HOST=nowhere.invalid": "HOST=nowhere.invalid, PORT=",
    "CLAUDE_TIMEOUT=soon": "CLAUDE_TIMEOUT: expected seconds from 0.1 to 86400, got 'soon'",
    "CHAT_API_BASE_URL=localhost:5001": "CHAT_API_BASE_URL: expected an http:// or https://",
    "CHAT_API_TOKEN=a b": "CHAT_API_TOKEN: expected printable ASCII without spaces",
    "XO_AUTH_START_PATH=start": "XO_AUTH_START_PATH: expected a path that begins with /",
    "COWORK_API_KEYS=secret": "COWORK_API_KEYS: expected name=key pairs",
    "COWORK_API_KEYS=me=short": "COWORK_API_KEYS: expected keys of at least 32 characters",
    "COWORK_API_KEYS_FILE=/nonexistent": "COWORK_API_KEYS_FILE: expected a file that can be read",
    "COWORK_ALLOWED_HOSTS=https://x": "COWORK_ALLOWED_HOSTS: expected names without scheme",
    "COWORK_ALLOWED_ORIGINS=*": "COWORK_ALLOWED_ORIGINS: expected scheme://name[:port]",
    "COWORK_TRUSTED_PROXIES=nginx": "COWORK_TRUSTED_PROXIES: expected addresses or networks",
    "COWORK_STORE=postgres://x": "COWORK_STORE: expected memory://, sqlite:///path",
    "COWORK_WORKSPACE=work": "COWORK_WORKSPACE: expected an absolute path",
    "COWORK_PERMISSION_MODE=yolo": "COWORK_PERMISSION_MODE: expected one of acceptEdits",
    "COWORK_PROJECT_DIRS=maybe": "COWORK_PROJECT_DIRS: expected true or false, got 'maybe'",
    "COWORK_CLAUDE_USER=nobody-here": "COWORK_CLAUDE_USER: ",
    "COWORK_MAX_BODY=1": "COWORK_MAX_BODY: expected a whole number from 1024",
    "COWORK_LOG_LEVEL=loud": "COWORK_LOG_LEVEL: expected one of debug",
    "COWORK_KEEPALIVE=0": "COWORK_KEEPALIVE: expected seconds from 0.05",
    "XO_API_KEY=short": "XO_API_KEY: expected keys of at least 32 characters",
    "WEB_CONCURRENCY=abc": "WEB_CONCURRENCY: expected a number of workers, got 'abc'",
    "WEB_CONCURRENCY=2": "COWORK_STORE=memory:// is for one worker: set COWORK_WORKERS=1",
}


# What gunicorn finds when it has read our configuration.
GUNICORNS_OWN = ["WEB_CONCURRENCY=2"]


def run(folder: Path, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """What the command prints that does not come to serve."""
    return subprocess.run(
        [sys.executable, "-m", "cowork", *words],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def environ(fake_environ: dict[str, str]) -> dict[str, str]:
    return {**fake_environ, "HOST": "127.0.0.1", "PORT": str(free_port())}


@pytest.mark.parametrize("wrong", sorted({*WRONG} - {*GUNICORNS_OWN}))
def test_fault_n6_a_wrong_setting_is_one_line(
    tmp_path: Path, environ: dict[str, str], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = wrong.partition("=")
    monkeypatch.setattr(os, "environ", {**environ, name: value})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    said = str(ended.value.code).removeprefix("invalid settings:\n").splitlines()
    assert len(said) == 1
    assert said[0].strip().startswith(WRONG[wrong])


@pytest.mark.parametrize("wrong", ["PORT=abc", "COWORK_STORE=postgres://x", *GUNICORNS_OWN])
def test_fault_n6_a_wrong_setting_ends_the_command_without_a_traceback(
    tmp_path: Path, environ: dict[str, str], wrong: str
) -> None:
    name, _, value = wrong.partition("=")
    done = run(tmp_path, {**environ, name: value})
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert done.returncode == 1, said
    first = next(line for line in said if line != "invalid settings:")
    assert first.startswith(WRONG[wrong])
    assert len(said) <= 2, said


@pytest.fixture
def taken() -> socket.socket:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        yield listener


@pytest.mark.parametrize("word", ["serve", "demo"])
def test_fault_n1_a_taken_port_is_one_line_and_nothing_is_asked(
    tmp_path: Path, environ: dict[str, str], taken: socket.socket, word: str
) -> None:
    port = taken.getsockname()[1]
    done = run(tmp_path, {**environ, "PORT": str(port)}, word)
    said = (done.stdout + done.stderr).splitlines()
    assert said == [
        f"port {port} is taken by another program: set PORT to a free one, e.g. PORT={port + 1}"
    ]
    assert done.returncode == 1
    taken.settimeout(0.0)
    with pytest.raises(BlockingIOError):
        taken.accept()


def test_fault_n1_a_port_that_is_none_is_one_line(tmp_path: Path, environ: dict[str, str]) -> None:
    done = run(tmp_path, {**environ, "PORT": "abc"}, "demo")
    said = (done.stdout + done.stderr).splitlines()
    assert said == ["PORT: expected a number from 1 to 65535, got 'abc'"]
    assert done.returncode == 1


def test_fault_n5_the_start_says_where_it_is_and_what_it_has(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = gunicorn(COWORK_LOG_LEVEL="info", COWORK_KEEPALVE="3")
    said = server.log.read_text
    wait_for(lambda: "claude login" in said(), what="what is known of the CLI")
    lines = [json.loads(line) for line in said().splitlines()]
    told = {line["event"]: line for line in lines}
    assert [*told].index("console") < [*told].index("server address")
    assert told["console"]["url"] == f"http://127.0.0.1:{server.port}/"
    assert told["server address"]["url"] == f"http://127.0.0.1:{server.port}"
    assert told["interactive docs"]["url"] == f"http://127.0.0.1:{server.port}/docs"
    assert told["store"]["kind"] == "memory"
    assert told["claude CLI"]["path"] == str(tmp_path / "bin" / "claude")
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["claude CLI"]["version"])
    assert told["claude login"]["method"]
    assert any("did you mean COWORK_KEEPALIVE?" in event for event in told)
    assert len(told) == len(lines), "each is said once"


def test_fault_n5_who_is_not_logged_in_is_told_the_cure_with_the_real_path(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, fakes: Fakes
) -> None:
    server = gunicorn(**fakes.settings(start="not_logged_in"), COWORK_LOG_LEVEL="info")
    said = server.log.read_text
    wait_for(lambda: "not logged in" in said(), what="what is known of the login")
    assert f"run `{tmp_path / 'bin' / 'claude'} /login`" in said()


@pytest.mark.parametrize("version", ["3.10", "{}.{}".format(*sys.version_info)])
def test_fault_n8_make_says_which_python_it_needs_and_leaves_nothing_of_an_older_one(
    version: str, tmp_path: Path
) -> None:
    """The first commands, of the real Makefile, in a folder with a blank in its name."""
    python = _python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    folder = tmp_path / "with a blank"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    done = subprocess.run(
        ["make", ".venv/bin/python", f"PYTHON={python}"],  # noqa: S607
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    if version == "3.10":
        assert done.returncode != 0
        assert said == [
            f"Python 3.11 or newer is needed, {python} is 3.10: PYTHON=python3.12 make ..."
        ]
        assert not (folder / ".venv").exists()
    else:
        assert (done.returncode, said) == (0, [])
        assert (folder / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_fault_n8_the_first_commands_serve_on_every_python(
    version: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """From what git has, with an empty HOME, in a folder with a blank: `make install`, and serve.

    Nor does it complain of its Python, as the test above has it of the suite's own.
    """
    python = _python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        pytest.skip("the whole suite runs on it")
    folder = tmp_path / "with a blank"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "cowork", "Makefile", "*.in", "*.txt", "*.py", "*.toml"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    made = subprocess.run(
        ["make", "install", f"PYTHON={python}"],  # noqa: S607
        cwd=folder,
        # The server compiles what it imports; pip would compile all that it installs.
        env={"PATH": os.environ["PATH"], "HOME": environ["HOME"], "PIP_NO_COMPILE": "1"},
        capture_output=True,
        check=True,
        timeout=100,
    )
    assert [line for line in made.stderr.splitlines() if not line.startswith(b"make: ")] == []
    port = environ["PORT"]
    with (
        (tmp_path / "log").open("wb") as sink,
        subprocess.Popen(
            [folder / ".venv" / "bin" / "python", "-m", "cowork"],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        ) as server,
    ):
        try:
            wait_for(lambda: _is_live(port) or server.poll() is not None, 60, "the server")
            body = {"project_name": "p", "question": "hi"}
            asked = requests.post(
                f"http://127.0.0.1:{port}/ask_question_streaming", json=body, timeout=30
            )
            assert asked.text.startswith('data: {"type": "token", "token": "You ')
            assert '"done": true' in asked.text
        finally:
            server.terminate()
            server.wait(30)


def _python(version: str) -> str | None:
    """An interpreter of that version: on PATH, or one of pyenv's."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [shutil.which(f"python{version}"), *map(str, kept.glob(f"{version}.*/bin/python3"))]
    for place in places:
        if place is None:
            continue
        asked = subprocess.run(
            [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and asked.stdout.strip() == version:
            return place
    return None


def test_fault_n7_the_founding_documents_lines_from_cp_to_curl(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Typed as they stand there, in a folder with a blank; the port and the CLI are others."""
    folder = tmp_path / "the old folder"
    folder.mkdir()
    for name in (".env.example", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    # As in the document's activated environment, in the checkout itself.
    bin_folder = Path(sys.executable).parent
    typed = {**environ, "PATH": f"{bin_folder}:{environ['PATH']}", "NO_PROXY": "*"}
    port = environ["PORT"]

    def shell(line: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", line.replace(":5002", f":{port}")],
            cwd=folder,
            env=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    shell("cp .env.example .env")
    shell("pip install -r requirements.txt")
    log = tmp_path / "server.log"
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            [sys.executable, str(ROOT / "server.py")],
            cwd=folder,
            env=typed,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        ) as server,
    ):
        try:
            wait_for(lambda: _is_live(port) or server.poll() is not None, 60, "the server")
            asked = json.loads(shell(test_curl.ASK))
            assert asked["message"] == "You said: Hello!"
            assert shell(test_curl.STREAM).startswith('data: {"type": "token", "token": "')
            assert json.loads(shell(test_curl.SESSIONS))["count"] == 1
            assert json.loads(shell(test_curl.CLEAR))["success"] is True
        finally:
            server.terminate()
            server.wait(30)
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert not [line for line in said if ".env" in line["event"]], "the example is all right"


def _is_live(port: str) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
