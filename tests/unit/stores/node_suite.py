"""What every store does with the nodes of conversations; see `store_suite.py`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType

import pytest

from cowork.model import Claim, ConversationNode, Project, Session, TurnEnd, TurnRecord
from cowork.stores.protocol import Store

P = Project("ann", "p")
LONG_S = 3600.0


def node(number: int, project: Project = P) -> ConversationNode:
    return ConversationNode(
        project, f"key-{number}", f"session-{number}", "/work", f"turn-{number}"
    )


def put_session(store: Store, project: Project, number: int = 1) -> Session:
    now = datetime.now(UTC)
    kept = Session(project, f"00000000-0000-4000-8000-{number:012}", "/work", now, now)
    claim = store.claim(project)
    assert claim is not None
    assert store.put_session(kept, claim)
    store.release(claim)
    return kept


def put_node(store: Store, kept: ConversationNode, claim: Claim | None = None) -> None:
    """Keep it, as its turn's end does."""
    now, ours = datetime.now(UTC), claim or store.claim(kept.project)
    assert ours is not None
    # A turn ends once; here it may have several nodes, one after the other.
    record = TurnRecord(f"{kept.turn_id}-{kept.key}", kept.project, "succeeded", "a", now, now, now)
    session = store.session(kept.project)
    end = TurnEnd(record, keep=60.0, claim=ours, session=session, nodes=(kept,))
    store.end_turn(end)
    if claim is None:
        store.release(ours)


class NodeBehaviour:
    """`limits` is the module in which the store looks for how many nodes there may be."""

    limits: str

    @pytest.fixture
    def bounded(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        """Three nodes of an owner, and five of all."""
        module = import_module(self.limits)
        monkeypatch.setattr(module, "NODES_OF_OWNER", 3)
        monkeypatch.setattr(module, "NODES_LIMIT", 5)
        return module

    def test_a_node_is_found_by_its_key_and_by_its_turn_by_its_owner_alone(
        self, store: Store
    ) -> None:
        put_node(store, node(1))
        assert store.node("ann", "key-1") == node(1)
        assert store.node_of_turn("ann", "turn-1") == node(1)
        assert store.node("bob", "key-1") is None
        assert store.node_of_turn("bob", "turn-1") is None
        assert store.node("ann", "key-2") is None
        assert store.node("ann", "") is None
        assert store.node_of_turn("ann", "") is None

    def test_a_node_takes_the_place_of_one_with_its_key(self, store: Store) -> None:
        put_node(store, node(1))
        put_node(store, replace(node(2), key="key-1"))
        found = store.node("ann", "key-1")
        assert found is not None
        assert found.turn_id == "turn-2"
        assert store.node_of_turn("ann", "turn-1") is None

    def test_a_turn_may_have_several_nodes(self, store: Store) -> None:
        put_node(store, node(1))
        put_node(store, replace(node(1), key="other"))
        assert store.node("ann", "key-1") == node(1)
        found = store.node_of_turn("ann", "turn-1")
        assert found is not None
        assert found.session_id == "session-1"

    def test_nodes_go_with_their_projects_session(self, store: Store) -> None:
        put_session(store, P)
        put_node(store, node(1))
        put_node(store, node(2, Project("ann", "q")))
        store.delete_session(P)
        assert store.node("ann", "key-1") is None
        assert store.node_of_turn("ann", "turn-1") is None
        assert store.node("ann", "key-2") is not None

    def test_an_owner_has_so_many_nodes_the_one_used_longest_ago_goes(
        self, store: Store, bounded: ModuleType
    ) -> None:
        del bounded
        for number in (1, 2, 3):
            put_node(store, node(number))
        assert store.node("ann", "key-1") is not None  # it is used by that
        put_node(store, node(4))
        left = [number for number in (1, 2, 3, 4) if store.node("ann", f"key-{number}")]
        assert left == [1, 3, 4]

    def test_of_too_many_nodes_one_of_the_owner_who_has_most_goes(
        self, store: Store, bounded: ModuleType
    ) -> None:
        del bounded
        for number in (1, 2, 3):
            put_node(store, node(number))
        for number in (4, 5):
            put_node(store, node(number, Project("bob", "p")))
        put_node(store, node(6, Project("eve", "p")))
        assert store.node("ann", "key-1") is None
        assert store.node("bob", "key-4") is not None
        assert store.node("eve", "key-6") is not None

    def test_nodes_are_kept_only_while_the_claim_is_the_newest(self, store: Store) -> None:
        put_session(store, P)
        claim = store.claim(P)
        assert claim is not None
        put_node(store, node(1), claim)
        assert store.node("ann", "key-1") is not None
        store.delete_session(P)
        put_node(store, node(2), claim)
        assert store.node("ann", "key-2") is None

    def test_a_node_that_is_not_used_expires(self, store: Store) -> None:
        put_node(store, node(1))
        put_node(store, node(2))
        assert store.expire_nodes(LONG_S, LONG_S, 10) == []
        assert store.node("ann", "key-1") is not None
        store.expire_nodes(-1.0, LONG_S, 1)
        left = [number for number in (1, 2) if store.node("ann", f"key-{number}")]
        assert left == [1]  # the other one was used longer ago
        store.expire_nodes(-1.0, -1.0, 10)
        assert store.node("ann", "key-1") is None

    def test_an_unnamed_project_without_a_node_that_is_not_used_is_told(self, store: Store) -> None:
        unnamed, other = Project.unnamed("ann", "1"), Project.unnamed("ann", "2")
        for number, project in enumerate((P, unnamed, other), 1):
            put_session(store, project, number)
        put_node(store, node(1, other))
        assert store.expire_nodes(LONG_S, LONG_S, 10) == []
        assert store.expire_nodes(LONG_S, -1.0, 10) == [unnamed]
        assert store.expire_nodes(-1.0, LONG_S, 10) == []
        assert store.expire_nodes(-1.0, -1.0, 10) in ([unnamed, other], [other, unnamed])
        store.delete_session(unnamed)
        assert store.expire_nodes(-1.0, -1.0, 10) == [other]

    def test_unnamed_projects_are_neither_listed_nor_counted(self, store: Store) -> None:
        unnamed = Project.unnamed("ann", "1")
        kept = put_session(store, unnamed, 2)
        put_session(store, P)
        assert [each.project for each in store.sessions("ann")] == [P]
        assert store.session_count() == 1
        assert store.session(unnamed) == kept
        assert store.delete_session(unnamed) == kept
        assert store.session_count() == 1
        assert kept.id in store.removals()
