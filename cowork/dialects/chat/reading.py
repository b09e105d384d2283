"""The body of `POST /v1/chat/completions` as a `DialectRequest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cowork.dialects import body as fields
from cowork.dialects.body import Said
from cowork.dialects.parts import Content, read_content
from cowork.dialects.request import DialectRequest
from cowork.dialects.tools import forced_tool, ignored_tools
from cowork.errors import InvalidValue
from cowork.turns.continuation import call_text

API = "chat"
_PROMPTS = ("system", "developer")
# The first of each are chat's own; a function's result is a tool's of an earlier version.
_ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
# Fields that would have changed the answer, and do not.
_UNFOLLOWED = (
    *("temperature", "top_p", "top_k", "min_p", "stop", "seed", "max_tokens"),
    *("max_completion_tokens", "logprobs", "top_logprobs", "logit_bias", "frequency_penalty"),
    *("presence_penalty", "repetition_penalty", "modalities", "audio", "prediction"),
    *("verbosity", "web_search_options"),
)


def read_chat(given: Mapping[str, Any], *, rejects_tools: bool = False) -> DialectRequest:
    """What is asked.  Raises `InvalidValue` with the place of what is wrong.

    `rejects_tools`: a client that declares tools is refused, since none of them is called.
    """
    _check_one_choice(given)
    prompts, said = _messages_in(given)
    history, question = fields.split(said)
    forced = forced_tool(given)
    schema = fields.schema_in(fields.object_in(given, "response_format"), "response_format")
    options = fields.object_in(given, "stream_options")
    model = fields.text_in(given, "model")
    unfollowed = tuple(name for name in _UNFOLLOWED if _changes_answer(given.get(name)))
    return DialectRequest(
        api=API,
        question=question.text,
        history=history,
        attachments=question.attachments,
        scope=fields.scope_in(given.get("user"), given.get("safety_identifier")),
        model=model,
        cli_model=fields.cli_model(model),
        effort=fields.effort_in(given, "reasoning_effort"),
        system_prompt=fields.system_prompt(prompts),
        output_schema=forced.schema if forced is not None else schema,
        forced_tool=forced,
        is_streaming=fields.flag_in(given, "stream"),
        wants_usage=fields.flag_in(options, "include_usage", "stream_options.include_usage"),
        ignored=(*ignored_tools(given, forced, rejects=rejects_tools), *unfollowed),
    )


def _changes_answer(value: object) -> bool:
    return value is not None and value is not False


def _check_one_choice(given: Mapping[str, Any]) -> None:
    wanted = given.get("n")
    if wanted is None or (wanted == 1 and not isinstance(wanted, bool)):
        return
    raise InvalidValue("an agent answers once: n must be 1", field="n")


def _messages_in(given: Mapping[str, Any]) -> tuple[list[str], list[Said]]:
    """The texts of the system and of developers, and what was said."""
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidValue("must be a list of messages", field="messages")
    prompts: list[str] = []
    said: list[Said] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, dict):
            raise InvalidValue("each message must be an object", field=where)
        role = message.get("role")
        content = read_content(message.get("content"), f"{where}.content")
        if role in _PROMPTS:
            prompts.append(content.text)
        elif isinstance(role, str) and role in _ROLES:
            said.append(Said(_ROLES[role], _with_calls(message, content)))
        else:
            roles = ", ".join((*_PROMPTS, *_ROLES))
            raise InvalidValue(f"the role must be one of {roles}", field=f"{where}.role")
    return prompts, said


def _with_calls(message: Mapping[str, Any], content: Content) -> Content:
    """The content, and as text what tools the message calls."""
    given, legacy = message.get("tool_calls"), message.get("function_call")
    if not given and not legacy:
        return content
    calls = [each.get("function") for each in _listed(given) if isinstance(each, dict)]
    texts = [content.text] if content.text else []
    texts += [
        call_text(each.get("name"), each.get("arguments"))
        for each in (*calls, legacy)
        if isinstance(each, dict)
    ]
    return Content("\n\n".join(texts), content.attachments)


def _listed(given: object) -> Sequence[Any]:
    return given if isinstance(given, list) else ()
