"""The body of `POST /v1/responses` as a `DialectRequest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cowork.dialects import body as fields
from cowork.dialects.answer_head import DEFAULT_MODEL
from cowork.dialects.body import Said
from cowork.dialects.parts import Content, read_content
from cowork.dialects.request import ConversationName, DialectRequest, ForcedTool, NameSource
from cowork.dialects.tools import forced_tool, ignored_tools
from cowork.errors import InvalidValue, PreviousResponseNotFound
from cowork.turns.continuation import call_text

API = "responses"
PREFIX = "resp_"
# Of what an answer repeats of its request: of its instructions, and of its metadata as JSON.
MAX_REPEATED_BYTES = 8 * 1024
# Of a format's name, and of an id.
MAX_NAME_LENGTH = 64
_FORMATS = ("text", "json_object", "json_schema")
_PROMPTS = ("system", "developer")
_ROLES = ("user", "assistant")
# Fields that would have changed the answer, and do not.
_UNFOLLOWED = (
    *("temperature", "top_p", "top_logprobs", "max_output_tokens", "max_tool_calls", "include"),
    *("truncation", "prompt"),
)


def read_response(given: Mapping[str, Any], *, rejects_tools: bool = False) -> DialectRequest:
    """What is asked.  Raises `InvalidValue` with the place of what is wrong.

    And `PreviousResponseNotFound` for what is no id of ours.  `rejects_tools`: a client that
    declares tools is refused, since none of them is called.
    """
    instructions = fields.text_in(given, "instructions")
    prompts, said = _input_in(given)
    history, question = fields.split(said, "input")
    forced = forced_tool(given)
    form = fields.object_in(fields.object_in(given, "text"), "format", "text.format")
    schema = fields.schema_in(form, "text.format")
    model = fields.text_in(given, "model")
    previous = fields.text_in(given, "previous_response_id")
    unfollowed = tuple(key for key in _UNFOLLOWED if given.get(key) not in (None, [], {}))
    return DialectRequest(
        api=API,
        question=question.text,
        history=history,
        attachments=question.attachments,
        name=_conversation_in(given),
        scope=fields.scope_in(given.get("user"), given.get("safety_identifier")),
        node=None if previous is None else _turn_of(previous),
        model=model,
        cli_model=fields.cli_model(model),
        effort=fields.effort_in(fields.object_in(given, "reasoning"), "effort"),
        system_prompt=fields.system_prompt([instructions, *prompts]),
        output_schema=forced.schema if forced is not None else schema,
        forced_tool=forced,
        is_streaming=fields.flag_in(given, "stream"),
        is_background=fields.flag_in(given, "background"),
        ignored=(*ignored_tools(given, forced, rejects=rejects_tools), *unfollowed),
        echo=_echo(given, form, forced),
    )


def _turn_of(response_id: str) -> str:
    if not response_id.startswith(PREFIX) or len(response_id) > MAX_NAME_LENGTH:
        sentence = "no response of this server has such an id"
        raise PreviousResponseNotFound(sentence, field="previous_response_id")
    return response_id.removeprefix(PREFIX)


def _echo(
    given: Mapping[str, Any], form: Mapping[str, Any], forced: ForcedTool | None
) -> dict[str, Any]:
    """What the answer repeats of its request, whenever it is asked for; of bounded size."""
    instructions = fields.text_in(given, "instructions") or ""
    metadata = fields.object_in(given, "metadata")
    if len(orjson.dumps(metadata)) > MAX_REPEATED_BYTES:
        raise InvalidValue(f"may have {MAX_REPEATED_BYTES} bytes", field="metadata")
    is_short = 0 < len(instructions.encode(errors="replace")) <= MAX_REPEATED_BYTES
    kind, name = form.get("type"), form.get("name")
    told = {"type": kind if kind in _FORMATS else "text"}
    if isinstance(name, str):
        told["name"] = name[:MAX_NAME_LENGTH]
    return {
        "model": fields.text_in(given, "model") or DEFAULT_MODEL,
        "instructions": instructions if is_short else None,
        "previous_response_id": fields.text_in(given, "previous_response_id"),
        "metadata": dict(metadata),
        "format": told,
        "background": fields.flag_in(given, "background"),
        "tool": None if forced is None else forced.name,
    }


def _conversation_in(given: Mapping[str, Any]) -> ConversationName | None:
    found = given.get("conversation")
    name = found.get("id") if isinstance(found, dict) else found
    if name is None:
        return None
    if not isinstance(name, str):
        raise InvalidValue("must be an id, or an object with one", field="conversation")
    return ConversationName(name, NameSource.PROJECT)


def _input_in(given: Mapping[str, Any]) -> tuple[list[str], list[Said]]:
    """The texts of the system and of developers, and what was said."""
    found = given.get("input")
    if isinstance(found, str):
        return [], [Said("user", Content(found))]
    if not isinstance(found, list) or not found:
        raise InvalidValue("must be a text or a list of items", field="input")
    prompts: list[str] = []
    said: list[Said] = []
    for place, item in enumerate(found):
        where = f"input[{place}]"
        if not isinstance(item, dict):
            raise InvalidValue("each item must be an object", field=where)
        kind = item.get("type", "message")
        if kind == "message":
            _add_message(item, where, prompts, said)
        elif kind == "function_call":
            text = call_text(item.get("name"), item.get("arguments"))
            said.append(Said("assistant", Content(text)))
        elif kind == "function_call_output":
            said.append(Said("tool", _output_of(item, where)))
    return prompts, said  # items of other types say nothing to us: reasoning, references


def _add_message(item: Mapping[str, Any], param: str, prompts: list[str], said: list[Said]) -> None:
    role = item.get("role")
    content = read_content(item.get("content"), f"{param}.content")
    if role in _PROMPTS:
        prompts.append(content.text)
    elif isinstance(role, str) and role in _ROLES:
        said.append(Said(role, content))
    else:
        roles: Sequence[str] = (*_PROMPTS, *_ROLES)
        raise InvalidValue(f"the role must be one of {', '.join(roles)}", field=f"{param}.role")


def _output_of(item: Mapping[str, Any], param: str) -> Content:
    output = item.get("output")
    return Content(output) if isinstance(output, str) else read_content(output, f"{param}.output")
