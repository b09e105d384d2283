"""`/docs`, the interactive page, and `/openapi.json`; all of it served from here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Flask, Response, send_from_directory
from flask_smorest import Api

from cowork.web.schemas import ProblemReply

ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
API_CONFIG: dict[str, Any] = {
    "API_TITLE": "XO Cowork API",
    # The contract's: who has no key learns nothing of this server.
    "API_VERSION": "1",
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
    "API_SPEC_OPTIONS": {
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "One of COWORK_API_KEYS"}
            }
        },
        "security": [{"key": []}, {}],
    },
}


# Files from here alone, no script or style that stands in a page, and calls to nobody else.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>XO Cowork API</title>
<link rel="icon" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
# Without the validator, which would ask a server elsewhere.
_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", validatorUrl: null});
"""


class _Api(Api):
    """flask-smorest's, with our shape of an error."""

    ERROR_SCHEMA = ProblemReply


def register(app: Flask) -> Api:
    """Make the API that blueprints are registered with, and the page's own files."""
    app.config.update(API_CONFIG)

    @app.get("/docs")
    def docs_page() -> Response:
        return _with_csp(Response(_PAGE, mimetype="text/html"))

    @app.get("/docs/assets/start.js")
    def docs_start() -> Response:
        return Response(_START, mimetype="text/javascript")

    @app.get("/docs/assets/<name>")
    def docs_asset(name: str) -> Response:
        return _with_csp(send_from_directory(ASSETS, name, max_age=86400))

    api = _Api(app)
    api.spec.components.schemas.pop("PaginationMetadata", None)  # nothing here has pages
    return api


def _with_csp(reply: Response) -> Response:
    reply.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return reply
