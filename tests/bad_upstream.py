"""What an upstream may answer that must go no further: bodies and values of its login's replies."""

from __future__ import annotations

import json
from typing import Any


def with_token(**changes: Any) -> str:
    """A consume reply that is right but for `changes`."""
    return json.dumps({"access_token": "a-token-123", "expires_in": 60, **changes})


NOT_AN_OBJECT: dict[str, str | bytes] = {
    "nothing": "",
    "html": "<html>login</html>",
    "half": '{"access_token": "abc"',
    "a list": '[{"access_token": "abc"}]',
    "a string": '"access_token"',
    "a number": "1",
    "null": "null",
    "true": "true",
    "two objects": "{}{}",
    "not utf-8": b'{"access_token": "\xff\xfe"}',
    "utf-16": '{"access_token": "abc"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"access_token": "abc"}',
    "deep": "[" * 200_000,
    "deep object": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "NaN": '{"access_token": "abc", "x": NaN}',
    "Infinity": '{"access_token": "abc", "x": -Infinity}',
    "1e309": '{"access_token": "abc", "x": 1e309}',
    "too many digits": '{"access_token": "abc", "x": ' + "9" * 5000 + "}",
    "a lone surrogate": '{"access_token": "abc", "x": "\\ud800"}',
    "single quotes": "{'access_token': 'abc'}",
    "too large": '{"access_token": "abc", "x": "' + "x" * 2**20 + '"}',
}
LYING_GRANTS = {
    "no token": "{}",
    "token null": with_token(access_token=None),
    "token empty": with_token(access_token=""),
    "token a number": with_token(access_token=123456789),
    "token a list": with_token(access_token=["abc"]),
    "token an object": with_token(access_token={"a": 1}),
    "token true": with_token(access_token=True),
    "token with a newline": with_token(access_token="abc\r\nX-Evil: 1"),
    "token with a space": with_token(access_token="abc def"),
    "token with a NUL": with_token(access_token="abc\x00"),
    "token beyond ASCII": with_token(access_token="tokén"),
    "token too long": with_token(access_token="x" * 16385),
    "refresh a number": with_token(refresh_token=1),
    "refresh with a newline": with_token(refresh_token="a\nb"),
    "refresh too long": with_token(refresh_token="x" * 16385),
    "expires true": with_token(expires_in=True),
    "expires false": with_token(expires_in=False),
    "expires negative": with_token(expires_in=-1),
    "expires a string": with_token(expires_in="3600"),
    "expires a list": with_token(expires_in=[3600]),
    "expires beyond ten years": with_token(expires_in=10 * 366 * 86400),
    "expires a googol": with_token(expires_in=10**100),
    "expires infinite": '{"access_token": "a-token-123", "expires_in": 1e309}',
    "user id a number": with_token(user_id=7),
    "user id false": with_token(user_id=False),
    "user id an object": with_token(user_id={"$ne": None}),
    "user id too long": with_token(user_id="é" * 513),
    "user id with a newline": with_token(user_id="a\nb"),
    "session id a list": with_token(auth_session_id=[]),
    "scope a list": with_token(scope=["chat"]),
    "scope too long": with_token(scope="x" * 4097),
    "user id is the token": with_token(user_id="a-token-123"),
    "user id holds the token": with_token(user_id="you: a-token-123!"),
    "user id is the refresh token": with_token(refresh_token="r-token-123", user_id="r-token-123"),
    "session id is the token": with_token(auth_session_id="a-token-123"),
    "scope holds the token": with_token(scope="chat a-token-123"),
}
LYING_NAMES: list[Any] = [None, "", 7, True, [], {}, "x" * 1025, "a\x00b"]
LYING_LINKS: list[Any] = [
    "javascript:alert(1)",
    "data:text/html,x",
    "//evil.example",
    "/authorize",
    "https://",
    "http://[::1",
    "https://a\nb",
    "x" * 9000,
    "",
    7,
    ["https://a"],
    {"url": "https://a"},
]
