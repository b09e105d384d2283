"""A start that failed is told, and tried again beside, until one goes well."""

from __future__ import annotations

import threading

from cowork.claude.pool.start_probe import StartProbe
from cowork.errors import ClaudeUnavailable
from tests.serving import wait_for


class Probe:
    """A try that fails until it is mended; it tells as a start does."""

    def __init__(self) -> None:
        self.mended = False
        self.tries = 0
        self.starts = StartProbe(self, first_pause_s=0.05)

    def __call__(self) -> None:
        self.tries += 1
        if self.mended:
            self.starts.succeeded()
        else:
            self.starts.failed("no such file")
            raise ClaudeUnavailable("no such file")


def test_whoever_asks_for_the_problem_sets_off_a_try_now_and_then():
    probe = Probe()
    assert probe.starts.problem is None
    probe.starts.failed("no such file")
    assert "no such file" in probe.starts.problem
    for tries in (1, 2):
        wait_for(lambda tries=tries: probe.starts.problem and probe.tries == tries, what="a try")
    probe.mended = True
    wait_for(lambda: probe.starts.problem is None, what="the end of the problem")
    assert probe.tries == 3
    probe.starts.join()


def test_nobody_tries_where_all_is_well_or_over():
    probe = Probe()
    probe.starts.succeeded()
    assert probe.starts.problem is None
    probe.starts.failed("broken")
    probe.starts.close()
    begun = threading.active_count()
    assert probe.starts.problem
    assert (probe.tries, threading.active_count()) == (0, begun)
    probe.starts.join()
