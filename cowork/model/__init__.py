"""The values of the domain: what a project, its session, its turns and its messages are.

Times are UTC, with their zone.
"""

from cowork.model.approval import (
    APPROVALS_KEEP_S,
    APPROVALS_LIMIT,
    APPROVALS_OF_OWNER,
    Approval,
    Decision,
    Resolution,
)
from cowork.model.chat_message import (
    ChatMessage,
    DeadLetter,
    OutboxCounts,
)
from cowork.model.conversation import (
    ConversationNode,
)
from cowork.model.session import (
    EARLIER_LIMIT,
    NO_OWNER,
    Claim,
    Exchange,
    Project,
    Session,
    with_earlier,
)
from cowork.model.ticket import (
    TICKET_TTL_S,
    Ticket,
)
from cowork.model.turn import (
    TurnEnd,
    TurnFilter,
    TurnKey,
    TurnPage,
    TurnPlace,
    TurnRecord,
)
from cowork.model.usage import (
    Spending,
    Usage,
    UsageBy,
    UsageRow,
)
from cowork.model.worker import (
    Message,
    PublishedEvents,
    TranscriptState,
    WorkerInfo,
)
from cowork.model.xo_token import (
    XoToken,
)

__all__ = [
    "APPROVALS_KEEP_S",
    "APPROVALS_LIMIT",
    "APPROVALS_OF_OWNER",
    "EARLIER_LIMIT",
    "NO_OWNER",
    "TICKET_TTL_S",
    "Approval",
    "ChatMessage",
    "Claim",
    "ConversationNode",
    "DeadLetter",
    "Decision",
    "Exchange",
    "Message",
    "OutboxCounts",
    "Project",
    "PublishedEvents",
    "Resolution",
    "Session",
    "Spending",
    "Ticket",
    "TranscriptState",
    "TurnEnd",
    "TurnFilter",
    "TurnKey",
    "TurnPage",
    "TurnPlace",
    "TurnRecord",
    "Usage",
    "UsageBy",
    "UsageRow",
    "WorkerInfo",
    "XoToken",
    "with_earlier",
]
