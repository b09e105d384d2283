"""Ids are random, of version 4, and never given out twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from uuid import UUID

from cowork.runtime.ids import new_hex, new_id
from tests.patience import PATIENCE_S
from tests.serving import ROOT

MANY = 20_000


def test_they_are_random_uuids():
    texts = [new_id() for _ in range(MANY)]
    made = [UUID(text) for text in texts]
    assert [str(each) for each in made] == texts
    assert {(each.version, each.variant) for each in made} == {(4, "specified in RFC 4122")}
    assert len(set(made)) == MANY
    # All that is not fixed moves: 122 bits, each of which is set about half of the time.
    for bit in range(128):
        share = sum(each.int >> bit & 1 for each in made) / MANY
        assert share in (0, 1) if 62 <= bit <= 63 or 76 <= bit <= 79 else 0.45 < share < 0.55


def test_one_without_dashes_is_one_too():
    text = new_hex()
    assert UUID(text).hex == text
    assert UUID(text).version == 4


def test_threads_do_not_get_the_same():
    found: list[list[object]] = [[] for _ in range(8)]

    def take(mine):
        mine.extend(new_id() for _ in range(2_000))

    takers = [threading.Thread(target=take, args=(mine,)) for mine in found]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(PATIENCE_S)
    assert len({each for mine in found for each in mine}) == 8 * 2_000


FORK = """
import os
from cowork.runtime.ids import new_id
new_id()
child = os.fork()
if child:
    os.waitpid(child, 0)  # one after the other, or their lines could get mixed up
print(*(new_id() for _ in range(32)), flush=True)
if not child:
    os._exit(0)
"""


def test_a_child_of_a_fork_does_not_get_its_parents():
    said = subprocess.run(
        [sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, timeout=20, check=True
    )
    found = said.stdout.split()
    assert len(found) == len(set(found)) == 2 * 32
