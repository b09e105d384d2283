"""The SQLite store's part for all that a turn's end changes, in one transaction."""

from __future__ import annotations

import sqlite3
import time

from cowork.model import TurnEnd
from cowork.stores.sqlite import claims, nodes, outbox, sessions, turns, usage
from cowork.stores.usage import counted


def put(connection: sqlite3.Connection, end: TurnEnd) -> bool:
    """Keep it, once; whether its session was kept."""
    forget = time.time() + end.keep
    if not turns.end(connection, end.record, end.log, forget):
        return True
    if end.gives_key_back:
        turns.give_key_back(connection, end.record.id)
    usage.count(connection, counted(end))
    outbox.put(connection, end.messages)
    if end.claim is None or not claims.is_newest(connection, end.claim):
        return end.session is None
    if end.session is not None:
        sessions.put(connection, end.session)
    for node in end.nodes:
        nodes.put(connection, node)
    if end.exchange is not None:
        turns.remember(connection, end.claim.project, end.exchange)
    return True
