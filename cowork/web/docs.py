"""`/docs`, the interactive page, and `/openapi.json`; all of it served from here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Flask, Response, send_from_directory
from flask_smorest import Api

from cowork import __version__
from cowork.web.schemas import ProblemReply

ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
CONFIG: dict[str, Any] = {
    "API_TITLE": "XO Cowork API",
    "API_VERSION": __version__,
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
    "OPENAPI_SWAGGER_UI_PATH": "docs",
    "OPENAPI_SWAGGER_UI_URL": "/docs/assets/",
    "API_SPEC_OPTIONS": {
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "One of COWORK_API_KEYS"}
            }
        },
        "security": [{"key": []}, {}],
    },
}


class _Api(Api):
    """flask-smorest's, with our shape of an error."""

    ERROR_SCHEMA = ProblemReply


def register(app: Flask) -> Api:
    """Make the API that blueprints are registered with, and the page's own files."""
    app.config.update(CONFIG)

    @app.get("/docs/assets/<name>")
    def docs_asset(name: str) -> Response:
        return send_from_directory(ASSETS, name, max_age=86400)

    api = _Api(app)
    api.spec.components.schemas.pop("PaginationMetadata", None)  # nothing here has pages
    return api
