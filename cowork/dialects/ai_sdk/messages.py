"""What was said in a session, as the AI SDK's UI messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cowork.claude.conversation import ConversationMessage

UiMessage = dict[str, Any]


def ui_messages(messages: Sequence[ConversationMessage]) -> list[UiMessage]:
    """The messages for the hook's `messages`, oldest first.

    What the model said in one turn is one message, whose id is the turn's, as in its stream.  A
    person's images are not among them: the conversation does not keep their data.
    """
    found: list[UiMessage] = []
    for message in messages:
        parts = _parts(message.parts)
        if message.role == "user":
            found.append({"id": f"user-{message.id}", "role": "user", "parts": parts})
            continue
        name = message.question_id or message.id
        if found and found[-1]["id"] == name:
            found[-1]["parts"] += parts
        else:
            found.append({"id": name, "role": "assistant", "parts": parts})
    return [each for each in found if each["parts"]]


def _parts(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    tools: dict[str, dict[str, Any]] = {}
    for part in parts:
        match part["type"]:
            case "text" | "summary":
                found.append({"type": "text", "text": part["text"]})
            case "thinking":
                found.append({"type": "reasoning", "text": part["text"]})
            case "tool_use":
                tools[part["id"]] = tool = {
                    "type": "dynamic-tool",
                    "toolCallId": part["id"],
                    "toolName": part["name"],
                    "state": "input-available",
                    "input": part["input"],
                    "providerExecuted": True,
                }
                found.append(tool)
            case "tool_result" if part["id"] in tools:
                tools[part["id"]] |= _outcome(part)
    return found


def _outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    if result["is_error"]:
        return {"state": "output-error", "errorText": str(result["content"])}
    return {"state": "output-available", "output": result["content"]}
