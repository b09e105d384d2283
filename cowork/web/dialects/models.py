"""`GET /v1/models` and `/v1/models/{model_id}`: one shape for OpenAI's clients and Anthropic's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import request

from cowork.claude.offers import Offers
from cowork.dialects.answer_head import DEFAULT_MODEL
from cowork.errors import ModelNotFound
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas.dialects import OpenAiError
from cowork.web.schemas.models import CompatibleModel, CompatibleModelList
from cowork.web.timestamps import rfc3339

_UNAVAILABLE = "The CLI cannot be asked now"
# The CLI does not tell when its models were made, and clients look for a moment.
_CREATED = datetime(2025, 1, 1, tzinfo=UTC)


def blueprint(offers: Offers) -> CoworkBlueprint:
    """The same for every caller; asked of the CLI at most every five minutes."""
    routes = CoworkBlueprint("compatible_models", __name__, description="Models, in others' shape")

    @routes.get("/v1/models")
    @routes.response(200, CompatibleModelList)
    @routes.alt_response(400, schema=OpenAiError, description="Every error has this shape")
    @routes.alt_response(503, schema=OpenAiError, description=_UNAVAILABLE)
    def list_compatible_models() -> dict[str, Any]:
        """The models that a request's `model` may name, all on one page."""
        # Anthropic's Python client asks for the page behind the last one until it is empty.
        found = [] if "after_id" in request.args else _models(offers)
        return {
            "object": "list",
            "data": found,
            "has_more": False,
            "first_id": found[0]["id"] if found else None,
            "last_id": found[-1]["id"] if found else None,
        }

    @routes.get("/v1/models/<model_id>")
    @routes.response(200, CompatibleModel)
    @routes.alt_response(400, schema=OpenAiError, description="Every error has this shape")
    @routes.alt_response(503, schema=OpenAiError, description=_UNAVAILABLE)
    def read_compatible_model(model_id: str) -> dict[str, Any]:
        """One of them."""
        found = next((each for each in _models(offers) if each["id"] == model_id), None)
        if found is None:
            sentence = f"no model is named {model_id!r}: GET /v1/models lists them"
            raise ModelNotFound(sentence, field="model")
        return found

    return routes


def _models(offers: Offers) -> list[dict[str, Any]]:
    listed = (_model(each.id, each.name) for each in offers.get().models)
    return [_model(DEFAULT_MODEL, "XO Cowork"), *listed]


def _model(name: str, shown: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(_CREATED.timestamp()),
        "owned_by": "anthropic",
        "type": "model",
        "display_name": shown,
        "created_at": rfc3339(_CREATED),
    }
