"""`X-Cowork-Project`: the project, where a proxy can see it without reading a body.

It decides nothing here: a proxy hashes by it, so that a project's requests come to one server.
"""

from __future__ import annotations

from urllib.parse import unquote

from flask import request

from cowork.web.problems import InvalidBody

HEADER = "X-Cowork-Project"


def check_hint(project: str) -> None:
    """Raise `InvalidBody` where the header names another project than the request does.

    Its value is the name, or that percent-encoded, since a header has no other way for most of
    Unicode.
    """
    given = request.headers.get(HEADER)
    if given is None or project in {given, unquote(given)}:
        return
    sentence = "Input should be the project that the request names, or absent"
    raise InvalidBody([{"type": "value_error", "loc": ["header", HEADER], "msg": sentence}])
