"""Fixtures of the whole suite: the server over a fake CLI, real gunicorn, and the leak detector."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from cowork.claude import orphans
from cowork.settings import settings
from tests import canaries, fake_claude, patched, processes, program
from tests.background import BackgroundCalls
from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.redis_server import RedisServer, redis_binary
from tests.serving import Client, Gunicorn, Served, free_port
from tests.upstream import Upstream

# What ends later than this has been left behind, however it ends.
LEAK_WAIT_S = 5.0
# A test that uses one of these runs the product's pool in this process, so that what it leaves
# behind may have been detached from us: all of the machine is searched for our marker after it.
# What any other test detached is found at the end of its module.
STARTERS = {"serve", "new_cli", "new_pool", "start", "detach"}
# Each application that a test makes is some ten thousand objects: with Python's own thresholds, and
# pytest's heap looked through each time, a fifth of a test's CPU would go for garbage.
GC_THRESHOLDS = (50_000, 10, 10)
SPARED_DESCRIPTORS = 8


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, a thread or a file descriptor behind."""
    before = _threads(), _descriptors()
    yield
    marked = not STARTERS.isdisjoint(request.fixturenames)
    nothing_left(request.node.name, lambda: _left(*before) + (_marked() if marked else []))


@pytest.fixture(scope="module", autouse=True)
def nothing_marked_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module of which one has left a detached process behind."""
    yield
    nothing_left(request.node.name, _marked)


def nothing_left(name: str, left: Callable[[], list[str]]) -> None:
    """Fail unless `left` is empty soon."""
    deadline = time.monotonic() + LEAK_WAIT_S
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(0.02)
    if found:
        pytest.fail(f"{name} left behind: {'; '.join(found)}", pytrace=False)


def _marked() -> list[str]:
    # Not by our pid alone: it may have been another's, whose processes are none of our business.
    ours = orphans.marker("")
    return [f"process {pid}" for pid, marker in orphans._marked() if marker.startswith(ours)]


def _left(threads: set[threading.Thread], descriptors: int) -> list[str]:
    left = [f"child {pid}" for pid in processes.children(os.getpid())]
    left += [f"thread {thread.name}" for thread in _threads() - threads]
    # gevent's threadpool and DNS resolver keep a few for good; a leak is one a request.
    if _descriptors() > descriptors + SPARED_DESCRIPTORS:
        gc.collect()  # a reply that nobody reads is no leak
        if (more := _descriptors() - descriptors) > SPARED_DESCRIPTORS:
            left.append(f"{more} file descriptors")
    return left


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.is_alive()}


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory of numbers


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the whole suite, patched by gevent, run only what is another thing then."""
    # What somebody names is run.
    if patched.is_patched() and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        left_out = [item for item in items if not patched.is_another_thing(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if patched.is_another_thing(item)]


def pytest_collection_finish() -> None:
    """What is loaded by now stays: it is not looked through for garbage again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose servers have told a secret, in what they answered or printed."""
    report = yield
    if call.when == "teardown" and report.passed:
        for name, text in report.sections:
            canaries.search(name, text)
        if told := canaries.found():
            report.outcome = "failed"
            report.longrepr = f"{item.name} let secrets out:\n" + "\n".join(told)
    return report


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A private HOME."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user of the machine can get to, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="cowork-", ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def fake_environ(tmp_path: Path, home: Path) -> dict[str, str]:
    """An environment in which the CLI is the fake one; no upstream, nothing of the machine's."""
    binary = fake_claude.install(tmp_path / "bin")
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "CLAUDE_CLI_PATH": str(binary),
        "CHAT_API_BASE_URL": "",
        "COWORK_WORKSPACE": str(tmp_path / "workspace"),
        "COWORK_STORE_KEY_FILE": str(tmp_path / "store.key"),
        # Tests count processes; those about spares ask for them.
        "COWORK_SPARE_PROCESSES": "0",
        "COWORK_CLI_ENV": "FAKE_CLAUDE_CONFIG,FAKE_CLAUDE_LIFELINE",
        "COWORK_LOG_LEVEL": "warning",
    }


@pytest.fixture
def serve(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start the application in this process over the fake CLI; keyword arguments are settings.

    `serve(CLAUDE_TIMEOUT="1")` gives a `Served`, which is closed after the test.
    """
    begun: list[Served] = []

    def start(**environ: str) -> Served:
        full = {**fake_environ, **environ}
        loaded = settings.load(full, dotenv=tmp_path / "no.env")
        begun.append(Served(loaded, full))
        return begun[-1]

    yield start
    for served in begun:
        served.close()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """The application over the fake CLI with default settings."""
    return serve()


@pytest.fixture
def gunicorn(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    """Start the real server; keyword arguments are environment variables.

    The CLI is the fake one unless `CLAUDE_CLI_PATH` says otherwise.
    """
    begun: list[Gunicorn] = []

    def start(**environ: str) -> Gunicorn:
        full = {**fake_environ, "HOST": "127.0.0.1", "PORT": str(free_port()), **environ}
        begun.append(Gunicorn(full, log=tmp_path / f"gunicorn-{len(begun)}.log"))
        return begun[-1]

    yield start
    for server in begun:
        server.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A Chat API that takes every message."""
    with Upstream() as running:
        yield running


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


@pytest.fixture
def logged(serve: Callable[..., Served], fakes: Fakes) -> Served:
    """The application with default settings, its fakes keeping a log."""
    return serve(**fakes.settings())


@pytest.fixture
def background() -> Iterator[BackgroundCalls]:
    """Run a call beside the test: `background(served.ask, "hi")` is a future.

    Named after the server it asks, so that it ends before that server does.
    """
    calls = BackgroundCalls()
    yield calls
    calls.close()


@pytest.fixture
def lifelines(tmp_path: Path) -> Iterator[Lifelines]:
    """Counts the fakes and their tools that are alive."""
    with Lifelines(tmp_path) as lines:
        yield lines


@pytest.fixture
def another() -> Iterator[Callable[[Client], Client]]:
    """Another client of the same server: a connection of its own, and perhaps another key."""
    begun: list[Client] = []

    def connect(to: Client, key: str | None = None) -> Client:
        begun.append(Client(to.url, key))
        return begun[-1]

    yield connect
    for client in begun:
        client.close()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis; absent, the test is skipped at home and fails in CI."""
    if redis_binary() is None:
        missing("redis-server", "apt-get install redis-server")
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def real_claude() -> str:
    """The path of the real CLI; absent, the test is skipped at home and fails in CI.

    It is the wheel's, unless CLAUDE_CLI_PATH names another one to be tried.
    """
    found = program.real_claude()
    if found is None:
        missing("the claude CLI", "make install-cli")
    return str(found)


def missing(tool: str, how: str) -> None:
    """A tool is not there: skip with the line that installs it, or fail where CI runs."""
    sentence = f"{tool} is missing; install it with: {how}"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)
