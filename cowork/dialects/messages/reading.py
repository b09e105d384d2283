"""The bodies of `POST /v1/messages` and of its `count_tokens` as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from cowork.dialects import body as fields
from cowork.dialects.body import Said
from cowork.dialects.parts import read_content
from cowork.dialects.request import ConversationName, DialectRequest, NameSource
from cowork.dialects.tools import forced_tool, ignored_tools
from cowork.errors import InvalidValue

API = "messages"
_ROLES = ("user", "assistant")
# Fields that would have changed the answer, and do not.
_UNFOLLOWED = ("max_tokens", "temperature", "top_k", "top_p", "stop_sequences", "mcp_servers")
_THINKS = ("enabled", "adaptive")
# What Claude Code calls its user: whoever it is, and behind this the session.
_SESSION = re.compile(r"_session_(.+)\Z", re.DOTALL)


def read_messages(given: Mapping[str, Any], *, rejects_tools: bool = False) -> DialectRequest:
    """What is asked.  Raises `InvalidValue` with the place of what is wrong.

    `rejects_tools`: a client that declares tools is refused, since none of them is called.
    """
    prompts, said = conversation_in(given)
    history, question = fields.split(said)
    forced = forced_tool(given)
    options = fields.object_in(given, "output_config")
    form = options.get("format") or given.get("output_format")
    place = "output_config.format" if options.get("format") else "output_format"
    schema = fields.schema_in(fields.object_in({"form": form}, "form", place), place)
    name, person = _caller_in(given)
    model = fields.text_in(given, "model")
    thinking = fields.object_in(given, "thinking").get("type") in _THINKS
    unfollowed = tuple(key for key in _UNFOLLOWED if given.get(key) not in (None, [], {}))
    return DialectRequest(
        api=API,
        question=question.text,
        history=history,
        attachments=question.attachments,
        name=name,
        scope=fields.scope_in(person),
        model=model,
        cli_model=fields.cli_model(model),
        effort=fields.effort_in(options, "effort"),
        system_prompt=fields.system_prompt(prompts),
        output_schema=forced.schema if forced is not None else schema,
        forced_tool=forced,
        is_streaming=fields.flag_in(given, "stream"),
        events=frozenset({"thinking"}) if thinking else frozenset(),
        ignored=(*ignored_tools(given, forced, rejects=rejects_tools), *unfollowed),
    )


def conversation_in(given: Mapping[str, Any]) -> tuple[list[str], list[Said]]:
    """The texts of the system, and what was said.  Raises `InvalidValue`."""
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidValue("must be a list of messages", field="messages")
    prompts = [read_content(given.get("system"), "system").text]
    said: list[Said] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, dict):
            raise InvalidValue("each message must be an object", field=where)
        role = message.get("role")
        content = read_content(message.get("content"), f"{where}.content")
        if role == "system":
            prompts.append(content.text)
        elif isinstance(role, str) and role in _ROLES:
            said.append(Said(role, content))
        else:
            sentence = f"the role must be one of system, {', '.join(_ROLES)}"
            raise InvalidValue(sentence, field=f"{where}.role")
    return prompts, said


def _caller_in(given: Mapping[str, Any]) -> tuple[ConversationName | None, str | None]:
    """The conversation's name, and who asks, of `metadata.user_id`."""
    user = fields.object_in(given, "metadata").get("user_id")
    if not isinstance(user, str):
        return None, None
    session, person = _session_in(user)
    name = None if session is None else ConversationName(session, NameSource.FRONT_END)
    return name, person


def _session_in(user: str) -> tuple[str | None, str | None]:
    """The session that Claude Code names there, in either of its forms; and whoever it is."""
    if (found := _SESSION.search(user)) is not None:
        return found[1], user[: found.start()] or None
    if user.startswith("{"):
        try:
            told = orjson.loads(user)
        except orjson.JSONDecodeError:
            return None, user
        session, person = told.get("session_id"), told.get("device_id")
        if isinstance(session, str):
            return session, person if isinstance(person, str) else None
    return None, user
