"""The Redis store's part for nodes of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from cowork.model import ConversationNode, Project
from cowork.stores.limits import NODES_LIMIT, NODES_OF_OWNER
from cowork.stores.redis import node_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import project_of


class RedisNodes:
    """Each method is one script."""

    def __init__(self, connection: RedisConnection) -> None:
        self._run = connection.script

    def find(self, owner: str, key: str = "", turn_id: str = "") -> ConversationNode | None:
        """By its key, or by its turn."""
        found = self._run(node_scripts.FIND_NODE, [owner, key, turn_id])
        if found is None:
            return None
        own_key, project, *values = found
        return ConversationNode(
            project_of(project), own_key.decode(), *[each.decode() for each in values]
        )

    def expire(self, unused_s: float, orphaned_s: float, limit: int) -> list[Project]:
        arguments = [round(unused_s * 1000), round(orphaned_s * 1000), limit]
        found = self._run(node_scripts.EXPIRE_NODES, arguments)
        return [project_of(each) for each in found]


def node_arguments(nodes: Sequence[ConversationNode]) -> list[Any]:
    """What a script has at its end to keep them; see `END_TURN`."""
    fields = [[each.key, each.session_id, each.cwd, each.turn_id] for each in nodes]
    return [*chain.from_iterable(fields), NODES_OF_OWNER, NODES_LIMIT, len(nodes)]
