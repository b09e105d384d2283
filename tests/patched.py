"""What of the suite is run a second time, patched by gevent: all but what is named here.

A new test file is in both runs until it is listed here; `unit/test_patched.py` says what may be.
Whoever names files or folders on the command line gets all of them, patched too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gevent import monkey

HERE = Path(__file__).resolve().parent

# Folders and files whose subject is a program of its own, which is the same whoever starts it.
PROGRAMS = {
    "attack",
    "bench",
    "e2e",
    "faults",
    "soak",
    "unit/test_fake_claude.py",
    "unit/test_leaks.py",
}
# Fixtures that start such a program: real gunicorn, which patches itself.
SERVERS = {"gunicorn", "stage", "staged"}
# Files that reach no thread, socket or process, so that there is nothing to patch.
PLAIN = {
    "unit/test_accounts.py",
    "unit/test_answer.py",
    "unit/test_answer_recorded.py",
    "unit/test_command.py",
    "unit/test_failures.py",
    "unit/test_paths.py",
    "unit/test_protocol.py",
    "unit/test_settings.py",
    "unit/test_text_run.py",
    "unit/test_turnlog.py",
    "unit/test_workspace.py",
}


def is_patched() -> bool:
    """Whether this process runs as production does."""
    found: bool = monkey.is_module_patched("socket")
    return found


def is_another_thing(item: pytest.Item) -> bool:
    """Whether a test can see that it is patched."""
    path = item.path.relative_to(HERE)
    if path.parts[0] in PROGRAMS or path.as_posix() in PROGRAMS | PLAIN:
        return False
    return SERVERS.isdisjoint(getattr(item, "fixturenames", ()))
