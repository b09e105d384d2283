"""Fields of request bodies: each has a bound that is checked before its contents are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import orjson
from marshmallow import ValidationError, fields, validate

MAX_NAME_LENGTH = 200
# Not blank, no control characters.
NAME_PATTERN = (
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f]"
    r"[^\u0000-\u001f\u007f-\u009f]*$"
)
MAX_OBJECT_BYTES = 100_000
# Of every text that has no bound of its own.
MAX_TEXT_BYTES = 64 * 1024
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def fault(kind: str, msg: str) -> dict[str, str]:
    """A validation message in the form that `problems.faults_of` passes on."""
    return {"type": kind, "msg": msg}


class Text(fields.String):
    """A string of at most `limit` bytes, None for any number, without lone surrogates.

    Those no UTF-8 could carry on.
    """

    default_error_messages = {  # noqa: RUF012 - marshmallow's own form
        "required": fault("missing", "Field required"),
        "null": fault("string_type", "Input should be a valid string"),
        "invalid": fault("string_type", "Input should be a valid string"),
        "invalid_utf8": fault("string_unicode", "Input should be a valid unicode string"),
    }

    def __init__(self, *, limit: int | None = MAX_TEXT_BYTES, **options: Any) -> None:
        if limit is not None and not isinstance(options.get("validate"), validate.OneOf):
            # No text has more characters than bytes.
            options["metadata"] = {"maxLength": limit, **options.get("metadata", {})}
        super().__init__(**options)
        self._limit = limit

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        if self._limit is not None and len(text) > self._limit:
            raise ValidationError(_too_long(self._limit))
        if text.isascii():
            return text
        if _LONE_SURROGATE.search(text):
            raise self.make_error("invalid_utf8")
        if self._limit is not None and len(text.encode()) > self._limit:
            raise ValidationError(_too_long(self._limit))
        return text


def _too_long(limit: int) -> dict[str, str]:
    return fault("string_too_long", f"Input should have at most {limit} bytes")


class Choices(fields.List[str]):
    """A list of some of `allowed`; what is longer than that is refused unread."""

    def __init__(self, allowed: tuple[str, ...], **options: Any) -> None:
        self._most = len(allowed)
        options["metadata"] = {"maxItems": self._most, **options.get("metadata", {})}
        super().__init__(Text(validate=validate.OneOf(allowed)), **options)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, list) and len(value) > self._most:
            sentence = f"Input should have at most {self._most} items"
            raise ValidationError(fault("too_long", sentence))
        return super()._deserialize(value, *args, **kwargs)


class Day(fields.Date):
    """A date, written YYYY-MM-DD and in no other way that ISO 8601 has."""

    default_error_messages = {  # noqa: RUF012 - marshmallow's own form
        "invalid": fault("date_parsing", "Input should be a date: YYYY-MM-DD"),
    }

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> date:
        if not isinstance(value, str) or not _DAY.fullmatch(value):
            raise self.make_error("invalid")
        try:
            return date.fromisoformat(value)
        except ValueError as impossible:
            raise self.make_error("invalid") from impossible


class Json(fields.Raw):
    """Any JSON of at most `MAX_TEXT_BYTES` bytes."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        try:
            written = orjson.dumps(value)
        except orjson.JSONEncodeError as unwritable:
            sentence = "Input should be JSON of at most 250 levels"
            raise ValidationError(fault("value_error", sentence)) from unwritable
        if len(written) > MAX_TEXT_BYTES:
            sentence = f"Input should have at most {MAX_TEXT_BYTES} bytes"
            raise ValidationError(fault("too_long", sentence))
        return value


class JsonObject(fields.Field[str]):
    """A JSON object, as its own text: of bounded size, and of a depth that can be written again."""

    default_error_messages = {  # noqa: RUF012 - marshmallow's own form
        "null": fault("dict_type", "Input should be a valid dictionary"),
        "invalid": fault("dict_type", "Input should be a valid dictionary"),
        "too_deep": fault("value_error", "Input should be JSON of at most 250 levels"),
        "too_long": fault("too_long", f"Input should have at most {MAX_OBJECT_BYTES} bytes"),
    }

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> str:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        try:
            written = orjson.dumps(value)
        except orjson.JSONEncodeError as unwritable:
            raise self.make_error("too_deep") from unwritable
        if len(written) > MAX_OBJECT_BYTES:
            raise self.make_error("too_long")
        return written.decode()


class Texts(fields.List[str]):
    """A list of at most `most` texts; what is longer is refused unread."""

    def __init__(self, text: Text, *, most: int, **options: Any) -> None:
        self._most = most
        options["metadata"] = {"maxItems": most, **options.get("metadata", {})}
        super().__init__(text, **options)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, list) and len(value) > self._most:
            sentence = f"Input should have at most {self._most} items"
            raise ValidationError(fault("too_long", sentence))
        return super()._deserialize(value, *args, **kwargs)


def has_control_characters(text: str) -> bool:
    """Whether it has some, or half a character."""
    return _CONTROL.search(text) is not None or _LONE_SURROGATE.search(text) is not None


def printable(text: str) -> None:
    """Refuse a text with control characters, and one of nothing but white space."""
    not_blank(text)
    if has_control_characters(text):
        sentence = "Input should have no control characters"
        raise ValidationError(fault("string_pattern_mismatch", sentence))


class JsonDict(fields.Field[dict[str, Any]]):
    """A JSON object, of bounded size and depth."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(JsonObject()._deserialize(value, *args, **kwargs))  # noqa: SLF001 - the same check
        return found


def not_blank(text: str) -> None:
    """Refuse text of nothing but white space."""
    if not text.strip():
        raise ValidationError(fault("string_too_short", "Input should not be blank"))


def at_most(limit: int) -> Callable[[str], None]:
    """A validator that refuses text of more characters."""

    def check(text: str) -> None:
        if len(text) > limit:
            sentence = f"Input should have at most {limit} characters"
            raise ValidationError(fault("string_too_long", sentence))

    return check


def valid_name(name: str) -> None:
    """Refuse what is no project's name: blank, over 200 characters, control characters."""
    not_blank(name)
    at_most(MAX_NAME_LENGTH)(name)
    if _CONTROL.search(name) or _LONE_SURROGATE.search(name):
        sentence = "Input should have no control characters"
        raise ValidationError(fault("string_pattern_mismatch", sentence))
