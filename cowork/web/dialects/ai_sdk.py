"""`/api/chat`: the AI SDK's chats, as `useChat` asks for them."""

from __future__ import annotations

from flask import Response, g, jsonify

from cowork.dialects.ai_sdk.messages import ui_messages
from cowork.dialects.ai_sdk.reading import API, read_chat
from cowork.dialects.ai_sdk.rendering import DEFAULT_EVENTS, UiMessageRenderer
from cowork.errors import SessionNotFound, TurnNotFound
from cowork.turns.conversations import Conversations
from cowork.turns.service import TurnService
from cowork.turns.turn import Turn
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.dialects.asking import Asking
from cowork.web.project_of import project_of
from cowork.web.schemas.ai_sdk import UiChatBody, UiMessageReply
from cowork.web.schemas.base import MAX_PAGE
from cowork.web.schemas.dialects import DialectHeaders

# Without it the client does not take the reply for a stream of its protocol.
PROTOCOL = {"x-vercel-ai-ui-message-stream": "v1"}
_TEXT = {"content_type": "text/plain", "schema": {"type": "string"}}
# Before OpenAPI 3.2 the schema is one of each event.
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
SENTENCE = "Every error is its sentence, which the client shows; its code is in `X-Error-Code`"


def blueprint(
    asking: Asking, turn_service: TurnService, conversations: Conversations
) -> CoworkBlueprint:
    """The endpoints; a chat is the caller's project of its id."""
    routes = CoworkBlueprint(
        "ai_sdk_chats", __name__, description="The AI SDK's chats, on our turns"
    )

    @routes.post("/api/chat")
    @routes.body(UiChatBody)
    @routes.headers(DialectHeaders)
    @routes.response(200, _EVENT, content_type="text/event-stream")
    @routes.alt_response(400, description=SENTENCE, **_TEXT)
    def create_chat_message() -> Response:
        """Ask as the AI SDK's `useChat`; the answer is its UI message stream."""
        begun, _ = asking.begin(read_chat)
        renderer = UiMessageRenderer(begun.turn, begun.head.events)
        reply = asking.stream(begun, renderer)
        reply.headers.update(PROTOCOL)
        return reply

    @routes.get("/api/chat/<chat_id>/stream")
    @routes.response(200, _EVENT, content_type="text/event-stream")
    @routes.alt_response(204, description="Nothing is answered")
    @routes.alt_response(400, description=SENTENCE, **_TEXT)
    def resume_chat(chat_id: str) -> Response:
        """What is answered in the chat now, from its first frame; the client builds it anew."""
        turn = _running(turn_service, chat_id)
        if turn is None:
            return Response(status=204)
        g.turn_id = turn.id
        is_ours = turn.question.api == API  # else another client has asked it
        events = frozenset(turn.question.events) if is_ours else DEFAULT_EVENTS
        reply = asking.resume(turn, UiMessageRenderer(turn, events))
        reply.headers.update(PROTOCOL)
        return reply

    @routes.get("/api/chat/<chat_id>/messages")
    @routes.response(200, UiMessageReply(many=True))
    @routes.alt_response(400, description=SENTENCE, **_TEXT)
    def list_chat_messages(chat_id: str) -> Response:
        """The last messages of the chat, oldest first, for the hook; none of one that is new."""
        try:
            page = conversations.page(project_of(chat_id), limit=MAX_PAGE, last=True)
        except SessionNotFound:
            return jsonify([])
        return jsonify(ui_messages(page.messages))

    @routes.post("/api/chat/<chat_id>/stop")
    @routes.response(204)
    @routes.alt_response(400, description=SENTENCE, **_TEXT)
    def stop_chat(chat_id: str) -> Response:
        """Interrupt what is answered in the chat; nothing to interrupt is no error."""
        turn_service.interrupts.interrupt_project(project_of(chat_id))
        return Response(status=204)

    return routes


def _running(turn_service: TurnService, chat_id: str) -> Turn | None:
    turn_id = turn_service.describe(project_of(chat_id)).turn_id
    if turn_id is None:
        return None
    try:
        return turn_service.registry.get(g.owner, turn_id)
    except TurnNotFound:  # it has ended just now, in another worker
        return None
