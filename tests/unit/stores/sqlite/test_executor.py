"""SQLite's thread: calls share transactions, none waits too long, and the others go on."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing

import pytest

from cowork.errors import StoreUnavailable
from cowork.stores.sqlite.executor import Durability, Transactions
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.stores.store_suite import at_once


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.db"


@pytest.fixture
def opened(path):
    """Transactions on a file with a table of numbers; keyword arguments are theirs."""
    begun = []

    def start(**rules):
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=0.25
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (x)")
        begun.append(Transactions(connection, **rules))
        return begun[-1]

    yield start
    for each in begun:
        each.close()


def put(number):
    return lambda connection: connection.execute("INSERT INTO numbers VALUES (?)", (number,))


def numbers(connection):
    return sorted(x for (x,) in connection.execute("SELECT x FROM numbers"))


def put_and(number, then):
    def run(connection):
        put(number)(connection)
        return then(connection)

    return run


def test_a_call_gives_what_its_function_returns(opened):
    transactions = opened()
    transactions.run(put(1), Durability.SYNC)
    assert transactions.run(numbers, Durability.READ) == [1]


def test_calls_at_once_are_all_done(opened):
    transactions = opened()
    at_once([lambda n=n: transactions.run(put(n), Durability.WRITE) for n in range(50)])
    assert transactions.run(numbers, Durability.READ) == list(range(50))


def broken(_connection):
    raise KeyError("ours")


def test_a_call_that_breaks_leaves_nothing_and_takes_no_other_along(opened):
    transactions = opened()

    def run(number):
        if number % 3:
            return transactions.run(put(number), Durability.WRITE)
        with pytest.raises(KeyError):
            transactions.run(put_and(number, broken), Durability.WRITE)
        return None

    at_once([lambda n=n: run(n) for n in range(30)])
    assert transactions.run(numbers, Durability.READ) == [n for n in range(30) if n % 3]


def test_a_file_that_does_not_answer_is_given_up_and_comes_back(opened):
    transactions = opened(timeout=0.1)
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb", 0), os.fdopen(writes, "wb", 0) as answer:
        with pytest.raises(StoreUnavailable) as late:
            transactions.run(put_and(1, lambda _: os.read(reads, 1)), Durability.WRITE)
        assert late.value.outcome_unknown
        with pytest.raises(StoreUnavailable) as told:
            transactions.run(numbers, Durability.READ)
        # Nobody waits a second time: who had would not know the outcome.
        assert not told.value.outcome_unknown
        answer.write(b".")

        def seen():
            try:
                return transactions.run(numbers, Durability.READ)
            except StoreUnavailable:
                return None

        found = []
        wait_for(lambda: found.append(seen()) or found[-1] is not None, PATIENCE_S, "its recovery")
    assert found[-1] == [], "what nobody waited for was not kept"


def test_others_go_on_while_the_file_is_locked(opened, path):
    transactions = opened()
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.005):
            ticks.append(1)

    ticking = threading.Thread(target=tick)
    ticking.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            transactions.run(put(1), Durability.WRITE)
        seen = len(ticks)
        other.execute("ROLLBACK")
    stop.set()
    ticking.join(PATIENCE_S)
    assert seen >= 5


def test_a_closed_one_says_so_and_may_be_closed_again(opened):
    transactions = opened()
    transactions.run(put(1), Durability.WRITE)
    transactions.close()
    transactions.close()
    with pytest.raises(StoreUnavailable):
        transactions.run(numbers, Durability.READ)
