"""What requests and replies look like: the contract's tables as marshmallow schemas.

Requests are checked by these; replies are described by them (`/openapi.json`).
"""

from __future__ import annotations

from typing import Self

from marshmallow import Schema, fields, validate

from cowork.claude.launch_options import REQUESTED_MODES
from cowork.claude.turn_options import EFFORTS
from cowork.model import UsageBy
from cowork.turns.steers import TEXT_LIMIT_BYTES
from cowork.web.attachments import Attachments
from cowork.web.fields import (
    MAX_NAME_LENGTH,
    NAME_PATTERN,
    Choices,
    Day,
    Json,
    JsonDict,
    JsonObject,
    Text,
    Texts,
    at_most,
    not_blank,
    printable,
    valid_name,
)

MAX_PROMPT_LENGTH = 100_000
# Of the texts that name somebody or something.
MAX_LABEL_BYTES = 1024
# Of a value in a query string, which is bounded as a whole by the request line.
MAX_QUERY_BYTES = 128
# What a fork or a rewind does in a busy project, and a question.
ON_BUSY_CHANGE = ("queue", "reject", "interrupt")
ON_BUSY = (*ON_BUSY_CHANGE, "steer")
TURN_STATES = ("queued", "running", "succeeded", "failed", "interrupted")
EVENTS = ("tool", "thinking", "status", "approval", "usage", "subagent", "todo")
# What a request adds to a server's deny rules, and the names of tool servers.
MAX_RULES = 50
_NAME = {"minLength": 1, "maxLength": MAX_NAME_LENGTH, "pattern": NAME_PATTERN}
MAX_SERVERS = 50
MAX_MODEL_TURNS = 1000
MAX_APPROVAL_TIMEOUT_S = 86_400
MAX_MESSAGE_BYTES = 4096
MAX_APPROVALS = 200
DEFAULT_PAGE, MAX_PAGE = 50, 200
NOT_DONE = "Another worker answers the project; nothing was done"
NOT_RESTORED = "What Bash or another program has changed is not restored."


class _Schema(Schema):
    """Not copied, as it never changes: flask-smorest would with each word on a route."""

    def __deepcopy__(self, _memo: object) -> Self:
        return self


class AskBody(_Schema):
    """A question to a project."""

    project_name = Text(
        required=True,
        validate=valid_name,
        metadata={
            "description": "Its session is begun by its first question.",
            "examples": ["my-project"],
            "minLength": 1,
            "maxLength": MAX_NAME_LENGTH,
            "pattern": NAME_PATTERN,
        },
    )
    question = Text(
        limit=None,
        required=True,
        validate=not_blank,
        metadata={"examples": ["What is 2+2?"], "minLength": 1, "pattern": r"\S"},
    )
    user_id = Text(limit=MAX_LABEL_BYTES, load_default="default_user", allow_none=True)
    message_type = Text(limit=MAX_LABEL_BYTES, load_default="@xo", allow_none=True)
    agent_type = Text(
        limit=MAX_LABEL_BYTES,
        load_default=None,
        allow_none=True,
        metadata={"description": "A Claude skill's name; `Code_Writer` means `code-writer`."},
    )
    events = Choices(
        EVENTS,
        load_default=None,
        allow_none=False,
        metadata={"description": "Which events besides tokens the stream should carry."},
    )

    on_busy = Text(
        load_default="queue",
        validate=validate.OneOf(ON_BUSY),
        metadata={"description": "What to do while the project answers another question."},
    )
    timeout = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(min=0, min_inclusive=False),
        metadata={"description": "Seconds; may only shorten the server's CLAUDE_TIMEOUT."},
    )
    system_prompt = Text(
        limit=None,
        load_default=None,
        allow_none=True,
        validate=at_most(MAX_PROMPT_LENGTH),
        metadata={
            "description": "Appended to the CLI's own, for this question.",
            "maxLength": MAX_PROMPT_LENGTH,
        },
    )
    output_schema = JsonObject(
        load_default=None,
        allow_none=True,
        metadata={
            "type": "object",
            "description": "A JSON schema; the answer is then a value that fits it.",
        },
    )
    permission_mode = Text(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(REQUESTED_MODES),
        metadata={"description": "Not wider than the server's COWORK_PERMISSION_MODE."},
    )
    model = Text(
        limit=100,
        load_default=None,
        allow_none=True,
        validate=printable,
        metadata={"description": "An `id` of `GET /models`, or a full id; for this question."},
    )
    effort = Text(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(EFFORTS),
        metadata={"description": "For this question; among the model's own."},
    )
    attachments = Attachments(load_default=None, allow_none=True)
    max_turns = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, MAX_MODEL_TURNS),
        metadata={"description": "How often the model may be asked."},
    )
    max_budget_usd = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(min=0, min_inclusive=False),
        metadata={"description": "Of this turn; looked at after each request to the model."},
    )
    disallowed_tools = Texts(
        Text(validate=valid_name, metadata=_NAME),
        most=MAX_RULES,
        load_default=None,
        allow_none=True,
        metadata={"description": "Tools or deny rules of the CLI's, besides the server's own."},
    )
    mcp_servers = Texts(
        Text(limit=MAX_LABEL_BYTES, validate=printable),
        most=MAX_SERVERS,
        load_default=None,
        allow_none=True,
        metadata={"description": "Names of `GET /mcp`."},
    )
    approvals = fields.Boolean(
        load_default=None,
        allow_none=True,
        truthy={True},
        falsy={False},
        metadata={"description": "Ask a person before a tool runs that may not by itself."},
    )
    approval_timeout = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MAX_APPROVAL_TIMEOUT_S),
        metadata={"description": "Seconds until an approval is denied."},
    )


class AskHeaders(_Schema):
    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        metadata={
            "description": "Makes a retry find what its first try has begun.",
            "minLength": 1,
            "maxLength": 255,
            "pattern": r"^[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*$",
        },
    )


class AskReply(_Schema):
    """The answer of the non-streaming endpoint."""

    steered = fields.Boolean(
        metadata={"description": "The question was said to a turn that ran; this is its answer."}
    )
    id = fields.Raw(dump_default=None, metadata={"description": "Always null."})
    message = fields.String()
    project_id = fields.String()
    user_id = fields.String(allow_none=True)
    session_id = fields.String()
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    session_moved = fields.Boolean(metadata={"description": "To a machine without its directory."})
    timestamp = fields.String(metadata={"description": "ISO 8601."})
    turn_id = fields.String()
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    structured_output = fields.Raw(metadata={"description": "Where `output_schema` was sent."})
    model = fields.String(allow_none=True)
    stop_reason = fields.String(allow_none=True)
    usage_by_model = fields.Dict(allow_none=True)
    permission_denials = fields.List(fields.Dict())
    files_changed = fields.List(fields.String())


class TurnReply(_Schema):
    """A turn as it stands."""

    turn_id = fields.String()
    project_id = fields.String()
    state = fields.String(
        metadata={"description": "`queued`, `running`, `succeeded`, `failed`, `interrupted`."}
    )
    message = fields.String(metadata={"description": "The text so far."})
    session_id = fields.String(allow_none=True)
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    session_moved = fields.Boolean(metadata={"description": "To a machine without its directory."})
    created_at = fields.String()
    started_at = fields.String(allow_none=True)
    ended_at = fields.String(allow_none=True)
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    error = fields.Dict(allow_none=True)
    structured_output = fields.Raw()
    model = fields.String(allow_none=True)
    stop_reason = fields.String(allow_none=True)
    usage_by_model = fields.Dict(allow_none=True)
    permission_denials = fields.List(fields.Dict())
    files_changed = fields.List(fields.String())
    waiting_for = fields.List(
        fields.String(), metadata={"description": "Approvals that it waits for."}
    )
    steers = fields.List(
        fields.Nested("SteerState"),
        metadata={"description": "What was said to it while it ran."},
    )


class SteerState(_Schema):
    """What has become of something that was said to a turn."""

    steer_id = fields.String()
    state = fields.String(
        metadata={
            "description": "`pending`; `joined` the turn; `queued`: came too late and is the "
            "project's next turn, `turn_id`; `cancelled` with its turn."
        }
    )
    turn_id = fields.String(metadata={"description": "The turn that it is part of."})


class SteerBody(_Schema):
    """Something to say to a turn that runs."""

    text = Text(
        limit=TEXT_LIMIT_BYTES,
        required=True,
        validate=not_blank,
        metadata={"examples": ["Use the other file."], "minLength": 1, "pattern": r"\S"},
    )


class SteerReply(_Schema):
    """It was handed on; the turn's `steers` and `status` events tell what becomes of it."""

    success = fields.Boolean()
    steer_id = fields.String()
    turn_id = fields.String()


class TurnsQuery(_Schema):
    state = Text(
        load_default=None,
        validate=validate.OneOf(TURN_STATES),
        metadata={"description": "Only turns in this state."},
    )
    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, MAX_PAGE))
    cursor = Text(
        limit=MAX_QUERY_BYTES, load_default=None, metadata={"description": "The last `next`."}
    )


class ListedTurnReply(_Schema):
    """A turn as it stands, without what may be long."""

    turn_id = fields.String()
    project_id = fields.String()
    state = fields.String(metadata={"description": "As in `TurnReply`."})
    message = fields.String(
        metadata={
            "description": "The first 1000 characters of the answer; empty until the turn ends."
        }
    )
    message_truncated = fields.Boolean(metadata={"description": "Whether there is more of it."})
    session_id = fields.String(allow_none=True)
    is_new_session = fields.Boolean()
    session_recovered = fields.Boolean()
    session_moved = fields.Boolean()
    created_at = fields.String()
    started_at = fields.String(allow_none=True)
    ended_at = fields.String(allow_none=True)
    usage = fields.Dict(allow_none=True)
    total_cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    error = fields.Dict(allow_none=True, metadata={"description": "Its texts are cut likewise."})
    model = fields.String(allow_none=True)
    stop_reason = fields.String(allow_none=True)
    waiting_for = fields.List(fields.String())


class TurnsReply(_Schema):
    turns = fields.List(fields.Nested(ListedTurnReply))
    count = fields.Integer()
    next = fields.String(
        allow_none=True, metadata={"description": "`cursor` of what is left; null at the end."}
    )


class EventsQuery(_Schema):
    after = Text(
        limit=MAX_QUERY_BYTES, load_default=None, metadata={"description": "As `Last-Event-ID`."}
    )
    events = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        metadata={
            "description": f"Some of {', '.join(EVENTS)}; without it what the question asked for."
        },
    )
    ticket = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        metadata={"description": "In place of a key; see `create_ticket`."},
    )


class TicketReply(_Schema):
    """The right to read one turn's events without a key."""

    ticket = fields.String()
    expires_at = fields.String(
        metadata={"description": "RFC 3339; until then it must be used for the first time."}
    )
    url = fields.String(metadata={"description": "Of the events, the ticket in its query."})


class ApprovalsQuery(_Schema):
    project = Text(limit=MAX_LABEL_BYTES, load_default=None)
    turn = Text(limit=MAX_QUERY_BYTES, load_default=None)
    state = Text(load_default="pending", validate=validate.OneOf(("pending", "resolved")))
    limit = fields.Integer(load_default=MAX_APPROVALS, validate=validate.Range(1, MAX_APPROVALS))


class ApprovalBody(_Schema):
    """What somebody has decided."""

    decision = Text(required=True, validate=validate.OneOf(("allow", "deny", "answer")))
    input = JsonDict(
        load_default=None,
        allow_none=True,
        metadata={"type": "object", "description": "The tool's input, changed."},
    )
    message = Text(
        limit=MAX_MESSAGE_BYTES,
        load_default=None,
        allow_none=True,
        validate=not_blank,
        metadata={"description": "What the model is told of a denial."},
    )
    interrupt = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        metadata={"description": "Ends the turn with the denial."},
    )
    remember = Text(
        load_default="once",
        validate=validate.OneOf(("once", "session")),
        metadata={"description": "`session`: apply the CLI's own suggestions, for its session."},
    )
    answers = JsonDict(
        load_default=None,
        allow_none=True,
        metadata={"type": "object", "description": "Text or texts, by the question's text."},
    )
    permission_mode = Text(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(REQUESTED_MODES),
        metadata={"description": "In which a plan is carried out."},
    )


class ApprovalReply(_Schema):
    """A tool, a question or a plan that a turn waits for somebody to allow."""

    id = fields.String()
    turn_id = fields.String()
    project_id = fields.String()
    key = fields.String(allow_none=True, metadata={"description": "Whose turn it is."})
    kind = fields.String(metadata={"description": "`tool`, `question` or `plan`."})
    tool = fields.String()
    state = fields.String(metadata={"description": "`pending` or `resolved`."})
    input = fields.Dict(metadata={"description": "While it waits."})
    input_digest = fields.String()
    reason = fields.String(allow_none=True)
    suggestions = fields.List(fields.Dict())
    questions = fields.List(fields.Dict())
    plan = fields.String(allow_none=True)
    subagent_id = fields.String(allow_none=True)
    created_at = fields.String()
    expires_at = fields.String()
    decision = fields.String(
        metadata={"description": "`allow`, `deny`, `answer`, `expired` or `cancelled`."}
    )
    decided_by = fields.String(allow_none=True)
    decided_at = fields.String()
    address = fields.String(allow_none=True)
    applied_at = fields.String(
        allow_none=True, metadata={"description": "When the CLI was told, if it was."}
    )


class ApprovalsReply(_Schema):
    approvals = fields.List(fields.Nested(ApprovalReply))
    count = fields.Integer()


class ModelReply(_Schema):
    id = fields.String(metadata={"description": "What a question names it by."})
    model = fields.String(metadata={"description": "What that means now."})
    name = fields.String()
    description = fields.String()
    efforts = fields.List(fields.String())


class ModelsReply(_Schema):
    models = fields.List(fields.Nested(ModelReply))
    count = fields.Integer()
    default = fields.String()


class SkillReply(_Schema):
    name = fields.String()
    description = fields.String()


class SkillsReply(_Schema):
    skills = fields.List(fields.Nested(SkillReply))
    count = fields.Integer()


class McpServerReply(_Schema):
    name = fields.String()
    type = fields.String()


class McpReply(_Schema):
    servers = fields.List(fields.Nested(McpServerReply))
    count = fields.Integer()


class InterruptReply(_Schema):
    success = fields.Boolean()
    turn_id = fields.String(allow_none=True)
    state = fields.String(allow_none=True)
    message = fields.String()


class SessionsReply(_Schema):
    sessions = fields.Raw(
        metadata={"description": "Ids by project; with `details` a list of sessions."}
    )
    count = fields.Integer()
    next = fields.String(allow_none=True, metadata={"description": "With `details`."})


class SessionsQuery(_Schema):
    details = fields.Boolean(
        load_default=False, metadata={"description": "Each session as `GET /sessions/{project}`."}
    )
    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, MAX_PAGE))
    cursor = Text(limit=MAX_LABEL_BYTES, load_default=None)


class ChangedSessionReply(_Schema):
    """What is kept of a session, as it was when a fork or a rewind had made it."""

    project_id = fields.String()
    session_id = fields.String()
    title = fields.String(allow_none=True)
    created_at = fields.String()
    last_used_at = fields.String()
    turns = fields.Integer()
    usage = fields.Dict()
    total_cost_usd = fields.Float()
    directory = fields.String()
    context = fields.Dict(
        allow_none=True, metadata={"description": "`tokens` of the model's `limit`, if known."}
    )


class SessionReply(ChangedSessionReply):
    """A project's session."""

    state = fields.String(
        metadata={"description": "`idle`, `running` or `waiting` (for a person)."}
    )
    queued = fields.Integer()
    process = fields.Dict(allow_none=True)


class TitleBody(_Schema):
    title = Text(
        required=True,
        allow_none=True,
        validate=valid_name,
        metadata=_NAME,
    )


class ForkBody(_Schema):
    to = Text(
        required=True,
        validate=valid_name,
        metadata={"description": "A new project.", **_NAME},
    )
    at_turn = Text(
        limit=MAX_QUERY_BYTES,
        load_default=None,
        allow_none=True,
        metadata={"description": "The last turn that it has; without it all of them."},
    )
    on_busy = Text(
        load_default="queue",
        validate=validate.OneOf(ON_BUSY_CHANGE),
        metadata={"description": "What to do while the project answers a question."},
    )


class RewindBody(_Schema):
    to_turn = Text(
        limit=MAX_QUERY_BYTES, required=True, metadata={"description": "The last that is kept."}
    )
    files = Text(
        load_default="keep",
        validate=validate.OneOf(("keep", "preview", "restore")),
        metadata={
            "description": "`keep` leaves them as they are; `preview` changes nothing, and says "
            "what `restore` would, which has those that were edited since be as they were. "
            "The last two need COWORK_CHECKPOINTS."
        },
    )
    on_busy = Text(
        load_default="queue",
        validate=validate.OneOf(ON_BUSY_CHANGE),
        metadata={"description": "What to do while the project answers a question."},
    )


class RestoredFilesReply(_Schema):
    """What a restore has changed of the files, or would change."""

    mode = fields.String(metadata={"description": "`preview` or `restore`."})
    can_restore = fields.Boolean()
    reason = fields.String(allow_none=True, metadata={"description": "Why it cannot be."})
    changed = fields.List(
        fields.String(),
        metadata={"description": "Paths, relative below the directory; at most 1000, of 128 KiB."},
    )
    count = fields.Integer(metadata={"description": "How many there are in all."})
    insertions = fields.Integer(metadata={"description": "Lines."})
    deletions = fields.Integer(metadata={"description": "Lines."})
    skipped_links = fields.Integer(
        allow_none=True,
        metadata={
            "description": "Of these, left as they are: a link is in their place or on the way. "
            "Null in a preview."
        },
    )
    unrestored = fields.List(
        fields.String(),
        allow_none=True,
        metadata={
            "description": "Those that are left as they are, by a link or since their backup is "
            "gone. Null in a preview."
        },
    )
    not_restored = fields.String(
        metadata={"enum": [NOT_RESTORED], "description": "What no restore changes back."}
    )


class RewindReply(ChangedSessionReply):
    """The session as it goes on; in a preview, as it is."""

    files = fields.Nested(
        RestoredFilesReply, allow_none=True, metadata={"description": "Null where they were kept."}
    )


class MessagesQuery(_Schema):
    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, MAX_PAGE))
    before = Text(limit=MAX_QUERY_BYTES, load_default=None)
    after = Text(limit=MAX_QUERY_BYTES, load_default=None)


class ConversationMessageReply(_Schema):
    """What a person said, or the model until the next thing was said."""

    id = fields.String()
    turn_id = fields.String(allow_none=True)
    role = fields.String(metadata={"description": "`user` or `assistant`."})
    created_at = fields.String()
    parts = fields.List(fields.Dict())
    state = fields.String(metadata={"description": "`complete` or `interrupted`."})
    usage = fields.Dict()


class MessagesReply(_Schema):
    messages = fields.List(fields.Nested(ConversationMessageReply))
    source = fields.String(metadata={"description": "`transcript` or `history`."})
    next = fields.String(allow_none=True)


class MessageReply(_Schema):
    success = fields.Boolean()
    message = fields.String()


class ProcessReply(_Schema):
    """A CLI process."""

    id = fields.String(metadata={"description": "Unique among the processes of all workers."})
    pid = fields.Integer()
    project = fields.String(allow_none=True, metadata={"description": "null for a spare."})
    state = fields.String(
        metadata={"description": "`starting`, `spare`, `idle`, `busy` or `ending`."}
    )
    age_seconds = fields.Float()
    turns = fields.Integer()
    memory_bytes = fields.Integer(
        allow_none=True,
        metadata={"description": "Its share (PSS), its tools and servers included."},
    )
    last_used = fields.String(allow_none=True, metadata={"description": "ISO 8601."})
    worker = fields.String(
        metadata={"description": "The `name` in `GET /workers`, where there are several."}
    )


class ProcessesReply(_Schema):
    processes = fields.List(fields.Nested(ProcessReply))
    count = fields.Integer()
    unreachable = fields.List(
        fields.String(),
        metadata={"description": "Where there are several workers: those that did not answer."},
    )


class WorkerReply(_Schema):
    """A worker, as it told with its last heartbeat."""

    name = fields.String(metadata={"description": "Unique among all that ever ran."})
    host = fields.String()
    pid = fields.Integer()
    started_at = fields.String(metadata={"description": "ISO 8601."})
    projects = fields.Integer(metadata={"description": "That have a process there."})
    processes = fields.Integer()
    free = fields.Integer(metadata={"description": "Processes that it may still start."})
    lag_ms = fields.Float(metadata={"description": "How late it wakes up."})
    last_beat = fields.String(metadata={"description": "ISO 8601."})


class WorkersReply(_Schema):
    workers = fields.List(fields.Nested(WorkerReply))
    count = fields.Integer()


class UsageQuery(_Schema):
    by = Text(
        load_default=UsageBy.DAY.value,
        validate=validate.OneOf([each.value for each in UsageBy]),
        metadata={"description": "What it is summed by."},
    )
    first = Day(
        data_key="from",
        load_default=None,
        metadata={"description": "Without it: 29 days before `to`. At most 400 days before it."},
    )
    last = Day(
        data_key="to",
        load_default=None,
        metadata={"description": "The last day, in UTC; without it: today."},
    )


class UsageNumbers(_Schema):
    turns = fields.Integer(
        metadata={"description": "By model, a turn counts for the one that cost most in it."}
    )
    input_tokens = fields.Integer()
    output_tokens = fields.Integer()
    cache_read_tokens = fields.Integer()
    cache_write_tokens = fields.Integer()
    cost_usd = fields.Float()


class UsagePlace(_Schema):
    day = fields.String(metadata={"description": "YYYY-MM-DD, in UTC."})
    project = fields.String()
    key = fields.String(
        allow_none=True,
        metadata={"description": "The key's name; null for turns that came without a key."},
    )
    model = fields.String(
        allow_none=True, metadata={"description": "null where the CLI does not tell."}
    )


class UsageRowReply(UsageNumbers, UsagePlace):
    """What the turns of one day, project, key or model took together."""


class UsageReply(_Schema):
    usage = fields.List(fields.Nested(UsageRowReply))
    count = fields.Integer()
    total = fields.Nested(UsageNumbers, metadata={"description": "Of rows that are cut off too."})
    first = fields.String(data_key="from", metadata={"description": "The first day."})
    last = fields.String(data_key="to", metadata={"description": "The last day."})
    truncated = fields.Boolean(
        metadata={"description": "Where there are more rows than the 1000 that cost most."}
    )


class RootReply(_Schema):
    status = fields.String()


class AuthState(_Schema):
    """Whether we hold an XO token; never the token."""

    authenticated = fields.Boolean()
    user_id = fields.String(allow_none=True)
    expires_at = fields.String(allow_none=True, metadata={"description": "ISO 8601."})
    auth_session_id = fields.String(allow_none=True)
    token_source = fields.String(metadata={"description": "`none` or `dynamic_or_env`."})


class HealthReply(_Schema):
    status = fields.String(metadata={"description": "`healthy` while the process serves."})
    timestamp = fields.String(metadata={"description": "ISO 8601."})
    chat_api_url = fields.String()
    auth = fields.Nested(AuthState)
    ai_provider = fields.String()
    claude_cli = fields.String()
    active_sessions = fields.Integer()
    ready = fields.Boolean(metadata={"description": "As `/health/ready` says."})
    reasons = fields.List(fields.String())
    claude = fields.Dict(
        metadata={
            "description": "`unknown_events` counts, by name, what the CLI has said since the start"
            " that this server does not know."
        }
    )
    processes = fields.Dict()
    chat_api = fields.Dict()
    store = fields.Dict(metadata={"description": "`kind`, and whether it is there: `ok`."})
    turns = fields.Integer()
    version = fields.String()
    stage = fields.Raw(metadata={"description": "Always null."})
    codex_cli = fields.Raw(metadata={"description": "Always null."})


class ReadyReply(_Schema):
    ready = fields.Boolean()
    reasons = fields.List(
        fields.String(),
        metadata={"description": "Told to holders of a key and callers on the server's machine."},
    )


class DeadLetterReply(_Schema):
    """A message that the Chat API refused for good; its text is not shown."""

    id = fields.String(metadata={"description": "`<turn_id>-question` or `<turn_id>-answer`."})
    project_id = fields.String()
    type = fields.String(allow_none=True)
    status = fields.String(allow_none=True, metadata={"description": "`partial` or `failed`."})
    why = fields.String()
    created_at = fields.String(metadata={"description": "ISO 8601."})
    died_at = fields.String(metadata={"description": "ISO 8601."})


class OutboxReply(_Schema):
    pending = fields.Integer(metadata={"description": "Messages that wait, of all callers."})
    oldest_age_s = fields.Float(allow_none=True)
    dropped = fields.Integer(metadata={"description": "Lost to a bound since the start."})
    dead = fields.Integer(metadata={"description": "The caller's dead letters."})
    dead_letters = fields.List(fields.Nested(DeadLetterReply))


class RetryReply(_Schema):
    success = fields.Boolean()
    retried = fields.Integer()


class AuthStartBody(_Schema):
    scopes = Json(load_default=None, allow_none=True)
    client_reference = Text(load_default=None, allow_none=True)


class AuthConsumeBody(_Schema):
    auth_session_id = Text(load_default=None, allow_none=True)
    poll_token = Text(load_default=None, allow_none=True)


class AuthStatusQuery(_Schema):
    poll_token = Text(
        required=True,
        validate=not_blank,
        metadata={"minLength": 1, "pattern": r"\S"},
    )


class AuthConsumeReply(_Schema):
    success = fields.Boolean()
    message = fields.String()
    user_id = fields.String(allow_none=True)
    expires_in = fields.Raw(allow_none=True)
    scope = fields.Raw(allow_none=True)


class WhoamiReply(_Schema):
    success = fields.Boolean()
    user_id = fields.String(allow_none=True)


class Problem(_Schema):
    """Every error that is not a validation error."""

    error = fields.String(metadata={"description": "One sentence for a person."})
    code = fields.String(metadata={"description": "Stable; `docs/api.md` has the table."})


class ProblemReply(_Schema):
    detail = fields.Nested(Problem)


class Fault(_Schema):
    """One thing that is wrong with a request."""

    type = fields.String()
    loc = fields.List(fields.Raw(), metadata={"description": "Where: `body`, then the key."})
    msg = fields.String()


class ValidationReply(_Schema):
    detail = fields.List(fields.Nested(Fault))
