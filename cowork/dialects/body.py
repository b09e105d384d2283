"""Reads fields of bodies that several dialects have: strict about types, and about nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cowork.claude.turn_options import EFFORTS
from cowork.dialects.answer_head import DEFAULT_MODEL
from cowork.dialects.parts import Content
from cowork.dialects.request import HistoryMessage
from cowork.errors import InvalidValue

MAX_PROMPT_LENGTH = 100_000
# The CLI's own model, whichever that is.
_OWN_MODEL = (DEFAULT_MODEL, "default")
_UNNAMED = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation, as a dialect's reading finds it."""

    role: str
    content: Content
    node: str | None = None


def text_in(body: Mapping[str, Any], key: str) -> str | None:
    """A text or None; raises `InvalidValue` for anything else."""
    found = body.get(key)
    if found is None or isinstance(found, str):
        return found
    raise InvalidValue("must be a string", field=key)


def flag_in(body: Mapping[str, Any], key: str, param: str | None = None) -> bool:
    """A boolean, False where there is none; raises `InvalidValue` for anything else."""
    found = body.get(key)
    if found is None or isinstance(found, bool):
        return bool(found)
    raise InvalidValue("must be true or false", field=param or key)


def object_in(body: Mapping[str, Any], key: str, param: str | None = None) -> Mapping[str, Any]:
    """An object, empty where there is none; raises `InvalidValue` for anything else."""
    found = body.get(key)
    if found is None:
        return {}
    if isinstance(found, dict):
        return found
    raise InvalidValue("must be an object", field=param or key)


def cli_model(model: str | None) -> str | None:
    """What the CLI is told of the model that a request names; None for its own."""
    return None if not model or model in _OWN_MODEL else model


def effort_in(body: Mapping[str, Any], key: str) -> str | None:
    """The effort that is asked for, where it is one of the CLI's."""
    found = body.get(key)
    return found if isinstance(found, str) and found in EFFORTS else None


def schema_in(given: Mapping[str, Any], param: str) -> Mapping[str, Any] | None:
    """The schema that the answer has to fit, of a `response_format` or its like; None for text.

    `{"type": "json_schema", "json_schema": {"schema"}}`, or with `schema` beside the type.
    """
    kind = given.get("type")
    if kind == "json_object":
        return _UNNAMED
    if kind != "json_schema":
        return None
    holder = given.get("json_schema", given)
    schema = holder.get("schema") if isinstance(holder, dict) else None
    if schema is None and isinstance(holder, dict) and holder is not given:
        return _UNNAMED
    if not isinstance(schema, dict):
        raise InvalidValue("the schema must be an object", field=param)
    return schema


def system_prompt(texts: Iterable[str | None]) -> str | None:
    """System and developer texts as one; raises `InvalidValue` where that is too long."""
    joined = "\n\n".join(text for text in texts if text and text.strip())
    if len(joined) > MAX_PROMPT_LENGTH:
        sentence = f"system texts may have {MAX_PROMPT_LENGTH} characters together"
        raise InvalidValue(sentence, field="messages")
    return joined or None


def scope_in(*given: object) -> str | None:
    """The person who asks, the first that is named: a text, or an object's `id`."""
    for each in given:
        found = each.get("id") if isinstance(each, dict) else each
        if isinstance(found, str) and found.strip():
            return found
    return None


def split(
    said: Sequence[Said], param: str = "messages"
) -> tuple[tuple[HistoryMessage, ...], Content]:
    """What was said before, and the question: the last run of user messages, as one.

    Earlier runs of user messages are one too, as they were one question.  Raises `InvalidValue`.
    """
    if not said or said[-1].role != "user":
        raise InvalidValue("the last message must be the user's", field=param)
    runs: list[Said] = []
    for each in said:
        if runs and each.role == "user" == runs[-1].role:
            runs[-1] = Said("user", _joined(runs[-1].content, each.content))
        else:
            runs.append(each)
    question = runs.pop().content
    if not question.text.strip():
        raise InvalidValue("the question must not be empty", field=param)
    history = tuple(
        HistoryMessage(each.role, each.content.text, each.content.attachments, each.node)
        for each in runs
    )
    return history, question


def _joined(one: Content, other: Content) -> Content:
    texts = [text for text in (one.text, other.text) if text]
    return Content("\n\n".join(texts), one.attachments + other.attachments)
