"""The wheel, installed in an environment of its own, without the checkout in sight."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.patience import PATIENCE_S
from tests.serving import ROOT, free_port

pytestmark = pytest.mark.e2e
BUILD_S = 100
# What a build reads of a checkout.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "requirements.in", "requirements-cli.in")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        (source / name).write_bytes((ROOT / name).read_bytes())
    files = (file for file in (ROOT / "cowork").rglob("*") if file.is_file())
    for file in (file for file in files if file.suffix != ".pyc"):
        copy = source / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run(
        [*pip, "--no-deps", "--wheel-dir", str(folder), str(source)], check=True, timeout=BUILD_S
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment that has the wheel and what it depends on.

    The dependencies are this environment's own, seen through a `.pth`: what is tested is that the
    package finds all of itself.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--python", folder, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
        timeout=BUILD_S,
    )
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def run(installed: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "xo-cowork"), *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=installed,
        env={"PATH": os.defpath, **environ},
        timeout=PATIENCE_S,
    )


def test_it_holds_the_package_alone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert sorted(tops) == ["cowork", wheel.name.rpartition("-py3")[0] + ".dist-info"]
    ours = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "cowork").rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert {name for name in names if name.startswith("cowork/")} == ours
    assert "cowork/demo/model.py" in ours
    assert "cowork/server/gunicorn_conf.py" in ours


def test_its_version_is_the_packages(wheel: Path, installed: Path) -> None:
    (version,) = re.findall('__version__ = "(.*)"', (ROOT / "cowork" / "__init__.py").read_text())
    assert wheel.name.startswith(f"xo_cowork_api-{version}-")
    assert run(installed, "--version").stdout == f"xo-cowork {version}\n"


def test_fault_n4_the_command_says_what_it_can_do(installed: Path) -> None:
    said = run(installed, "--help").stdout
    assert all(word in said for word in ("serve", "demo", "key"))
    wrong = run(installed, "nonsense")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "invalid choice: 'nonsense'" in wrong.stderr


def test_a_key_is_a_line_of_a_file_of_keys(installed: Path) -> None:
    first, second = run(installed, "key", "web").stdout, run(installed, "key", "web").stdout
    assert re.fullmatch(r"web=[\w-]{43}\n", first)
    assert first != second
    assert run(installed, "key", "a=b").returncode == 2


def test_without_a_cli_the_demo_says_the_command_that_brings_it(installed: Path) -> None:
    # A name that is nowhere: the tests' own environment has the wheel of the CLI.
    said = run(installed, "demo", CLAUDE_CLI_PATH="/nowhere/claude")
    assert said.returncode == 1
    assert said.stdout.endswith("-m pip install claude-agent-sdk\n")


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an installed server, which runs in a folder with a `.env`."""
    port = free_port()
    (tmp_path / ".env").write_text(f"PORT={port}\nCLAUDE_CLI_PATH=/nowhere/claude\n")
    environ = {"PATH": os.defpath, "HOME": str(tmp_path), "HOST": "127.0.0.1"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(installed / "xo-cowork"), "serve"],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
    while True:
        try:
            requests.get(f"{url}/health/live", timeout=5)
            break
        except requests.ConnectionError:
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield url
    server.send_signal(signal.SIGINT)
    assert server.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()


def test_fault_n4_it_serves_from_another_folder_and_says_that_there_is_no_cli(served: str) -> None:
    assert requests.get(f"{served}/health/live", timeout=5).json() == {"status": "live"}
    ready = requests.get(f"{served}/health/ready", timeout=5)
    assert ready.status_code == 503
    assert "pip install claude-agent-sdk" in ready.json()["reasons"][0]
    assert requests.get(f"{served}/openapi.json", timeout=20).status_code == 200
