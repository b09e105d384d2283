"""The memory store's nodes of conversations; has no lock."""

from __future__ import annotations

from collections import OrderedDict

from cowork.model import ConversationNode, Project
from cowork.stores.limits import NODES_LIMIT, NODES_OF_OWNER


class MemoryNodes:
    """By owner and key, those used longest ago first, with the moment of their last use."""

    def __init__(self) -> None:
        self._of: dict[str, OrderedDict[str, tuple[ConversationNode, float]]] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._counts: dict[Project, int] = {}
        self._size = 0

    def put(self, node: ConversationNode, now: float) -> None:
        """Keep it; of too many another one goes."""
        owner = node.project.owner
        self._remove(owner, node.key)
        found = self._of.setdefault(owner, OrderedDict())
        found[node.key] = node, now
        self._keys[owner, node.turn_id] = node.key
        self._counts[node.project] = self._counts.get(node.project, 0) + 1
        self._size += 1
        if len(found) <= NODES_OF_OWNER and self._size <= NODES_LIMIT:
            return
        most = owner
        if self._size > NODES_LIMIT:
            most = max(self._of, key=lambda each: len(self._of[each]))
        self._remove(most, next(iter(self._of[most])))

    def has(self, project: Project) -> bool:
        """Whether the project has a node."""
        return project in self._counts

    def find(self, owner: str, key: str, now: float) -> ConversationNode | None:
        found = self._of.get(owner, OrderedDict())
        if key not in found:
            return None
        node, _ = found[key]
        found[key] = node, now
        found.move_to_end(key)
        return node

    def find_by_turn(self, owner: str, turn_id: str, now: float) -> ConversationNode | None:
        return self.find(owner, self._keys.get((owner, turn_id), ""), now)

    def drop(self, project: Project) -> None:
        """Remove the project's nodes."""
        if project in self._counts:
            found = self._of[project.owner].values()
            for key in [node.key for node, _ in found if node.project == project]:
                self._remove(project.owner, key)

    def expire(self, before: float, limit: int) -> None:
        """Remove those used before."""
        expired: list[ConversationNode] = []
        for found in self._of.values():
            for node, used in found.values():
                if used >= before or len(expired) == limit:
                    break
                expired.append(node)
        for node in expired:
            self._remove(node.project.owner, node.key)

    def _remove(self, owner: str, key: str) -> None:
        found = self._of.get(owner, OrderedDict())
        if key not in found:
            return
        node, _ = found.pop(key)
        if self._keys.get((owner, node.turn_id)) == key:
            del self._keys[owner, node.turn_id]
        self._counts[node.project] -= 1
        if not self._counts[node.project]:
            del self._counts[node.project]
        if not found:
            del self._of[owner]
        self._size -= 1
