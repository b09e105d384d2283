"""Only what cannot see gevent's patches is left out of the run that is patched."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import patched
from tests.serving import ROOT

# What gevent patches, or what brings it along.
PATCHED = {
    "asyncio",
    "concurrent",
    "fakeredis",
    "gevent",
    "http",
    "multiprocessing",
    "queue",
    "redis",
    "requests",
    "responses",
    "select",
    "selectors",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
    "urllib3",
}
# They take a lock, for no longer than a look, and start and await nothing;
# what gevent_compat starts is native.
LOCKED = {
    "cowork/runtime/unix_user.py",
    "cowork/gevent_compat.py",
    "cowork/settings/api_keys.py",
    "cowork/web/failed_keys.py",
}


def test_whatever_is_left_out_exists():
    for name in patched.PROGRAMS | patched.PLAIN:
        assert (patched.HERE / name).exists(), name
    conftests = "\n".join(path.read_text() for path in patched.HERE.rglob("conftest.py"))
    for name in patched.SERVERS:
        assert f"def {name}(" in conftests, name
    for file, kept in patched.REQUESTS.items():
        text = (patched.HERE / file).read_text()
        assert [name for name in kept if f"def {name}(" not in text] == [], file
    for file, left_out in patched.REFUSALS.items():
        text = (patched.HERE / file).read_text()
        assert [name for name in left_out if f"def {name}(" not in text] == [], file


@pytest.mark.parametrize("name", sorted(patched.PLAIN))
def test_a_plain_file_reaches_nothing_that_gevent_patches(name):
    assert list(reached(patched.HERE / name)) == [], f"take {name} out of patched.PLAIN"


def test_a_file_that_starts_a_thread_is_not_plain():
    assert list(reached(patched.HERE / "unit/runtime/test_thread_pool.py"))


@pytest.mark.parametrize(
    ("name", "fixtures", "runs"),
    [
        ("test_t15_a_strange_body_is_a_fault_of_the_request", ["served"], False),
        ("test_t15_a_strange_body_is_a_fault_of_the_request", ["served", "background"], True),
        ("test_t15_a_body_in_the_smallest_pieces_holds_nobody_up", ["served"], True),
        ("test_t15_a_body_in_the_smallest_pieces_holds_nobody_up", ["gunicorn"], False),
    ],
)
def test_what_a_request_alone_decides_runs_plain(name, fixtures, runs):
    path = patched.HERE / "threats/test_t15_bodies.py"
    item = SimpleNamespace(path=path, originalname=name, fixturenames=fixtures)
    assert patched.is_another_thing(item) is runs


@pytest.mark.parametrize(
    ("name", "runs"),
    [("test_what_cannot_be_a_need_is_refused", False), ("test_a_spare_serves_no_needs", True)],
)
def test_what_is_refused_runs_plain_in_a_file_about_more_too(name, runs):
    path = patched.HERE / "contract/test_needs.py"
    item = SimpleNamespace(path=path, originalname=name, fixturenames=["served"])
    assert patched.is_another_thing(item) is runs


@pytest.mark.parametrize(
    ("path", "fixtures", "runs"),
    [
        ("unit/test_new.py", [], True),
        ("turns/test_new.py", ["serve", "background"], True),
        ("turns/test_new.py", ["gunicorn"], False),
        ("threats/test_new.py", ["staged"], False),
        ("e2e/test_new.py", [], False),
        ("unit/claude/stream_json/test_answer.py", [], False),
    ],
)
def test_a_new_file_runs_patched_unless_its_server_is_a_program(path, fixtures, runs):
    item = SimpleNamespace(path=patched.HERE / path, fixturenames=fixtures)
    assert patched.is_another_thing(item) is runs


def reached(path: Path, seen: set[Path] | None = None) -> Iterator[str]:
    """Where a file imports what is patched, in itself or in any file of ours that it imports."""
    seen = set() if seen is None else seen
    if path in seen:
        return
    seen.add(path)
    name = path.relative_to(ROOT).as_posix()
    for module in imported(path):
        if module.partition(".")[0] in PATCHED and name not in LOCKED:
            yield f"{name} imports {module}"
        place = ROOT / module.replace(".", "/")
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.exists():
                yield from reached(file, seen)


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, and the names it takes from them, which may be modules."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
