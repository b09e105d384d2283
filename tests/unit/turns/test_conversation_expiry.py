"""What nobody goes on with is deleted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from itertools import count

import pytest

from cowork.errors import WorkerUnreachable
from cowork.model import Project
from cowork.stores.memory.store import MemoryStore
from cowork.stores.protocol import Store
from cowork.turns import conversation_expiry
from cowork.turns.conversation_expiry import ConversationExpiry
from tests.patience import PATIENCE_S
from tests.unit.stores.node_suite import put_session

# So often it looks before it is seen that it does nothing.
LOOKS = 5
FIRST, SECOND = Project.unnamed("ann", "1"), Project.unnamed("ann", "2")


def begun(
    delete: Callable[[Project], None],
    store: Store,
    *,
    busy: Collection[Project] = (),
    retention: float = 60.0,
    turn_retention: float = 60.0,
) -> ConversationExpiry:
    return ConversationExpiry(
        store,
        delete,
        is_idle=lambda project: project not in busy,
        retention=retention,
        turn_retention=turn_retention,
    )


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_expiry, "INTERVAL_S", 0.01)


def test_an_unnamed_session_that_is_not_used_is_deleted_and_others_stay() -> None:
    store, gone = MemoryStore(), threading.Event()
    named = Project("ann", "p")
    for number, project in enumerate((named, FIRST, SECOND), 1):
        put_session(store, project, number)

    def delete(project: Project) -> None:
        store.delete_session(project)
        gone.set()

    expiry = begun(delete, store, busy=[SECOND], retention=-1.0)
    expiry.start()
    assert gone.wait(PATIENCE_S)
    expiry.close()
    assert store.session(FIRST) is None
    assert store.session(named) is not None
    assert store.session(SECOND) is not None


def test_one_that_cannot_be_deleted_holds_up_no_other() -> None:
    store, deleted, both = MemoryStore(), [], threading.Event()
    for number, project in enumerate((FIRST, SECOND), 1):
        put_session(store, project, number)

    def delete(project: Project) -> None:
        deleted.append(project)
        if project == SECOND:
            both.set()
        raise WorkerUnreachable("its worker does not answer")

    expiry = begun(delete, store, turn_retention=-1.0)
    expiry.start()
    assert both.wait(PATIENCE_S)
    expiry.close()
    assert deleted[:2] == [FIRST, SECOND]


def test_one_without_a_node_is_kept_while_its_turns_are() -> None:
    deleted: list[Project] = []
    looked = threading.Event()
    looks = count(1)

    class Asked(MemoryStore):
        def expire_nodes(self, unused_s: float, orphaned_s: float, limit: int) -> list[Project]:
            if next(looks) == LOOKS:
                looked.set()
            return super().expire_nodes(unused_s, orphaned_s, limit)

    store = Asked()
    put_session(store, FIRST)
    expiry = begun(deleted.append, store, turn_retention=60.0)
    expiry.start()
    assert looked.wait(PATIENCE_S)
    expiry.close()
    assert deleted == []
