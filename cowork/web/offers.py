"""`GET /models`, `/skills` and `/mcp`: what a question may name."""

from __future__ import annotations

from typing import Any

from cowork.claude.offers import Offers
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas.offers import McpReply, ModelsReply, SkillsReply
from cowork.web.schemas.problems import ProblemReply

_UNAVAILABLE = "The CLI cannot be asked now"


def blueprint(offers: Offers) -> CoworkBlueprint:
    """The same for every caller; asked of the CLI at most every five minutes."""
    routes = CoworkBlueprint("offers", __name__, description="Models, skills and MCP servers")

    @routes.get("/models")
    @routes.response(200, ModelsReply)
    @routes.alt_response(503, schema=ProblemReply, description=_UNAVAILABLE)
    def list_models() -> dict[str, Any]:
        """The models that a question's `model` may name, as the CLI lists them."""
        offer = offers.get()
        found = [
            {
                "id": each.id,
                "model": each.model,
                "name": each.name,
                "description": each.description,
                "efforts": list(each.efforts),
            }
            for each in offer.models
        ]
        return {"models": found, "count": len(found), "default": offer.default_model}

    @routes.get("/skills")
    @routes.response(200, SkillsReply)
    @routes.alt_response(503, schema=ProblemReply, description=_UNAVAILABLE)
    def list_skills() -> dict[str, Any]:
        """The skills that a question's `agent_type` may name."""
        found = [
            {"name": each.name, "description": each.description} for each in offers.get().skills
        ]
        return {"skills": found, "count": len(found)}

    @routes.get("/mcp")
    @routes.response(200, McpReply)
    def list_mcp_servers() -> dict[str, Any]:
        """The MCP servers that a question's `mcp_servers` may name, without their addresses."""
        found = [
            {"name": name, "type": str(definition.get("type", "stdio"))}
            for name, definition in offers.mcp_servers.items()
        ]
        return {"servers": found, "count": len(found)}

    return routes
