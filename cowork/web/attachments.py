"""What a question may bring besides its text: images, PDFs and texts, checked by their bytes."""

from __future__ import annotations

import base64
import binascii
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from marshmallow import ValidationError, fields
from PIL import Image

from cowork.web.fields import has_control_characters

MAX_COUNT = 20
MAX_BASE64 = 30 * 2**20
MAX_NAME = 200
MAX_IMAGE_BYTES = 5 * 2**20
MAX_PDF_BYTES = 20 * 2**20
MAX_TEXT_BYTES = 2**20
# By its header: a small file can unpack to gigabytes.
MAX_PIXELS = 40_000_000
_IMAGES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
}
_TEXTS = ("text/plain", "text/markdown", "text/csv")
_PDF = "application/pdf"
MEDIA_TYPES = {"image": tuple(_IMAGES), "document": (_PDF, *_TEXTS)}
_KEYS = {"type", "media_type", "data", "name"}
# A PDF may have something before its header.
_PDF_HEAD = 1024


class Attachments(fields.Field[list[dict[str, Any]]]):
    """A list of attachments, as content blocks of the CLI's (`as_blocks`)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, metadata=_DOCUMENT)

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise _fault("list_type", "Input should be a valid list")
        if len(value) > MAX_COUNT:
            raise _fault("too_long", f"Input should have at most {MAX_COUNT} items")
        size = sum(len(_data_of(each)) for each in value)
        if size > MAX_BASE64:
            raise _fault("too_long", f"Input should have at most {MAX_BASE64} bytes of base64")
        blocks, faults = [], {}
        for place, each in enumerate(value):
            try:
                blocks.append(_block_of(each))
            except ValidationError as fault:
                faults[place] = fault.messages
        if faults:
            raise ValidationError(faults)
        return blocks


def _data_of(found: Any) -> str:
    data = found.get("data") if isinstance(found, dict) else None
    return data if isinstance(data, str) else ""


def _block_of(found: Any) -> dict[str, Any]:
    """A content block; raises `ValidationError` with the place of what is wrong."""
    if not isinstance(found, dict):
        raise _fault("dict_type", "Input should be a valid dictionary")
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        raise ValidationError({str(unknown[0]): [_message("extra_forbidden", "Unknown key")]})
    kind, media_type = found.get("type"), found.get("media_type")
    if not isinstance(kind, str) or kind not in MEDIA_TYPES:
        raise _at("type", f"Input should be one of {', '.join(MEDIA_TYPES)}")
    if media_type not in MEDIA_TYPES[kind]:
        raise _at("media_type", f"Input should be one of {', '.join(MEDIA_TYPES[kind])}")
    try:
        data = base64.b64decode(_data_of(found), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise _at("data", "Input should be base64 of at least one byte")
    name = _name_of(found.get("name"))
    title = {} if name is None else {"title": name}
    if kind == "image":
        _check_image(data, media_type)
        return {"type": "image", "source": _source(media_type, found["data"])}
    if media_type == _PDF:
        _check(data, MAX_PDF_BYTES, lambda: b"%PDF-" in data[:_PDF_HEAD])
        return {"type": "document", "source": _source(media_type, found["data"]), **title}
    text = _text_of(data)
    source = {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "document", "source": source, **title}


def _source(media_type: str, data: str) -> dict[str, str]:
    return {"type": "base64", "media_type": media_type, "data": data}


def _name_of(name: Any) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        raise _at("name", f"Input should be a text of at most {MAX_NAME} characters")
    if has_control_characters(name):
        raise _at("name", "Input should have no control characters")
    return name


def _check(data: bytes, most: int, is_of_type: Callable[[], bool]) -> None:
    if len(data) > most:
        raise _at("data", f"Input should have at most {most} bytes")
    if not is_of_type():
        raise _at("media_type", "Input should be what the data is")


def _check_image(data: bytes, media_type: str) -> None:
    size: tuple[int, int] | None = None

    def is_of_type() -> bool:
        nonlocal size
        size = _size_of(data, _IMAGES[media_type])
        return size is not None

    _check(data, MAX_IMAGE_BYTES, is_of_type)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise _at("data", f"Input should have at most {MAX_PIXELS} pixels")


def _size_of(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height by the header of an image of that kind; None for what is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=[kind]) as image:
                return image.size
    except Image.DecompressionBombError:
        return MAX_PIXELS, MAX_PIXELS
    except (OSError, ValueError, SyntaxError, OverflowError, MemoryError):
        return None


def _text_of(data: bytes) -> str:
    text = ""

    def is_text() -> bool:
        nonlocal text
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return False
        return "\0" not in text

    _check(data, MAX_TEXT_BYTES, is_text)
    return text


def _message(kind: str, msg: str) -> dict[str, str]:
    return {"type": kind, "msg": msg}


def _fault(kind: str, msg: str) -> ValidationError:
    return ValidationError([_message(kind, msg)])


def _at(key: str, msg: str) -> ValidationError:
    return ValidationError({key: [_message("value_error", msg)]})


_DOCUMENT: Mapping[str, Any] = {
    "type": "array",
    "maxItems": MAX_COUNT,
    "items": {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": list(MEDIA_TYPES)},
            "media_type": {"type": "string", "enum": [*_IMAGES, _PDF, *_TEXTS]},
            "data": {"type": "string", "contentEncoding": "base64", "minLength": 4},
            "name": {"type": "string", "maxLength": MAX_NAME},
        },
        "required": ["type", "media_type", "data"],
    },
    "description": "Images and documents, before the text.",
}
