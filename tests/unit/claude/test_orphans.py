"""What our processes leave behind is found by the marker in its environment, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cowork.claude import orphans
from cowork.claude.command import MARKER
from tests.processes import is_alive as alive
from tests.serving import wait_for

Detach = Callable[[str], int]


def is_sleeping(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    except OSError:
        return False


def wait_gone(pid: int) -> None:
    wait_for(lambda: not alive(pid), what=f"the end of {pid}")


def marker_of(server: int, started: int | None = None) -> str:
    """The marker of what another server has started."""
    began = orphans._started(server) if started is None else started
    return f"{server}:{began}:{orphans._namespace()}:one"


@pytest.fixture
def detach() -> Iterator[Detach]:
    """Leave a `setsid nohup sleep` behind that carries a marker; its pid."""
    begun: list[int] = []

    def start(marker: str) -> int:
        # Only the sleep is marked: whatever server starts on this machine may sweep it at once.
        marked = f"{MARKER}={marker}"
        command = f"setsid nohup env '{marked}' sleep 60 </dev/null >/dev/null 2>&1 & echo $!"
        environ = {"PATH": os.environ["PATH"], "ANOTHER": f"x{MARKER}=no"}
        said = subprocess.run(
            ["/bin/sh", "-c", command], env=environ, capture_output=True, check=True
        )
        begun.append(pid := int(said.stdout))
        # A process has no environment to read while it becomes another program.
        wait_for(lambda: is_sleeping(pid) or not alive(pid), what="the sleep")
        return pid

    yield start
    for pid in begun:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_gone(pid)


def test_a_detached_grandchild_is_found_by_its_marker(detach):
    pid = detach(orphans.marker("one"))
    assert orphans.find_marked(orphans.marker("one")) == [pid]
    assert os.getsid(pid) != os.getsid(0)


def test_a_swept_process_is_ended_and_named(detach):
    pid = detach(orphans.marker("one"))
    assert orphans.sweep(orphans.marker("one")) == [pid]
    wait_gone(pid)
    assert orphans.sweep(orphans.marker("one")) == []


def test_only_what_carries_exactly_the_marker_is_swept(detach):
    others = [detach(orphans.marker(name)) for name in ("on", "one2", "two")]
    assert orphans.find_marked(orphans.marker("one")) == []
    assert orphans.sweep(orphans.marker("one")) == []
    assert all(map(alive, others))


def test_what_is_spared_lives_on(detach):
    first, second = detach(orphans.marker("one")), detach(orphans.marker("one"))
    assert orphans.sweep(orphans.marker("one"), spare=lambda pid: pid == first) == [second]
    assert alive(first)


def test_all_that_a_server_started_is_found_by_its_pid(detach):
    pids = {detach(orphans.marker("one")), detach(orphans.marker("two"))}
    assert set(orphans.find_started_by(os.getpid())) == pids
    assert not pids & set(orphans.find_started_by(int(str(os.getpid())[:-1] or 0)))


def test_a_server_sweeps_all_of_its_own_and_nothing_else(detach):
    own = [detach(orphans.marker("one")), detach(orphans.marker("two"))]
    # Of a server that lives: a dead one's is anybody's to sweep, any other test run's too.
    another = detach(marker_of(1))
    assert sorted(orphans.sweep_own()) == sorted(own)
    assert alive(another)


def test_what_a_living_server_keeps_is_left_alone(detach):
    pid = detach(orphans.marker("one"))
    orphans.sweep_dead_servers()
    assert alive(pid)


def test_what_a_dead_server_left_is_ended(detach):
    server = subprocess.Popen(["/bin/sleep", "60"])
    owned = detach(marker_of(server.pid))
    orphans.sweep_dead_servers()
    assert alive(owned)
    server.kill()
    server.wait()
    orphans.sweep_dead_servers()
    wait_gone(owned)


def test_a_server_that_is_a_zombie_is_dead(detach):
    server = subprocess.Popen(["/bin/sleep", "60"])
    marker = marker_of(server.pid)
    owned = detach(marker)
    assert not orphans._orphaned(marker)
    server.kill()
    wait_gone(server.pid)  # but nobody has waited for it yet
    # Whatever server starts on this machine now sweeps it too, so the judgement is asked as well.
    assert orphans._orphaned(marker)
    orphans.sweep_dead_servers()
    wait_gone(owned)
    server.wait()


def test_another_process_with_the_pid_of_a_dead_server_protects_nothing(detach):
    pid = detach(marker_of(os.getpid(), started=1))
    orphans.sweep_dead_servers()
    wait_gone(pid)


def test_a_marker_names_this_server_and_when_it_started():
    pid, started, namespace, name = orphans.marker("one").split(":")
    assert (int(pid), name) == (os.getpid(), "one")
    assert int(started) > 0
    assert int(namespace) > 0


ODD = [
    "",
    ":",
    ":::",
    "x",
    "1",
    "1:1:x",
    "1:x:1:y",
    "x:1:1:y",
    "-1:0:1:x",
    "²:1:1:x",
    "1:1:²:x",
    "1:1:1:",
]


@pytest.mark.parametrize("marker", ODD)
def test_what_no_server_of_ours_can_have_marked_is_left_alone(marker, detach):
    pid = detach(marker)
    orphans.sweep_dead_servers()
    assert alive(pid)


def test_what_a_server_of_another_namespace_has_marked_is_left_alone(detach):
    pid = detach(f"{os.getpid()}:1:12345:one")
    orphans.sweep_dead_servers()
    assert alive(pid)


def test_a_pid_that_is_anothers_by_now_is_not_killed(detach):
    pid = detach(orphans.marker("new"))
    assert orphans._kill(pid, orphans.marker("old")) is False
    assert alive(pid)


def test_a_pid_that_is_nobodys_by_now_is_not_killed():
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert orphans._kill(child.pid, orphans.marker("old")) is False


def test_a_second_look_costs_no_descriptor(detach):
    pid = detach(orphans.marker("new"))
    before = descriptors()
    for _ in range(20):
        orphans._kill(pid, "another")
    wait_for(lambda: descriptors() == before, what="that all are closed")  # gevent closes late


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory of numbers


def test_a_program_with_spaces_and_brackets_in_its_name_has_a_start_time(tmp_path):
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "60"])
    try:
        wait_for(lambda: ") S 1 (" in Path(f"/proc/{child.pid}/comm").read_text(), what="exec")
        assert abs(orphans._started(child.pid) - orphans._started(os.getpid())) < 10**7
        assert orphans._started(child.pid) >= orphans._started(os.getpid()) > 0
    finally:
        child.kill()
        child.wait()


def test_the_unix_session_of_a_process_is_told_while_it_lives():
    child = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    try:
        assert orphans.session_of(child.pid) == child.pid
    finally:
        child.kill()
        child.wait()
    assert orphans.session_of(child.pid) is None
    assert orphans.session_of(os.getpid()) == os.getsid(0)
