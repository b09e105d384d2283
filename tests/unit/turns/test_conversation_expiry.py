"""What nobody goes on with is deleted."""

from __future__ import annotations

import threading

from cowork.errors import WorkerUnreachable
from cowork.model import Project
from cowork.stores.memory.store import MemoryStore
from cowork.turns.conversation_expiry import ConversationExpiry
from tests.patience import PATIENCE_S
from tests.unit.stores.node_suite import put_session

FIRST, SECOND = Project.unnamed("ann", "1"), Project.unnamed("ann", "2")


def test_an_unnamed_session_that_is_not_used_is_deleted_and_others_stay() -> None:
    store, gone = MemoryStore(), threading.Event()
    named = Project("ann", "p")
    for number, project in enumerate((named, FIRST), 1):
        put_session(store, project, number)

    def delete(project: Project) -> None:
        store.delete_session(project)
        gone.set()

    expiry = ConversationExpiry(store, delete, retention=-1.0)
    expiry.start()
    expiry.add(SECOND)  # wakes it
    assert gone.wait(PATIENCE_S)
    expiry.close()
    assert store.session(FIRST) is None
    assert store.session(named) is not None


def test_one_that_cannot_be_deleted_holds_up_no_other() -> None:
    deleted: list[Project] = []
    both = threading.Event()

    def delete(project: Project) -> None:
        deleted.append(project)
        if project == SECOND:
            both.set()
        raise WorkerUnreachable("its worker does not answer")

    expiry = ConversationExpiry(MemoryStore(), delete, retention=60.0)
    expiry.add(FIRST)
    expiry.add(SECOND)
    expiry.start()
    assert both.wait(PATIENCE_S)
    expiry.close()
    assert deleted[:2] == [FIRST, SECOND]
