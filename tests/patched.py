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
    "threats/test_t29_terminal.py",
    "turns/test_reload_load.py",
    "unit/operations/test_backup.py",
    "unit/operations/test_doctor.py",
    "unit/suite/test_canaries.py",
    "unit/suite/test_fake_claude.py",
    "unit/suite/test_leaks.py",
    "unit/suite/test_parts.py",
    "unit/terminal/test_lies.py",
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
# Files whose subject is decided within a request, before anything is asked or begun: who may call,
# whether a body, a name or a header is right, what the documents say.  One thread runs all of it, on
# bytes that it has.  Those of their tests that are about more run patched: the named ones, and
# whichever has one of these fixtures.
REQUESTS: dict[str, set[str]] = {
    "contract/test_access.py": {"test_sessions_belong_to_the_keys_name"},
    "contract/test_ask_names.py": set(),
    "contract/test_basic.py": {
        "test_health_counts_the_sessions",
        "test_a_body_that_is_declared_too_large_is_refused_before_it_comes",
        "test_every_reply_has_a_request_id_of_its_own",
    },
    "contract/test_edges.py": {"test_fault_n5_it_is_not_ready_before_it_is_known"},
    "threats/test_t01_unauthenticated.py": {
        "test_t01_a_removed_key_is_of_no_use_any_more_nor_is_its_stream",
        "test_t01_an_answer_is_not_for_a_key_that_was_removed_meanwhile",
    },
    "threats/test_t02_t03_t04_pages.py": set(),
    "threats/test_t15_bodies.py": {
        "test_t15_a_body_that_breaks_off_is_a_fault_of_the_request",
        "test_t15_a_body_is_bounded_to_the_byte_declared_or_not",
        "test_t15_a_body_of_a_million_keys_is_refused_at_once",
        "test_t15_a_body_in_the_smallest_pieces_holds_nobody_up",
        "test_fault_s3_a_refusal_is_small_and_soon_however_much_is_wrong",
    },
    "threats/test_t24_floors.py": set(),
    "threats/test_table.py": set(),
}
# In files about more: such tests, and one that starts the command itself.
REFUSALS: dict[str, set[str]] = {
    "contract/test_ask.py": {
        "test_what_is_required_may_not_be_missing",
        "test_what_is_required_is_a_string_and_not_blank",
    },
    "contract/test_durable.py": {
        "test_fault_t14_several_workers_are_refused_where_they_could_not_know_of_each_other",
    },
    "contract/test_needs.py": {
        "test_what_cannot_be_a_need_is_refused",
        "test_a_wider_permission_mode_is_refused",
    },
    "contract/test_usage.py": {
        "test_what_is_no_time_or_too_long_is_refused_by_its_name",
        "test_what_is_just_within_the_bounds_is_answered",
    },
    "threats/test_t25_approvals.py": {"test_t25_whatever_does_not_fit_decides_nothing"},
    "threats/test_t28_console.py": {"test_t28_no_other_file_can_be_read_by_the_pages_paths"},
    "turns/test_deadlines.py": {"test_a_limit_that_is_none_is_a_fault_of_the_request"},
    "turns/test_idempotency.py": {"test_a_key_that_is_none_is_a_fault_of_the_request"},
    "turns/test_resume.py": {"test_an_id_that_is_none_of_the_turns_is_a_fault_of_the_request"},
    "turns/test_steering.py": {"test_a_text_that_does_not_fit_is_refused"},
}
ABOUT_MORE = {"background", "lifelines", "upstream"}


def is_patched() -> bool:
    """Whether this process runs as production does."""
    found: bool = monkey.is_module_patched("socket")
    return found


def is_another_thing(item: pytest.Function) -> bool:
    """Whether a test can see that it is patched."""
    path = item.path.relative_to(HERE)
    if path.parts[0] in PROGRAMS or path.as_posix() in PROGRAMS | PLAIN:
        return False
    fixtures = getattr(item, "fixturenames", ())
    if getattr(item, "originalname", None) in REFUSALS.get(path.as_posix(), ()):
        return False
    kept = REQUESTS.get(path.as_posix())
    if kept is not None and ABOUT_MORE.isdisjoint(fixtures) and item.originalname not in kept:
        return False
    return SERVERS.isdisjoint(fixtures)
