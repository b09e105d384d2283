"""The body of `POST /api/chat`, as `useChat`'s transport sends it, as a `DialectRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cowork.claude.launch_options import REQUESTED_MODES
from cowork.dialects import body as fields
from cowork.dialects.ai_sdk.rendering import DEFAULT_EVENTS
from cowork.dialects.body import Said
from cowork.dialects.parts import Attachment, Content, data_url
from cowork.dialects.request import ConversationName, DialectRequest, NameSource
from cowork.errors import InvalidValue
from cowork.turns.continuation import call_text

API = "ai_sdk"
# As `/ask_question` has them.
EVENTS = frozenset({"tool", "thinking", "status", "approval", "usage", "subagent", "todo"})
_ROLES = ("user", "assistant", "system")
_KINDS = {"image": "image", "application": "document", "text": "document"}


def read_chat(given: Mapping[str, Any]) -> DialectRequest:
    """What is asked.  Raises `InvalidValue` with the place of what is wrong.

    `messages` are the whole chat; `message` is the new one alone, of a client that leaves the chat
    to the server, so that its session goes on.
    """
    is_slim = "messages" not in given
    messages = _messages_in(given)
    history, question = fields.split([each for each in messages if each.role != "system"])
    prompts = [fields.text_in(given, "system")]
    prompts += [each.content.text for each in messages if each.role == "system"]
    model = fields.text_in(given, "model")
    name = fields.text_in(given, "id")
    source = NameSource.PROJECT if is_slim else NameSource.CHAT
    return DialectRequest(
        api=API,
        question=question.text,
        history=history,
        attachments=question.attachments,
        name=ConversationName(name, source) if name else None,
        # An assistant's message has its turn's id.
        node=next((each.node for each in reversed(history) if each.role == "assistant"), None),
        model=model,
        cli_model=fields.cli_model(model),
        effort=fields.effort_in(given, "effort"),
        system_prompt=fields.system_prompt(prompts),
        permission_mode=_mode_in(given),
        is_streaming=True,
        events=_events_in(given),
    )


def _messages_in(given: Mapping[str, Any]) -> list[Said]:
    if "messages" not in given:
        if given.get("trigger") == "regenerate-message":
            raise InvalidValue("to regenerate, the whole chat is needed", field="messages")
        return [_said(given.get("message"), "message")]
    messages = given["messages"]
    if not isinstance(messages, list):
        raise InvalidValue("must be a list", field="messages")
    return [_said(each, f"messages[{place}]") for place, each in enumerate(messages)]


def _said(given: object, param: str) -> Said:
    if not isinstance(given, dict) or given.get("role") not in _ROLES:
        sentence = f"a message must be an object whose role is one of {', '.join(_ROLES)}"
        raise InvalidValue(sentence, field=param)
    parts = given.get("parts")
    if not isinstance(parts, list):
        raise InvalidValue("the parts of a message must be a list", field=f"{param}.parts")
    texts: list[str] = []
    attachments: list[Attachment] = []
    for place, part in enumerate(parts):
        where = f"{param}.parts[{place}]"
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidValue("a part must be an object with a type", field=where)
        if part["type"] == "file":
            attachments.append(_file(part, where))
        elif text := _text_of(part, where):
            texts.append(text)
    name = given.get("id")
    node = name if given["role"] == "assistant" and isinstance(name, str) else None
    return Said(given["role"], Content("\n\n".join(texts), tuple(attachments)), node)


def _text_of(part: Mapping[str, Any], param: str) -> str:
    """What the part says, of those that say something; others are passed over."""
    if part["type"] == "text":
        if not isinstance(part.get("text"), str):
            raise InvalidValue("the text must be a string", field=f"{param}.text")
        return str(part["text"])
    if part["type"] == "dynamic-tool":
        return call_text(part.get("toolName"), part.get("input"))
    return ""


def _file(part: Mapping[str, Any], param: str) -> Attachment:
    media_type = part.get("mediaType")
    kind = _KINDS.get(media_type.partition("/")[0]) if isinstance(media_type, str) else None
    if kind is None:
        raise InvalidValue("the media type is not taken", field=f"{param}.mediaType")
    name = part.get("filename") if kind == "document" else None
    return data_url(part.get("url"), f"{param}.url", kind=kind, name=name)


def _mode_in(given: Mapping[str, Any]) -> str | None:
    mode = fields.text_in(given, "permission_mode")
    if mode is not None and mode not in REQUESTED_MODES:
        raise InvalidValue(f"must be one of {', '.join(REQUESTED_MODES)}", field="permission_mode")
    return mode


def _events_in(given: Mapping[str, Any]) -> frozenset[str]:
    events = given.get("events")
    if events is None:
        return DEFAULT_EVENTS
    if not isinstance(events, list) or not all(isinstance(each, str) for each in events):
        raise InvalidValue("must be a list of names", field="events")
    if not EVENTS.issuperset(events):
        raise InvalidValue(f"must be among {', '.join(sorted(EVENTS))}", field="events")
    return frozenset(events)
