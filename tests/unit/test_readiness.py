"""What keeps a question from being answered is named, each part's own reason by itself."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from cowork.claude.installation import CliState
from cowork.claude.pool.slot import PoolCounts
from cowork.readiness import Readiness


def pool(busy=0, start_problem=None, spares_problem=None):
    spares = SimpleNamespace(problem=spares_problem)
    counts = PoolCounts(busy=busy, idle=0, spare=0, starting=0, limit=1)
    return SimpleNamespace(counts=lambda: counts, start_problem=start_problem, spares=spares)


def reasons(**changed):
    parts = {
        "cli": SimpleNamespace(state=lambda: CliState(path="/bin/claude")),
        "pool": pool(),
        "maintenance": SimpleNamespace(ok=True),
        "outbox": SimpleNamespace(reasons=list),
        "disk_space": SimpleNamespace(reasons=list),
        "workspace": "/",
        "stopping": threading.Event(),
        "launch_problem": None,
    }
    return Readiness(**{**parts, **changed}).reasons()


def test_all_that_keeps_a_question_from_its_answer_is_named():
    stopping = threading.Event()
    stopping.set()
    assert reasons() == []
    assert reasons(stopping=stopping) == ["the server is shutting down"]
    assert reasons(pool=pool(busy=1)) == ["every Claude process is busy"]
    assert reasons(launch_problem="root may not") == ["root may not"]
    assert reasons(disk_space=SimpleNamespace(reasons=lambda: ["no room"])) == ["no room"]
    gone = "/no/such/place"
    assert reasons(workspace=gone) == ["workspace unavailable: /no/such/place"]


def test_fault_n5_what_is_not_known_of_the_cli_keeps_a_question():
    unknown = SimpleNamespace(state=CliState)
    assert reasons(cli=unknown) == ["the Claude CLI is still being looked at"]


def test_while_the_store_is_unavailable_the_outbox_is_not_asked():
    late = SimpleNamespace(reasons=lambda: ["late"])
    assert reasons(outbox=late) == ["late"]
    unavailable = SimpleNamespace(ok=False)
    assert reasons(maintenance=unavailable) == ["store unavailable"]
    assert reasons(outbox=late, maintenance=unavailable) == ["store unavailable"]


def test_a_start_that_fails_is_told_unless_the_cli_says_why():
    assert reasons(pool=pool(start_problem="it died")) == ["it died"]
    assert reasons(pool=pool(spares_problem="it died")) == ["it died"]
    broken = SimpleNamespace(state=lambda: CliState(problem="no login"))
    assert reasons(pool=pool(start_problem="it died"), cli=broken) == ["no login"]
    found = reasons(pool=pool(start_problem="it died"), launch_problem="root may not")
    assert found == ["root may not"]
