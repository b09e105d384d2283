"""Content parts, as all dialects write them: texts, images, documents, and calls of tools.

What is attached is not checked here but for its form: `Attachment` is what `/ask_question` takes.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cowork.errors import InvalidValue
from cowork.turns.continuation import call_text

_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,", re.IGNORECASE)
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_DOCUMENTS = ("application/pdf", "text/plain", "text/markdown", "text/csv")
# Some clients write it so.
_MEDIA_TYPES = {"image/jpg": "image/jpeg"}

# `type` (`image`, `document`), `media_type`, `data` (base64), and perhaps `name`.
Attachment = dict[str, str]
Part = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What one message says: its texts, joined by blank lines, and what is attached to it."""

    text: str
    attachments: tuple[Attachment, ...] = ()


def read_content(content: object, param: str) -> Content:
    """A message's content: a text, a list of parts, or nothing.

    Raises `InvalidValue` with the place of what is wrong; parts that say nothing to us (thinking,
    references, the agent's own calls) are passed over.
    """
    if content is None:
        return Content("")
    if isinstance(content, str):
        return Content(content)
    if not isinstance(content, list):
        raise InvalidValue("the content must be a text or a list of parts", field=param)
    texts: list[str] = []
    attachments: list[Attachment] = []
    for place, part in enumerate(content):
        where = f"{param}[{place}]"
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidValue("each part must be an object with a type", field=where)
        if (read := _ATTACHED.get(part["type"])) is not None:
            attachments.append(read(part, where))
        elif text := _text_of(part, where):
            texts.append(text)
    return Content("\n\n".join(texts), tuple(attachments))


def data_url(url: object, param: str, *, kind: str, name: object = None) -> Attachment:
    """What a data URL holds; raises `InvalidValue` for any other URL: nothing is fetched."""
    head = _DATA_URL.match(url) if isinstance(url, str) else None
    if head is None or not isinstance(url, str):
        sentence = f"{kind}s are taken as a data URL (data:...;base64,...): nothing is fetched"
        raise InvalidValue(sentence, field=param)
    return _attachment(kind, head[1], url[head.end() :], param, name)


def _attachment(
    kind: str, media_type: object, data: object, param: str, name: object = None
) -> Attachment:
    media_type = _MEDIA_TYPES.get(str(media_type).lower(), str(media_type).lower())
    known = _IMAGES if kind == "image" else _DOCUMENTS
    if media_type not in known:
        raise InvalidValue(f"the media type must be one of {', '.join(known)}", field=param)
    if not isinstance(data, str) or not data:
        raise InvalidValue("the data must be base64", field=param)
    named = {"name": name} if isinstance(name, str) and name else {}
    return {"type": kind, "media_type": media_type, "data": data, **named}


def _text_of(part: Part, param: str) -> str:
    match part["type"]:
        case "text" | "input_text" | "output_text" | "summary_text":
            text = part.get("text")
            if not isinstance(text, str):
                raise InvalidValue("the text must be a string", field=f"{param}.text")
            return text
        case "refusal":
            return str(part.get("refusal") or "")
        case "tool_use":  # a `server_tool_use` is one of our own, and no part of the answer
            return call_text(part.get("name"), part.get("input"))
        case "tool_result":
            return _result_text(part.get("content"))
    return ""


def _result_text(content: object) -> str:
    """What a tool gave back, as far as it is text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [each.get("text") for each in parts if isinstance(each, dict)]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _image_url(part: Part, param: str) -> Attachment:
    """OpenAI's `image_url` (`{"url"}`) and `input_image` (a string)."""
    found = part.get("image_url")
    url = found.get("url") if isinstance(found, dict) else found
    return data_url(url, f"{param}.image_url", kind="image")


def _source(part: Part, param: str) -> Attachment:
    """Anthropic's `image` and `document`."""
    kind, source, where = part["type"], part.get("source"), f"{param}.source"
    title = part.get("title")
    if not isinstance(source, dict) or source.get("type") not in ("base64", "text"):
        raise InvalidValue(f"{kind}s are taken as base64: nothing is fetched", field=where)
    data = source.get("data")
    if source["type"] == "base64":
        return _attachment(kind, source.get("media_type"), data, where, title)
    if kind != "document" or not isinstance(data, str):
        raise InvalidValue("a text is the source of a document", field=where)
    encoded = b64encode(data.encode(errors="replace")).decode()
    return _attachment("document", "text/plain", encoded, where, title)


def _file(part: Part, param: str) -> Attachment:
    """OpenAI's `file` (`{"file": {...}}`) and `input_file`."""
    found = part.get("file") if part["type"] == "file" else part
    if not isinstance(found, dict) or "file_data" not in found:
        raise InvalidValue("files are taken by their data (file_data)", field=param)
    where, name = f"{param}.file_data", found.get("filename")
    if _is_image(found["file_data"]):
        return data_url(found["file_data"], where, kind="image")
    return data_url(found["file_data"], where, kind="document", name=name)


def _is_image(url: object) -> bool:
    return isinstance(url, str) and url[:11].lower() == "data:image/"


_ATTACHED: Mapping[str, Callable[[Part, str], Attachment]] = {
    "image_url": _image_url,
    "input_image": _image_url,
    "image": _source,
    "document": _source,
    "file": _file,
    "input_file": _file,
}
