"""The log masks what is secret, and whoever does not read it costs lines, never time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork import log
from cowork.log import Writer
from tests.serving import wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def secrets_of_this_test():
    before = log._secrets
    yield
    log._secrets = before


def test_a_secret_is_masked_wherever_it_stands():
    log.register_secret("canary-one")
    assert log.masked("a canary-one, (canary-one) xcanary-oney") == "a ***, (***) x***y"


@pytest.mark.parametrize("order", [1, -1])
def test_a_secret_inside_another_hides_no_part_of_it(order):
    log.register_secret(*["canary-one", "canary-one-longer", "my-canary-one"][::order])
    assert log.masked("canary-one-longer my-canary-one canary-one") == "*** *** ***"


def test_secrets_add_up():
    log.register_secret("canary-one")
    log.register_secret("canary-two", None, "")
    assert log.masked("canary-one canary-two") == "*** ***"


@pytest.mark.parametrize("common", ["", "a", "true", "1234567", None])
def test_what_is_too_short_to_be_a_secret_is_not_masked(common):
    log.register_secret(common)
    assert log.masked("a true 1234567 value") == "a true 1234567 value"


def test_a_secret_that_looks_like_a_pattern_is_taken_as_it_is():
    log.register_secret(r"a.*b(c)\d[x]")
    assert log.masked(r"a.*b(c)\d[x] aXXb(c)1x") == "*** aXXb(c)1x"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Authorization: Bearer canary.a-b_c", "Authorization: Bearer ***"),
        ("bearer   CANARY", "bearer   ***"),
        ('{"h": "Bearer canary"}', '{"h": "Bearer ***"}'),
        ("{'h': 'Bearer canary', 'x': 1}", "{'h': 'Bearer ***', 'x': 1}"),
        ("key sk-ant-api03-canary_x-y!", "key sk-ant-***"),
        ("(sk-ant-canary)", "(sk-ant-***)"),
        ("GET /s/1?poll_token=canary&x=1", "GET /s/1?poll_token=***&x=1"),
        ("poll_token: canary", "poll_token: ***"),
        ("POLL_TOKEN=canary;", "POLL_TOKEN=***;"),
        ("poll_to\u212aen=canary", "poll_to\u212aen=***"),  # the sign for kelvin is a k
        ("\u017fk-ant-canary", "\u017fk-ant-***"),  # and this is an s
        ("the bearer", "the bearer"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_what_looks_secret_is_masked(line, shown):
    assert log.masked(line) == shown


PIECES = [
    "BEARER ",
    "bearer\t",
    "Sk-Ant-",
    "poll_token=",
    "Poll_Token: ",
    "canary",
    "\u017f",
    "\u212a",
    " ",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join))
def test_looking_for_signs_first_changes_nothing(text):
    assert log.masked(text) == log._SECRET_PATTERN.sub(r"\1***", text)


class Pipe:
    """A log's reader, as slow as the test wants; `taken` is what it has read."""

    def __init__(self) -> None:
        self._out, self.fd = os.pipe()
        os.set_blocking(self._out, False)
        self.taken = b""

    def take(self) -> bytes:
        try:
            while block := os.read(self._out, 1 << 16):
                self.taken += block
        except BlockingIOError:
            pass
        return self.taken

    def fill(self) -> None:
        """Leave no room for anything more."""
        os.set_blocking(self.fd, False)
        for size in (1 << 16, 1):
            try:
                while os.write(self.fd, b"." * size):
                    pass
            except BlockingIOError:
                pass
        os.set_blocking(self.fd, True)

    def close(self) -> None:
        os.close(self._out)
        os.close(self.fd)


@pytest.fixture
def pipe():
    reader = Pipe()
    yield reader
    reader.close()


def test_lines_arrive_in_order_and_masked(pipe):
    log.register_secret("canary-one")
    writer = Writer(pipe.fd)
    for number in range(500):
        writer.put(f"{number} canary-one é\ud800")
    wait_for(lambda: pipe.take().count(b"\n") == 500, what="the last line")
    lines = pipe.taken.decode().splitlines()
    assert lines == [f"{number} *** é\\ud800" for number in range(500)]


def test_a_reader_that_stalls_costs_lines_and_no_time(pipe):
    pipe.fill()
    writer = Writer(pipe.fd)
    begun = time.monotonic()
    for number in range(15_000):
        writer.put(str(number))
    assert time.monotonic() - begun < 5
    wait_for(lambda: pipe.take() and not writer._lines.qsize(), what="room for more lines")
    writer.put("after")
    wait_for(lambda: pipe.take().endswith(b"\nafter\n"), what="what came later")
    lines = pipe.taken.decode().lstrip(".").splitlines()
    dropped = [int(line.split()[0]) for line in lines if "log lines dropped" in line]
    assert 4_000 < sum(dropped) < 5_100
    # Every line was written or counted.
    assert len(lines) - len(dropped) - 1 + sum(dropped) == 15_000


def test_the_lines_of_turns_hold_nothing_up_where_nobody_reads_them():
    code = """
from cowork import log
from cowork.model import Project
from cowork.turns.question import Question
from cowork.turns.reporter import TurnReporter
from cowork.turns.turn import Turn
from cowork.telemetry.metrics import NO_METRICS
log.configure(form="json")
log._writer.flush = None
reporter, turn = TurnReporter(NO_METRICS), Turn(Project("", "p"), Question("canary-question"))
for _ in range(12_000):
    reporter.ended(turn, ())
print(log.dropped_lines())
import os
os._exit(0)
"""
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=write,
            timeout=60,
            check=True,
            cwd=ROOT,
        )
        assert int(done.stdout) > 1000
        assert b"canary" not in os.read(read, 1 << 16)
    finally:
        os.close(read)
        os.close(write)


def test_a_flush_waits_for_the_line_that_is_being_written(pipe):
    pipe.fill()
    writer = Writer(pipe.fd)
    writer.put("last words")
    wait_for(lambda: not writer._lines.qsize(), what="the line's turn")
    begun = time.monotonic()
    writer.flush(0.3)
    assert time.monotonic() - begun >= 0.3
    wait_for(lambda: b"last words" in pipe.take(), what="the line")


def test_a_flush_gives_up_in_time(pipe):
    pipe.fill()
    writer = Writer(pipe.fd)
    for number in range(10):
        writer.put(str(number))
    begun = time.monotonic()
    writer.flush(0.2)
    assert 0.1 < time.monotonic() - begun < 2
    wait_for(lambda: b"\n9\n" in pipe.take(), what="the last line")


def test_a_log_that_nobody_has_written_to_is_flushed():
    Writer(-1).flush()


def test_a_log_that_cannot_be_written_breaks_nothing():
    writer = Writer(-1)
    for _ in range(3):
        writer.put("x")
    wait_for(lambda: writer.dropped, what="a dropped line")


def run(script: str) -> list[str]:
    """What a program writes to its log."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.decode().splitlines()


def test_a_child_of_a_fork_writes_too():
    lines = run(
        "import os; from cowork import log\n"
        "log.configure(form='json'); say = log.logger('x').info\n"
        "say('before')\nlog._writer.flush()\n"
        "pid = os.fork()\nsay('in the child' if pid == 0 else 'in the parent')\n"
        "log._writer.flush()\nimport time; time.sleep(0.1)\n"
        "os._exit(0) if pid == 0 else os.waitpid(pid, 0)\n"
    )
    assert sorted(json.loads(line)["event"] for line in lines) == [
        "before",
        "in the child",
        "in the parent",
    ]


def test_a_programs_last_words_are_written():
    script = "from cowork import log; log.configure(form='json')\nfor n in range(50): log.logger('x').info('n', n=n)"
    assert [json.loads(line)["n"] for line in run(script)] == list(range(50))


def test_a_line_is_json_with_its_fields_and_its_request():
    (line,) = run(
        "from cowork import log; log.configure(form='json')\n"
        "log.request_id.set('r1'); log.logger('x').warning('it broke', code=3)"
    )
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert isinstance(found.pop("worker"), int)
    assert found == {"event": "it broke", "code": 3, "level": "warning", "request_id": "r1"}


def test_what_is_below_the_level_is_not_written():
    assert (
        run("from cowork import log; log.configure(level='error'); log.logger('x').info('x')") == []
    )


def test_lines_of_other_libraries_end_here_too():
    (line,) = run(
        "import logging; from cowork import log; log.configure(form='json')\n"
        "log.register_secret('canary-one'); logging.getLogger('gunicorn.error').error('no %s', 'canary-one')"
    )
    assert json.loads(line)["event"] == "no ***"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "secret", ['quo"te-canary', "back\\slash-canary", "é-canary-x", "tab\t-canary"]
)
def test_a_secret_is_masked_however_the_line_is_written(form, secret):
    (line,) = run(
        f"from cowork import log; log.configure(form={form!r})\n"
        f"log.register_secret({secret!r}); log.logger('x').info('x', field={secret!r})"
    )
    assert "canary" not in line
