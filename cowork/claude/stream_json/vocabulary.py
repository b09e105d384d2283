"""What the CLI is known to say: names that are handled, or left alone on purpose.

A name that is not here is new: its message is passed over as ever, but somebody should look.
Pure.
"""

from __future__ import annotations

import re
from typing import Any

from cowork.claude.stream_json.protocol import Message, content_blocks

_NAME_LIMIT = 48
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TYPES = _words(
    "assistant user result stream_event system control_request control_response"
    " control_cancel_request rate_limit_event command_lifecycle"
    # Left alone.
    " tool_progress tool_use_summary prompt_suggestion auth_status conversation_reset"
    " transcript_mirror keep_alive active_goal api_metrics autocompact_state tombstone"
)
SYSTEM_SUBTYPES = _words(
    "init status compact_boundary api_retry model_fallback session_state_changed task_started"
    " task_progress task_notification"
    # Left alone.
    " informational control_request_progress model_refusal_fallback model_refusal_no_fallback"
    " local_command_output hook_started hook_progress hook_response plugin_install"
    " files_persisted task_updated background_tasks_changed worker_shutting_down"
    " commands_changed notification thinking_tokens memory_recall elicitation_complete"
    " permission_denied mirror_error session_writes_lost"
    # The CLI's own, which it prints in some settings.
    " post_turn_summary task_summary session_metadata session_title_changed permission_retry"
    " permission_check_status stop_hook_summary memory_saved agents_killed"
    " instruction_size_warning away_summary thinking model_consent_fallback file_snapshot"
    " scheduled_task_fire peer_message_hold turn_duration turn_preempted"
    " turn_handoff_available api_error feedback_draft_queued code_change_published"
    " vcs_state_changed shell_cwd dev_intent task_list_statuses per_turn_effort_changed"
    " file_attachments_missing late_allow_not_run inherited_asks_settled cloud_session_delta"
    " upgrade_relay_marker"
)
# All subtypes that begin so are of the CLI's own terminal.
_TERMINAL_PREFIX = "ui_"
STREAM_EVENTS = _words(
    "message_start message_delta message_stop content_block_start content_block_delta"
    " content_block_stop ping error"
)
BLOCKS = _words(
    "text thinking redacted_thinking tool_use tool_result image document search_result"
    " server_tool_use web_search_tool_result web_fetch_tool_result"
)
DELTAS = _words("text_delta thinking_delta signature_delta input_json_delta citations_delta")
REQUESTS = _words(
    "can_use_tool hook_callback mcp_message elicitation request_user_dialog oauth_token_refresh"
)


def unknown_in(message: Message) -> list[str]:
    """What of a message is not known, as `system:some_new_subtype`; nearly always nothing."""
    kind = message["type"]
    if kind == "stream_event":
        return _in_stream_event(message.get("event"))
    if kind == "system":
        subtype = message.get("subtype")
        if isinstance(subtype, str) and subtype.startswith(_TERMINAL_PREFIX):
            return []
        return _unless_in(SYSTEM_SUBTYPES, "system", subtype)
    if kind in ("assistant", "user"):
        found = (_unless_in(BLOCKS, "block", each.get("type")) for each in content_blocks(message))
        return [name for names in found for name in names]
    if kind == "control_request":
        return _unless_in(REQUESTS, "request", _type_of(message.get("request"), "subtype"))
    return _unless_in(TYPES, "type", kind)


def _in_stream_event(event: Any) -> list[str]:
    kind = _type_of(event)
    if kind == "content_block_delta":
        return _unless_in(DELTAS, "delta", _type_of(event.get("delta")))
    if kind == "content_block_start":
        return _unless_in(BLOCKS, "block", _type_of(event.get("content_block")))
    return _unless_in(STREAM_EVENTS, "stream_event", kind)


def _type_of(value: Any, name: str = "type") -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _unless_in(known: frozenset[str], place: str, name: Any) -> list[str]:
    if isinstance(name, str):
        return [] if name in known else [f"{place}:{_safe(name)}"]
    return [f"{place}:?"]


def _safe(name: str) -> str:
    """The name as it can be told to anybody: short, and of the letters that names are made of."""
    return _UNSAFE.sub("?", name[:_NAME_LIMIT])
