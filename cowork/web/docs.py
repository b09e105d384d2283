"""`/docs`, the interactive page, and `/openapi.json`; all of it served from here."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import flask_swagger_ui
import orjson
from flask import Flask, Response, current_app, send_from_directory
from flask_smorest import Api, Blueprint

from cowork.web.openapi import completed
from cowork.web.schemas.problems import ProblemReply

ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
API_CONFIG: dict[str, Any] = {
    "API_TITLE": "XO Cowork API",
    # The contract's: who has no key learns nothing of this server.
    "API_VERSION": "1",
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
    # The document is completed by `openapi.py`.
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
# Our own page; the rest of the assets is swagger-ui's.
PAGE = Path(__file__).with_name("docs_page")
_OWN = frozenset({"start.css", "start.js"})


class _Api(Api):
    """flask-smorest's, with our shape of an error; documents nothing before it is asked for.

    To document what nobody may ever look at takes nearly half of the time in which the application
    is made.
    """

    ERROR_SCHEMA = ProblemReply

    def __init__(self, app: Flask) -> None:
        self._undocumented: list[tuple[Blueprint, str]] = []
        self._documenting = threading.Lock()
        self._document: bytes | None = None
        super().__init__(app)

    def register_blueprint(self, blp: Blueprint, **options: Any) -> None:
        """Its routes now, their documentation later."""
        name = options.get("name", blp.name)
        current = self._app.extensions["flask-smorest"]
        current["blp_name_to_api"][name] = self
        self._app.register_blueprint(blp, **options)
        self._undocumented.append((blp, name))

    def _openapi_json(self) -> Response:
        """The whole document, made when it is first asked for."""
        with self._documenting:
            if self._document is None:
                self._document = self._make_document()
        return Response(self._document, mimetype="application/json")

    def _make_document(self) -> bytes:
        while self._undocumented:
            blp, name = self._undocumented.pop(0)
            blp.register_views_in_doc(self, self._app, self.spec, name=name, parameters=None)
            self.spec.tag({"name": name, "description": blp.description})
        found = completed(self.spec.to_dict(), current_app)
        return orjson.dumps(found, option=orjson.OPT_INDENT_2)


def register(app: Flask) -> Api:
    """Make the API that blueprints are registered with, and the page's own files."""
    app.config.update(API_CONFIG)

    @app.get("/docs")
    def docs_page() -> Response:
        return _with_csp(send_from_directory(PAGE, "page.html"))

    @app.get("/docs/assets/<name>")
    def docs_asset(name: str) -> Response:
        if name in _OWN:
            return _with_csp(send_from_directory(PAGE, name))
        return _with_csp(send_from_directory(ASSETS, name, max_age=86400))

    api = _Api(app)
    api.spec.components.schemas.pop("PaginationMetadata", None)  # nothing here has pages
    return api


def _with_csp(reply: Response) -> Response:
    reply.headers.pop("ETag", None)  # a checksum of the file's path is in it
    reply.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return reply
