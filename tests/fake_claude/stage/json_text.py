"""JSON by the C half of `json`, whose other half costs 10 ms at a start that takes 20."""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_WHITESPACE = " \t\n\r"


def loads(text: str) -> Any:
    """The value of a JSON text; raises ValueError, also for what only Python takes (NaN)."""
    stripped = text.strip(_WHITESPACE)
    try:
        value, end = _scan(stripped, 0)
    except StopIteration:
        raise ValueError(text) from None
    if end != len(stripped):
        raise ValueError(text)
    return value


def dumps(value: object) -> str:
    """The JSON text of a value, on one line, in ASCII."""
    return "".join(_encode_ascii(value, 0))


def dumps_unescaped(value: object) -> str:
    """The JSON text of a value without spaces, in Unicode."""
    return "".join(_encode(value, 0))


def _refuse(value: object) -> NoReturn:
    raise ValueError(value)  # NaN and Infinity are Python's JSON, not JavaScript's


class _Scanning:
    """What `make_scanner` reads from a decoder."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = staticmethod(_refuse)


_scan = make_scanner(_Scanning())  # type: ignore[arg-type]  # typeshed asks for a scanner
_encode_ascii = make_encoder(
    None, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True
)
_encode = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, True)
