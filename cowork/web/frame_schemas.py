"""The frames of a stream as JSON schemas, for the OpenAPI document.

`frames.py` makes them; `tests/unit/web/test_frame_schemas.py` holds that both say the same.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
_STRING: Schema = {"type": "string"}
_BOOLEAN: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _frame(
    kind: str, says: str, required: dict[str, Schema], optional: dict[str, Schema] | None = None
) -> Schema:
    return {
        "type": "object",
        "description": says,
        "properties": {"type": {"const": kind}, **required, **(optional or {})},
        "required": ["type", *required],
    }


FRAMES: dict[str, Schema] = {
    "TurnFrame": _frame(
        "turn",
        "First in each stream, for who asks for `status`: how the turn stands, and how many turns "
        "of its project come before it.",
        {
            "turn_id": _STRING,
            "project_id": {"type": ["string", "null"]},
            "state": {
                "type": "string",
                "enum": ["queued", "running", "succeeded", "failed", "interrupted"],
            },
            "position": _COUNT,
        },
    ),
    "TokenFrame": _frame("token", "A piece of the answer.", {"token": _STRING}),
    "ReplaceFrame": _frame(
        "replace",
        "For who asks for any `events`: what was streamed is void, this is the text.",
        {"text": _STRING},
    ),
    "ThinkingFrame": _frame(
        "thinking", "For who asks for `thinking`: a piece of it.", {"text": _STRING}
    ),
    "ToolUseFrame": _frame(
        "tool_use",
        "For who asks for `tool`: the model calls a tool.",
        {"id": _STRING, "name": _STRING, "input": {"type": "object"}},
        {"parent_id": _STRING},
    ),
    "ToolResultFrame": _frame(
        "tool_result",
        "For who asks for `tool`: what it gave back, cut at 64 KiB (`truncated`).",
        {
            "id": _STRING,
            "content": _STRING,
            "is_error": _BOOLEAN,
            "duration_ms": {"type": ["integer", "null"]},
        },
        {"truncated": _BOOLEAN},
    ),
    "UsageFrame": _frame(
        "usage",
        "For who asks for `usage`: what a request to the model took, and the turn has cost so far.",
        {
            "input_tokens": _COUNT,
            "output_tokens": _COUNT,
            "cost_usd": {"type": ["number", "null"]},
        },
    ),
    "SubagentFrame": _frame(
        "subagent",
        "For who asks for `subagent`: what one is doing.",
        {
            "id": _STRING,
            "state": {"type": "string", "enum": ["started", "progress", "ended"]},
            "name": _STRING,
            "description": _STRING,
        },
        {"last_tool": _STRING, "tokens": _COUNT},
    ),
    "TodoFrame": _frame(
        "todo",
        "For who asks for `todo`: the model's list of what is to be done, whole.",
        {
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "text": _STRING,
                        "state": {
                            "type": "string",
                            "enum": ["pending", "in_progress", "completed"],
                        },
                    },
                    "required": ["text", "state"],
                },
            }
        },
    ),
    "ApprovalFrame": _frame(
        "approval",
        "For who asks for `approval`: the turn waits for somebody to allow this.",
        {
            "id": _STRING,
            "kind": {"type": "string", "enum": ["tool", "question", "plan"]},
            "tool": _STRING,
            "input": {"type": "object"},
            "suggestions": {"type": "array", "items": {"type": "object"}},
            "expires_at": _STRING,
        },
        {
            "reason": _STRING,
            "subagent_id": _STRING,
            "questions": {"type": "array", "items": {"type": "object"}},
            "plan": _STRING,
        },
    ),
    "ApprovalResolvedFrame": _frame(
        "approval_resolved",
        "For who asks for `approval`: it waits no more.",
        {
            "id": _STRING,
            "decision": {
                "type": "string",
                "enum": ["allow", "deny", "answer", "expired", "cancelled"],
            },
            "decided_by": {"type": ["string", "null"]},
        },
    ),
    "StatusFrame": _frame(
        "status",
        "For who asks for `status`: what the turn does while it is silent; further keys by status.",
        {"status": {"type": "string", "examples": ["queued", "requesting", "api_retry"]}},
        {
            "position": _COUNT,
            "steer_id": _STRING,
            "state": {
                "type": "string",
                "enum": ["pending", "joined", "queued", "cancelled"],
            },
            "turn_id": _STRING,
            "text": _STRING,
        },
    ),
    "ErrorFrame": _frame(
        "error",
        "The turn failed; the last frame follows.",
        {"error": _STRING, "code": _STRING},
        {"retry_after": _COUNT},
    ),
    "DoneFrame": _frame(
        "done",
        "The last frame.",
        {
            "done": {"const": True},
            "success": _BOOLEAN,
            "turn_id": _STRING,
            "session_id": {"type": ["string", "null"]},
            "is_new_session": _BOOLEAN,
            "usage": {"type": ["object", "null"]},
            "total_cost_usd": {"type": ["number", "null"]},
            "duration_ms": {"type": ["integer", "null"]},
            "model": {"type": ["string", "null"]},
            "stop_reason": {"type": ["string", "null"]},
            "usage_by_model": {"type": ["object", "null"]},
            "permission_denials": {"type": "array", "items": {"type": "object"}},
            "files_changed": {"type": "array", "items": _STRING},
        },
        {
            "session_recovered": _BOOLEAN,
            "session_moved": _BOOLEAN,
            "message": {
                "type": "string",
                "description": "The whole answer, where the CLI had to replace its text.",
            },
            "structured_output": {"description": "Where `output_schema` was sent."},
        },
    ),
}
FRAME: Schema = {
    "description": "The JSON of one event's `data:`; its kind is its `type`.",
    "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in FRAMES],
    "discriminator": {
        "propertyName": "type",
        "mapping": {
            schema["properties"]["type"]["const"]: f"#/components/schemas/{name}"
            for name, schema in FRAMES.items()
        },
    },
}
# An event as it stands on the wire, for tools that parse the stream.
EVENT: Schema = {
    "type": "object",
    "description": "A server-sent event: `id` for clients that show that they know such events.",
    "properties": {
        "id": {"type": "string", "examples": ["b1ff41d4-d5f4-470b-aec1-4fe38a245fc8.5"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Frame"},
        },
    },
    "required": ["data"],
}
