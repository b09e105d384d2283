"""Asks a process of a throwaway session what the CLI offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cowork.claude.offers import Offer, Offers, offer_of
from cowork.claude.pool.skill_listing import ThrowawayProcess
from cowork.claude.process.launcher import Throwaway
from cowork.claude.skills import Skills
from cowork.errors import ClaudeUnavailable

TIMEOUT_S = 10.0


def make_offers(
    throwaway_process: ThrowawayProcess,
    skills: Skills,
    cwd: Callable[[], str | None],
    mcp_servers: Mapping[str, Mapping[str, Any]],
) -> Offers:
    """What `TurnService` checks questions against; `cwd` is where a process is asked."""

    def ask() -> Offer:
        where = cwd()
        if where is None:
            raise ClaudeUnavailable("the server has no directory to ask the Claude CLI in")
        with throwaway_process(where, Throwaway()) as process:
            begun = process.requests.call("initialize", TIMEOUT_S)
            found, model = process.list_skills(), process.model
        if found is None:
            raise ClaudeUnavailable("the Claude CLI did not say what it has")
        skills.saw(where, found)
        allowed = tuple(each for each in found if skills.has(each, where))
        return offer_of(begun, allowed, model or "")

    return Offers(ask, mcp_servers)
