"""`/v1/responses`: ask, read again from any place, cancel."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from flask import Response, g, jsonify

from cowork.dialects.responses.reading import PREFIX, read_response
from cowork.dialects.responses.rendering import ResponseRenderer
from cowork.dialects.responses.reply import ResponseHead, response_of
from cowork.errors import TurnNotFound
from cowork.turns.service import TurnService
from cowork.turns.turn import Turn
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.dialects.asking import Asking
from cowork.web.schemas.dialects import DialectHeaders, OpenAiError
from cowork.web.schemas.responses import ResponseBody, ResponseObject, ResponseQuery

# For how long a cancelled turn's end is waited for.
CANCEL_TIMEOUT_S = 5.0
_ERRORS = "Every error has this shape"


def blueprint(asking: Asking, turn_service: TurnService, *, rejects_tools: bool) -> CoworkBlueprint:
    """The endpoints; `rejects_tools` as `read_response` has it."""
    routes = CoworkBlueprint("responses", __name__, description="OpenAI's responses, on our turns")
    read = partial(read_response, rejects_tools=rejects_tools)

    @routes.post("/v1/responses")
    @routes.body(ResponseBody)
    @routes.headers(DialectHeaders)
    @routes.response(200, ResponseObject)
    @routes.alt_response(400, schema=OpenAiError, description=_ERRORS)
    def create_response() -> Response:
        """Ask as a client of OpenAI's responses, streaming or not, or in the background."""
        begun, is_streaming = asking.begin(read)
        if is_streaming:
            return asking.stream(begun, ResponseRenderer(ResponseHead.of(begun.turn)))
        turn = begun.turn
        if turn.question.is_background and turn.done is None:
            return jsonify({**response_of(turn), "status": "queued"})
        asking.wait(begun)
        return jsonify(response_of(turn))

    @routes.get("/v1/responses/<response_id>")
    @routes.arguments(ResponseQuery, location="query")
    @routes.response(200, ResponseObject)
    @routes.alt_response(400, schema=OpenAiError, description=_ERRORS)
    def read_response_again(query: dict[str, Any], response_id: str) -> Response:
        """A response as it stands, or its events behind one that was read."""
        turn = _turn_of(turn_service, response_id)
        if query["stream"] == "false":
            return jsonify(response_of(turn))
        renderer = ResponseRenderer(ResponseHead.of(turn), query["starting_after"])
        return asking.resume(turn, renderer)

    @routes.post("/v1/responses/<response_id>/cancel")
    @routes.response(200, ResponseObject)
    @routes.alt_response(400, schema=OpenAiError, description=_ERRORS)
    def cancel_response(response_id: str) -> Response:
        """Interrupt a response; one that has ended stays as it is."""
        turn = _turn_of(turn_service, response_id)
        turn_service.interrupts.interrupt(turn)
        turn.wait(time.monotonic() + CANCEL_TIMEOUT_S)
        return jsonify(response_of(turn))

    return routes


def _turn_of(turn_service: TurnService, response_id: str) -> Turn:
    """The caller's turn; raises `TurnNotFound` and `TurnExpired`."""
    if not response_id.startswith(PREFIX):
        raise TurnNotFound("no such response")
    turn = turn_service.registry.get(g.owner, response_id.removeprefix(PREFIX))
    g.turn_id = turn.id
    return turn
