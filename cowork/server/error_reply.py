"""What a client is told that the application never saw: in the contract's shape, quoting nothing.

gunicorn would answer in HTML that quotes the client.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from http import HTTPStatus

import orjson
from gunicorn.http import errors as faults

from cowork.runtime.ids import new_hex

SEND_TIMEOUT_S = 1.0

_TIMEOUT = HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "the request took too long"
_INTERNAL = (
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal",
    "internal server error; see the server log",
)
_BAD = HTTPStatus.BAD_REQUEST, "bad_request", "the request cannot be understood"
# Of gunicorn's own errors the first that fits; each is a `ParseException` too.
_PARSE_ERRORS = (
    (
        faults.LimitRequestLine,
        (HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", "the request line is too long"),
    ),
    (
        faults.LimitRequestHeaders,
        (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            "the request's headers are too large",
        ),
    ),
    (
        faults.ExpectationFailed,
        (
            HTTPStatus.EXPECTATION_FAILED,
            "expectation_failed",
            "only 100-continue can be expected",
        ),
    ),
    (
        faults.UnsupportedTransferCoding,
        (
            HTTPStatus.NOT_IMPLEMENTED,
            "not_implemented",
            "a body can be sent as it is or in chunks, in no other transfer coding",
        ),
    ),
    (faults.ConfigurationProblem, _INTERNAL),
    (faults.ParseException, _BAD),
    (TimeoutError, _TIMEOUT),
)


def describe_error(fault: BaseException) -> tuple[HTTPStatus, str, str]:
    """Status, code and sentence for what went wrong before or around the application."""
    return next((told for kind, told in _PARSE_ERRORS if isinstance(fault, kind)), _INTERNAL)


def send_error(sock: socket.socket, fault: BaseException) -> tuple[int, str]:
    """Answer a client that the application never saw; the status and the request id."""
    status, code, sentence = describe_error(fault)
    request_id = new_hex()
    body = orjson.dumps({"detail": {"error": sentence, "code": code}})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-ID: {request_id}\r\n\r\n"
    )
    with suppress(OSError):  # disconnected, or reads nothing
        sock.settimeout(SEND_TIMEOUT_S)
        sock.sendall(head.encode() + body)
    return status.value, request_id
