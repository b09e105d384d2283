"""What of the suite is run a second time, patched by gevent: all but what is named here.

A new test file is in both runs until it is listed here; `unit/suite/test_patched.py` says what may be.
Whoever names files or folders on the command line gets all of them, patched too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gevent import monkey

from tests import parts

HERE = Path(__file__).resolve().parent

# Folders and files whose subject is a program of its own, which is the same whoever starts it.
PROGRAMS = {
    *parts.PROGRAMS,
    "unit/suite/test_canaries.py",
    "unit/suite/test_fake_claude.py",
    "unit/suite/test_leaks.py",
    "unit/suite/test_parts.py",
}
# Fixtures that start such a program: real gunicorn, which patches itself.
SERVERS = {"gunicorn", "stage", "staged"}
# Files that reach no thread, socket or process, so that there is nothing to patch.
PLAIN = {
    "unit/claude/stream_json/test_answer.py",
    "unit/claude/stream_json/test_answer_recorded.py",
    "unit/claude/stream_json/test_billing.py",
    "unit/claude/stream_json/test_failures.py",
    "unit/claude/stream_json/test_protocol.py",
    "unit/claude/stream_json/test_text_run.py",
    "unit/claude/test_command.py",
    "unit/claude/test_conversation.py",
    "unit/claude/test_session_files.py",
    "unit/claude/test_transcript.py",
    "unit/claude/test_workspace.py",
    "unit/runtime/test_unix_user.py",
    "unit/settings/test_settings.py",
    "unit/test_links.py",
    "unit/turns/test_event_log.py",
    "unit/web/test_url_segments.py",
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
