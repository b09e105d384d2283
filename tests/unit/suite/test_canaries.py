"""The search for secrets in what the suite's servers say finds them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cowork import log
from tests import canaries


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setattr(log, "_secrets", ())
    monkeypatch.setattr(canaries, "_told", set())
    log.register_secret("a-secret-nobody-may-see")
    yield "a-secret-nobody-may-see"
    canaries.found()


@pytest.mark.parametrize("said", ["x {} y", b"data: {}"])
def test_a_secret_is_found_and_not_repeated(secret, said):
    text = said.format(secret) if isinstance(said, str) else said.replace(b"{}", secret.encode())
    canaries.search("a reply", text)
    (told,) = canaries.found()
    assert told.startswith("a reply: ")
    assert secret not in told
    assert canaries.found() == []


def test_what_a_server_of_its_own_process_is_given_is_searched_for(secret):
    key = "k" * 32
    canaries.learn({"COWORK_API_KEYS": f"me={key}", "CHAT_API_TOKEN": "another-secret-value"})
    canaries.search("a log", f"{key} another-secret-value {secret}")
    assert len(canaries.found()) == 3


def test_nothing_is_found_in_what_holds_none(secret):
    canaries.search("a reply", secret[:-1])
    assert canaries.found() == []


def test_a_secret_on_a_command_line_is_found(secret):
    argv = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", secret]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        canaries.search_processes()
        child.communicate()
    assert any(told.startswith("a command line: ") for told in canaries.found())


def test_a_test_whose_server_prints_a_secret_fails(tmp_path, pytestconfig):
    (tmp_path / "test_leak.py").write_text(
        "from cowork import log\n"
        "def test_leak():\n"
        "    log.register_secret('a-secret-nobody-may-see')\n"
        "    print('a-secret-nobody-may-see')\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "tests.conftest",
            str(tmp_path),
            "--rootdir",
            str(tmp_path),
            "-p",
            "no:cacheprovider",
        ],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "let secrets out" in done.stdout
