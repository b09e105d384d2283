"""Whatever part breaks at whatever call, each turn ends, its readers know it, its queue goes on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import structlog

from cowork.errors import CoworkError, TurnInterrupted
from cowork.events import Done
from cowork.model import Project
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.turns.broken_parts import P, Reader, Server, breaks, ended

# Each is called at least twice while three questions are answered.
CALLS = (
    *("store.session", "store.put_session", "store.put_turn", "store.find_by_idempotency_key"),
    *("store.start_turn", "store.end_turn"),
    *("pool.lease", "pool.give_back", "pool.discard", "pool.saw_skills"),
    *("process.ask", "process.sweep"),
    *("cli.saw_login", "outbox.wake"),
    *("recorder.record_started", "recorder.record_ended", "recorder.flush"),
    *("runner.run", "runner.finish_cancelled"),
)
WAYS = (
    *breaks(*CALLS),
    # A store that raised has given no claim, a claim that was released is not held any more, and
    # a turn that the recorder has accepted is accepted.
    *(way for way in breaks("store.claim", "recorder.record_accepted") if not way[1].after),
    *(way for way in breaks("store.release") if way[1].after),
)


@pytest.fixture(scope="module", autouse=True)
def _no_log():
    """What breaks is logged with its frames, which takes longer than all the rest."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    yield
    structlog.configure(**before)


def _drop(*_said):
    raise structlog.DropEvent


@pytest.fixture(scope="module")
def begun():
    """A folder with an empty store, in memory where there is such a disk: 200 stores are begun."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder in it has a name of its own
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        Server(Path(folder, "begun")).close()
        yield Path(folder, "begun")


@pytest.fixture
def folder(begun):
    """One with an empty store of its own."""
    own = Path(tempfile.mkdtemp(dir=begun.parent))
    shutil.copytree(begun, own, dirs_exist_ok=True)
    yield own
    shutil.rmtree(own)


@pytest.fixture
def _short_timeouts(monkeypatch):
    monkeypatch.setattr("cowork.turns.running.result_wait.INTERRUPT_STEP_S", 0.03)
    monkeypatch.setattr("cowork.turns.interrupts.STOP_TIMEOUT_S", 0.3)
    monkeypatch.setattr("cowork.turns.stopping.STOP_TIMEOUT_S", 0.3)


def open_server(folder, part, told, **more):
    server = Server(folder, told, part, **more)
    # A process that is leased to nobody cannot be put away: whoever leases has to tell.
    leaks = told is not None and (told.method, told.after) in {("lease", True), ("discard", False)}
    return server, leaks


def is_kept(server, turn):
    found = server.store.turn(turn.project.owner, turn.id)
    return found is not None and found[0].ended is not None


@pytest.mark.parametrize(("part", "told"), WAYS, ids=str)
def test_fault_t1_whatever_breaks_a_turn_ends_and_its_queue_goes_on(part, told, folder):
    server, leaks = open_server(folder, part, told)
    try:
        asked = [server.ask(key) for key in ("one", "two", "three")]
        readers = [(turn, Reader(turn)) for turn in asked if turn is not None]
        for turn, reader in readers:
            ended(turn)
            reader.end()
            assert isinstance(reader.events[-1], Done)
            assert (turn.error is None) == turn.done.success
            assert turn.error is None or isinstance(turn.error, CoworkError)
        # On a busy machine the store's file may not answer within the second that it has.
        after = ended(server.ask("after") or server.ask("after"))
        assert after.error is None, after.error
        assert after.done.message == "hi"
        for key, turn in zip(("one", "two", "three"), asked, strict=True):
            again = ended(server.ask(key))
            assert turn is None or again is turn or turn.error is not None
        wait_for(lambda: not server.service.busy(), PATIENCE_S, "the end of the queue")
        assert leaks or not server.pool.leased
        assert server.store.claim(P) is not None
        assert server.quota.held_bytes == 0
    finally:
        server.close()


@pytest.mark.parametrize(
    ("part", "told"),
    [way for way in breaks(*CALLS) if way[1].fault == "plain" and way[1].method != "record_ended"],
    ids=str,
)
def test_the_store_learns_how_a_turn_ended_whatever_broke(part, told, folder):
    server, _ = open_server(folder, part, told)
    try:
        turns = [server.ask(key) for key in ("one", "two")]
        assert all(is_kept(server, ended(turn)) for turn in turns if turn is not None)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("part", "told"), tuple(breaks("process.interrupt", "pool.discard")), ids=str
)
@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.usefixtures("_short_timeouts")
def test_a_turn_whose_time_is_up_ends_whatever_breaks(part, told, deaf, folder):
    server, _ = open_server(
        folder, part, told, launch_config={"silent": True, "deaf": deaf}, timeout=0.05
    )
    try:
        turn = server.ask("one")
        assert ended(turn).error is not None
        assert ended(server.ask("two")).error.code == "claude_timeout"
    finally:
        server.close()


@pytest.mark.usefixtures("_short_timeouts")
def test_all_turns_are_stopped_though_the_stop_of_one_breaks(folder):
    server = Server(folder, launch_config={"silent": True})
    try:
        turns = [server.ask(name, Project("me", name)) for name in ("a", "b", "c")]
        wait_for(lambda: all(turn.text == "hi" for turn in turns), what="three answers")
        turns[0].on_stop(explode)
        server.service.stop_all(TurnInterrupted("stop"))
        assert all(ended(turn).error.code == "turn_interrupted" for turn in turns[1:])
        # The one that was not told has its own time limit.
        turns[0].on_stop(turns[0].wake)
        server.pool.finish_all()
        ended(turns[0])
    finally:
        server.close()


def explode():
    raise RuntimeError("told to break")
