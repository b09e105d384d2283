"""Completes the OpenAPI document with what is the same for many operations.

flask-smorest writes down routes and schemas; operation ids, headers, errors that any request may
get, and the frames of streams come from here.
"""

from __future__ import annotations

import copy
from typing import Any

from flask import Flask

from cowork.web.fields import MAX_NAME_LENGTH, NAME_PATTERN
from cowork.web.frame_schemas import EVENT, FRAME, FRAMES
from cowork.web.guard import PUBLIC_PATHS, READINESS_PATH
from cowork.web.open_routes import OPEN_ROUTES

Document = dict[str, Any]
INFO = {
    "title": "XO Cowork API",
    "summary": "REST and server-sent events for the local Claude Code CLI.",
    "description": (
        "A session per project: the first question of a project begins one, later ones continue "
        "it.  `POST /ask_question` gives the whole answer, `POST /ask_question_streaming` its "
        "tokens as the model writes them.  Replies may have more keys than are described here, "
        "and keys of requests that are unknown are ignored."
    ),
    "contact": {"name": "The server's operator"},
    "license": {"name": "MIT", "identifier": "MIT"},
}
# Ids that the function's own name does not give.
_PREFIXED = {"xo_auth"}
_HEADERS = {
    "X-Request-ID": "The request's id, which the server's log has too.",
    "X-Turn-ID": "The turn that answers.",
    "Idempotent-Replayed": "`true` where an `Idempotency-Key` has found its first turn.",
    "Retry-After": "Seconds after which to try again, where that helps.",
}
_ERRORS = {
    "400": "The request cannot be understood",
    "401": "No key, or a wrong one; without keys, a caller from elsewhere",
    "403": "This `Host` or `Origin`, or this key, may not",
    "408": "The request took too long to arrive",
    "413": "The body is too large",
    "414": "The address is too long",
    "415": "The body is not JSON",
    "429": "Too many wrong keys, or a limit; `Retry-After` says when to try again",
    "431": "The headers are too large",
    "500": "An unhandled exception in the server",
    "502": "The Chat API answered garbage, or is switched off",
    "503": "Unavailable, or over a limit; `Retry-After` says when to try again",
    "504": "The Chat API did not answer in time",
    "4XX": "What the Chat API refused, with its own status",
}
_EVERYWHERE = ("400", "401", "403", "414", "429", "431", "500", "503")
_WITH_BODY = ("408", "413", "415")
# Of operations that ask the Chat API.
_UPSTREAM = ("502", "504", "4XX")
_ASKS_UPSTREAM = {"xo_auth_start", "xo_auth_status", "xo_auth_consume", "xo_auth_whoami"}
_STREAMS = {"ask_question_streaming", "stream_turn_events"}
# Of operations of other APIs.
_DIALECT_ERRORS = {
    "401": _ERRORS["401"],
    "403": _ERRORS["403"],
    "404": "No such model, or what is named is not there",
    "408": _ERRORS["408"],
    "409": "The session is busy, or the turn was interrupted",
    "413": _ERRORS["413"],
    "415": _ERRORS["415"],
    "429": _ERRORS["429"],
    "500": _ERRORS["500"],
    "502": "The turn failed",
    "503": _ERRORS["503"],
    "504": "The turn ran out of time",
}
# Refused before anybody looks at whose client it is.
_BEFORE_ROUTES = ("414", "431")
# Before OpenAPI 3.2 the schema is one of each event.
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
# JSON, or a stream where the body says so.
_STREAMS_TOO = {
    "create_chat_completion",
    "create_message",
    "create_response",
    "read_response_again",
}
_ASKS = {"ask_question", "ask_question_streaming"}
# Those that an `Idempotency-Key` has answer a second time.
_REPLAYS = {*_ASKS, "fork_session", "rewind_session", "steer_turn"}
_OF_A_PROJECT = {*_ASKS, "delete_session", "interrupt_session", "warm_session"}
# Keys that a reply has now and then; all others it always has.
OPTIONAL = {
    "AskReply": {"session_recovered", "session_moved", "structured_output", "steered"},
    "SessionsReply": {"next"},
    "ConversationMessageReply": {"usage"},
    "ApprovalReply": {
        *("input", "suggestions", "questions", "plan", "decision", "decided_by", "decided_at"),
        *("address", "applied_at"),
    },
    "InterruptReply": {"turn_id", "state", "message"},
    "ReadyReply": {"reasons"},
    "TurnReply": {
        *("session_moved", "structured_output", "model", "stop_reason", "usage_by_model"),
        *("permission_denials", "files_changed", "waiting_for", "steers"),
    },
    "ListedTurnReply": {"session_moved", "model", "stop_reason", "waiting_for"},
    "ProcessReply": {"unnamed", "worker"},
    "ProcessesReply": {"unreachable"},
    "UsageReply": {"truncated"},
    "UsageRowReply": {"day", "project", "key", "model"},
    # What else an error has depends on it.
    "Problem": set(),
}
LAST_EVENT_ID = {
    "in": "header",
    "name": "Last-Event-ID",
    "description": "`<turn_id>.<n>`: go on behind that frame.",
    "schema": {"type": "string"},
    "required": False,
}
PROJECT_HINT = {
    "in": "header",
    "name": "X-Cowork-Project",
    "description": "The same project, for a proxy to hash by; percent-encoded, or as it is.",
    "schema": {"type": "string"},
    "required": False,
}


def completed(found: Document, app: Flask) -> Document:
    """The whole document: `found` is flask-smorest's, which stays as it is."""
    document = copy.deepcopy(found)
    document["info"] = {**INFO, "version": found["info"]["version"]}
    document["servers"] = [{"url": "/", "description": "This server"}]
    components = document["components"]
    schemas = components["schemas"]
    schemas.update(copy.deepcopy(FRAMES), Frame=copy.deepcopy(FRAME), Event=copy.deepcopy(EVENT))
    components["headers"] = {
        name: {"description": says, "schema": {"type": "string"}} for name, says in _HEADERS.items()
    }
    components["responses"] = {
        f"Error{status}": _error(status, says) for status, says in _ERRORS.items()
    }
    for name, schema in schemas.items():
        _complete_schema(name, schema)
    endpoints = {
        (_path_of(rule.rule), method.lower()): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                _complete_parameters(operation)
            else:
                _complete_operation(operation, path, endpoints[path, method])
    return document


def _path_of(rule: str) -> str:
    return rule.replace("<", "{").replace(">", "}")


def _complete_schema(name: str, schema: Document) -> None:
    """More keys may come, in requests and in replies; what a reply always has is required."""
    schema.pop("additionalProperties", None)
    for each in schema.get("properties", {}).values():
        # A generator would have a client send what has one.
        default = each.pop("default", None)
        if default is not None:
            said = f"{each['description']} " if "description" in each else ""
            each["description"] = f"{said}Without it: `{default}`."
    if name.endswith("Reply") or name in {"AuthState", "Fault", "Problem", "UsageNumbers"}:
        optional = OPTIONAL.get(name, set())
        schema["required"] = [each for each in schema.get("properties", {}) if each not in optional]


def _complete_parameters(parameters: list[Document]) -> None:
    for each in parameters:
        if each["name"] in {"project_id", "chat_id"}:  # a chat is a project
            each["description"] = "A project's name, percent-encoded: one segment, `/` included."
            each["schema"] |= {
                "minLength": 1,
                "maxLength": MAX_NAME_LENGTH,
                "pattern": NAME_PATTERN,
            }
        elif each["name"] == "turn_id":
            each["description"] = "As `X-Turn-ID` names it."


def _complete_operation(operation: Document, path: str, endpoint: str) -> None:
    blueprint, _, function = endpoint.rpartition(".")
    name = f"{blueprint}_{function}" if blueprint in _PREFIXED else function
    operation["operationId"] = name
    operation.setdefault("description", operation["summary"])
    operation["summary"] = operation["summary"].removesuffix(".")
    is_open = path in OPEN_ROUTES or path in PUBLIC_PATHS or path == READINESS_PATH
    if is_open:
        operation["security"] = []
    responses = operation["responses"]
    if _is_dialect(path):  # every error has its API's shape, which its own `default` describes
        _complete_dialect(operation, name)
        return
    responses.pop("default", None)
    errors = [*_EVERYWHERE, *(_WITH_BODY if "requestBody" in operation else ())]
    errors += _UPSTREAM if name in _ASKS_UPSTREAM else ()
    for status in errors:
        responses.setdefault(status, {"$ref": f"#/components/responses/Error{status}"})
    if name in _STREAMS:
        # Before OpenAPI 3.2 the schema is one of each event.
        content = {"schema": {"$ref": "#/components/schemas/Event"}}
        responses["200"]["content"] = {"text/event-stream": content}
        operation.setdefault("parameters", []).append(dict(LAST_EVENT_ID))
        responses.setdefault("410", _error("410", "The turn is no longer kept"))
    if name in _OF_A_PROJECT:
        operation.setdefault("parameters", []).append(dict(PROJECT_HINT))
    if name in _REPLAYS:  # `idempotency_mismatch` is one
        either = ("ValidationReply", "ProblemReply")
        refused = {"anyOf": [{"$ref": f"#/components/schemas/{each}"} for each in either]}
        responses["422"]["content"]["application/json"]["schema"] = refused
    for each in operation.get("parameters", []):
        each["schema"].pop("maxLength", None)  # the request line bounds it: 414
    for status, reply in responses.items():
        if "$ref" not in reply:
            _complete_reply(reply, status, name)
    operation["responses"] = dict(sorted(responses.items()))


def _is_dialect(path: str) -> bool:
    return path.startswith(("/v1/", "/api/chat"))


def _complete_dialect(operation: Document, name: str) -> None:
    """What is the same for operations of other APIs: every error is as their 400 is."""
    responses = operation["responses"]
    for status in ("default", "422"):  # flask-smorest's
        responses.pop(status, None)
    for status, says in _DIALECT_ERRORS.items():
        content = copy.deepcopy(responses["400"]["content"])
        responses.setdefault(status, {"description": says, "content": content})
    for status, reply in responses.items():
        _complete_reply(reply, status, name)
    if name in _STREAMS_TOO:
        responses["200"]["content"]["text/event-stream"] = {"schema": copy.deepcopy(_EVENT)}
    for status in _BEFORE_ROUTES:
        responses[status] = {"$ref": f"#/components/responses/Error{status}"}
    operation["responses"] = dict(sorted(responses.items()))


def _complete_reply(reply: Document, status: str, name: str) -> None:
    headers = ["X-Request-ID"]
    if name in _ASKS or (name in _STREAMS and status == "200"):
        headers.append("X-Turn-ID")
    if name in _REPLAYS:
        headers.append("Idempotent-Replayed")
    if status in {"429", "503"}:
        headers.append("Retry-After")
    reply["headers"] = {each: {"$ref": f"#/components/headers/{each}"} for each in headers}


def _error(status: str, says: str) -> Document:
    reply: Document = {
        "description": says,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ProblemReply"}}},
    }
    _complete_reply(reply, status, "")
    return reply
