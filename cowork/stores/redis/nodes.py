"""The Redis store's part for nodes of conversations."""

from __future__ import annotations

from cowork.model import ConversationNode, Project
from cowork.stores.limits import NODES_LIMIT, NODES_OF_OWNER
from cowork.stores.redis import node_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import project_key, project_of


class RedisNodes:
    """Each method is one script."""

    def __init__(self, connection: RedisConnection) -> None:
        self._run = connection.script

    def put(self, node: ConversationNode) -> Project | None:
        values = [project_key(node.project), node.session_id, node.cwd, node.turn_id]
        arguments = [node.project.owner, node.key, *values, NODES_OF_OWNER, NODES_LIMIT]
        dropped = self._run(node_scripts.PUT_NODE, arguments)
        return None if dropped is None else project_of(dropped)

    def find(self, owner: str, key: str = "", turn_id: str = "") -> ConversationNode | None:
        """By its key, or by its turn."""
        found = self._run(node_scripts.FIND_NODE, [owner, key, turn_id])
        if found is None:
            return None
        own_key, project, *values = found
        return ConversationNode(
            project_of(project), own_key.decode(), *[each.decode() for each in values]
        )

    def expire(self, unused_s: float, limit: int) -> list[Project]:
        found = self._run(node_scripts.EXPIRE_NODES, [round(unused_s * 1000), limit])
        return [project_of(each) for each in found]
