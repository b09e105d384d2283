"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from __future__ import annotations

from functools import partial

from flask import Response, jsonify, request

from cowork.dialects.messages.count_tokens import count_tokens
from cowork.dialects.messages.reading import read_messages
from cowork.dialects.messages.rendering import MessagesRenderer
from cowork.dialects.messages.reply import messages_reply
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.dialects.asking import Asking
from cowork.web.request_parsing import read_json
from cowork.web.schemas.dialects import DialectHeaders
from cowork.web.schemas.messages import (
    AnthropicError,
    AnthropicMessage,
    CountTokensBody,
    MessagesBody,
    TokenCount,
)

_ERRORS = "Every error has this shape"
ESTIMATED = {"X-Cowork-Estimated": "true"}


def blueprint(asking: Asking, *, rejects_tools: bool) -> CoworkBlueprint:
    """The endpoints; `rejects_tools` as `read_messages` has it."""
    routes = CoworkBlueprint("messages", __name__, description="Anthropic's messages, on our turns")
    read = partial(read_messages, rejects_tools=rejects_tools)

    @routes.post("/v1/messages")
    @routes.body(MessagesBody)
    @routes.headers(DialectHeaders)
    @routes.response(200, AnthropicMessage)
    @routes.alt_response(400, schema=AnthropicError, description=_ERRORS)
    def create_message() -> Response:
        """Ask as a client of Anthropic's messages, streaming or not."""
        begun, is_streaming = asking.begin(read)
        if is_streaming:
            return asking.stream(begun, MessagesRenderer(begun.head))
        return jsonify(messages_reply(begun.head, asking.wait(begun)))

    @routes.post("/v1/messages/count_tokens")
    @routes.body(CountTokensBody)
    @routes.response(200, TokenCount)
    @routes.alt_response(400, schema=AnthropicError, description=_ERRORS)
    def count_message_tokens() -> Response:
        """About how many tokens a conversation takes."""
        reply = jsonify({"input_tokens": count_tokens(read_json(request))})
        reply.headers.update(ESTIMATED)
        return reply

    return routes
