"""`POST /v1/chat/completions`."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Response, jsonify

from cowork.dialects.chat.reading import read_chat
from cowork.dialects.chat.rendering import ChatRenderer
from cowork.dialects.chat.reply import chat_reply
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.dialects.asking import Asking
from cowork.web.schemas.chat import ChatBody, ChatCompletion
from cowork.web.schemas.dialects import DialectHeaders, OpenAiError


def blueprint(asking: Asking, *, rejects_tools: bool) -> CoworkBlueprint:
    """The endpoint; `rejects_tools` as `read_chat` has it."""
    routes = CoworkBlueprint(
        "chat_completions", __name__, description="OpenAI's chat completions, on our turns"
    )
    read = partial(read_chat, rejects_tools=rejects_tools)

    @routes.post("/v1/chat/completions")
    @routes.body(ChatBody)
    @routes.headers(DialectHeaders)
    @routes.response(200, ChatCompletion)
    @routes.alt_response(400, schema=OpenAiError, description="Every error has this shape")
    def create_chat_completion() -> Response:
        """Ask as a client of OpenAI's chat completions, streaming or not."""
        begun, is_streaming = asking.begin(read)
        if is_streaming:
            return asking.stream(begun, ChatRenderer(begun.head))
        reply: dict[str, Any] = chat_reply(begun.head, asking.wait(begun))
        return jsonify(reply)

    return routes
