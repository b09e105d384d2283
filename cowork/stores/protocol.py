"""What every store offers.

Each method is atomic and safe to call from any thread.  A store that is unavailable raises
`StoreUnavailable`; none of them waits longer than a second.  Times are UTC, with their zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Protocol

from cowork.model import (
    Approval,
    ChatMessage,
    Claim,
    ConversationNode,
    Exchange,
    Project,
    Resolution,
    Session,
    Ticket,
    TurnEnd,
    TurnFilter,
    TurnKey,
    TurnPage,
    TurnRecord,
    UsageBy,
    UsageRow,
    XoToken,
)
from cowork.stores.outbox_protocol import OutboxStore
from cowork.stores.worker_protocol import WorkerStore

# How long a claim holds after its holder's last heartbeat.
CLAIM_TTL_S = 15.0


class StoreUnusable(ValueError):
    """The store that is configured cannot be used as it is; the sentence says what to do."""


class SessionStore(Protocol):
    """Sessions, the claims on their projects, and what was said in them."""

    def session(self, project: Project) -> Session | None:
        """The project's session, or None."""

    def sessions(self, owner: str) -> list[Session]:
        """The owner's sessions, oldest first, but for those of unnamed projects."""

    def session_count(self) -> int:
        """How many sessions there are, of all owners, but for those of unnamed projects."""

    def put_session(self, session: Session, claim: Claim) -> bool:
        """Keep `session`; False, and nothing kept, when `claim` is no longer the newest."""

    def titles(self, owner: str) -> dict[str, str]:
        """What the owner's sessions are called that were given a title, by project."""

    def put_title(self, project: Project, title: str | None) -> bool:
        """Call the project's session so, None takes that back; False where there is none."""

    def delete_session(self, project: Project) -> Session | None:
        """Forget the session and void every claim on it; what was there, or None.

        Its history and the project's turns that have ended go with it; the ids of what the CLI
        keeps of it are `removals` from now on.
        """

    def removals(self) -> list[str]:
        """Ids of deleted sessions whose files are still to be removed, oldest first.

        There are `REMOVALS_LIMIT` at most; beyond it the oldest are forgotten.
        """

    def delete_removal(self, session_id: str) -> None:
        """The files of that session are gone; an id that is not there is no error."""

    def claim(self, project: Project) -> Claim | None:
        """Claim the project for one turn, or None while another turn holds it.

        It holds until it is released, or `CLAIM_TTL_S` seconds after the last `heartbeat`.
        """

    def release(self, claim: Claim) -> None:
        """Give a claim back; one that was voided already is no error."""

    def claimed_elsewhere(self, project: Project) -> bool:
        """Whether a turn of another holder has claimed the project."""

    def history(self, project: Project) -> list[Exchange]:
        """What was said in the project's sessions since it was last deleted, oldest first."""


class TurnStore(Protocol):
    """Turns, and the holders that run them.

    A store that forgets at restart has no use for turns: they are kept by whoever ran them.  Of
    these methods it does what concerns messages, sessions and history, and finds nothing.
    """

    def put_turn(
        self, record: TurnRecord, question: ChatMessage | None, key: TurnKey | None
    ) -> tuple[str, str] | None:
        """Keep a turn that is accepted; the question of one that is not `queued` is a message now.

        Nothing is kept where `key` has a turn already: its id and digest.
        """

    def start_turn(self, record: TurnRecord, question: ChatMessage | None) -> bool:
        """A turn that was queued begins: its question becomes a message.

        False where it has ended meanwhile: its holder was thought to be dead.
        """

    def end_turn(self, end: TurnEnd) -> bool:
        """Keep all that a turn's end changes, once; whether `end.session` was kept.

        The question of a turn that never began is among its messages.
        """

    def turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        """The owner's turn of that id and its log."""

    def turns(self, project: Project, wanted: TurnFilter) -> TurnPage:
        """The project's turns, those that run and wait among them, newest first.

        They are fewer than wanted where their records take more than `TURN_PAGE_BYTES`, or where
        many others would have to be passed over; `next` says then that there may be more.
        """

    def find_by_idempotency_key(self, owner: str, key: str) -> tuple[str, str] | None:
        """The id of the turn that came with this key, and its digest."""

    def bind_key(self, key: TurnKey, turn_id: str, *, replaces: bool = False) -> None:
        """What came with this key was said to that turn, for `KEY_KEEP` seconds at least.

        Nothing changes where the key has a turn, unless this one `replaces` it, which is for
        `LATEST_KEY_KEEP` seconds, or as long as the turn is kept.
        """

    def forget_turns(self, project: Project) -> None:
        """Remove the project's turns that have ended, and their keys."""

    def heartbeat(self) -> None:
        """Send this holder's heartbeat, and renew its claims."""

    def holders(self) -> dict[str, float]:
        """Seconds since each holder's last heartbeat."""

    def release_dead_holder(self, holder: str) -> list[str]:
        """Release what a dead holder claimed, and end its turns as failed; the ids of those.

        The key of one that was queued is given back: it can be asked again.
        """

    def expire(self, limit: int) -> int:
        """Remove what was kept long enough, `limit` turns at most; how many it was."""

    def save_turn(self, record: TurnRecord, log: bytes | None, *, parks: bool) -> None:
        """Keep how a turn that runs stands, and its log so far.

        One that `parks` outlives the process that runs it: it is then nobody's, as when it is
        given up (`holder` is empty), and waits for whoever adopts it.
        """

    def parked_turns(self) -> list[TurnRecord]:
        """Turns that are nobody's, `APPROVALS_LIMIT` at most."""

    def adopt_turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        """Take a turn that is nobody's; None where somebody was quicker."""


class ApprovalStore(Protocol):
    """Approvals, while they wait and for `APPROVALS_KEEP_S` after."""

    def put_approval(self, approval: Approval) -> bool:
        """Keep one that waits; False where too many do, of its owner or of all."""

    def approval(self, approval_id: str) -> Approval | None:
        """The approval of that id."""

    def approvals(self, owner: str | None, *, pending: bool, limit: int) -> list[Approval]:
        """The owner's, None is everybody's: those that wait, oldest first, else newest first."""

    def resolve_approval(
        self, approval_id: str, resolution: Resolution, answer: Mapping[str, Any]
    ) -> bool:
        """Let it wait no more; False where it does not any more, or never was."""

    def apply_approval(self, approval_id: str, when: datetime) -> None:
        """The CLI was told the answer, which is kept no longer."""


class ConversationStore(Protocol):
    """Nodes of conversations, which `end_turn` keeps; those of a project go with its session.

    There are `NODES_LIMIT` at most and `NODES_OF_OWNER` of an owner; beyond that those go that were
    used longest ago, of the owner who has most.
    """

    def node(self, owner: str, key: str) -> ConversationNode | None:
        """The owner's node of that key, which is used by that."""

    def node_of_turn(self, owner: str, turn_id: str) -> ConversationNode | None:
        """The owner's node at the end of that turn, which is used by that."""

    def expire_nodes(self, unused_s: float, orphaned_s: float, limit: int) -> list[Project]:
        """Remove nodes that were not used for `unused_s` seconds, `limit` at most.

        Unnamed projects, as many at most, that have no node and whose session was not put for
        `orphaned_s` seconds: nobody can go on with them.
        """


class UsageStore(Protocol):
    """What turns have spent, which `end_turn` counts, for `USAGE_KEEP_DAYS` days."""

    def usage(
        self, owner: str | None, first: date, last: date, by: UsageBy = UsageBy.DAY
    ) -> list[UsageRow]:
        """What the owner's turns spent from `first` to `last`, summed; None is everybody's.

        In the order of the days, names or models.  A long time is read a part at a time, so that
        what is counted meanwhile may be in it or not.
        """


class TicketStore(Protocol):
    """Tickets for the events of turns; they go with their turn."""

    def put_ticket(self, ticket: Ticket) -> bool:
        """Keep a ticket that is used within `TICKET_TTL_S`; False where its turn has `LIMIT`."""

    def use_ticket(self, turn_id: str, digest: str) -> Ticket | None:
        """The turn's ticket of this digest, unless it is too late; no deadline from now on."""


class TokenStore(Protocol):
    """The XO token."""

    def token(self) -> XoToken | None:
        """The stored XO token, expired or not."""

    def put_token(self, token: XoToken | None) -> None:
        """Replace the token; None forgets it."""

    def compare_and_set_token(self, expected: str | None, token: XoToken | None) -> bool:
        """As `put_token`, if `expected` is the stored access token (None: there is none).

        False, and nothing changed, if it is not: somebody logged in or out meanwhile.
        """


class Store(
    SessionStore,
    TurnStore,
    ApprovalStore,
    ConversationStore,
    UsageStore,
    TicketStore,
    TokenStore,
    OutboxStore,
    Protocol,
):
    """Sessions, claims, turns, what was said and spent, tickets, the token and the outbox.

    A store is opened under the name of its `holder`, the process that uses it; claims and turns
    belong to one, and those of a holder that is gone are set free by whoever notices.
    """

    @property
    def others(self) -> WorkerStore | None:
        """Where several workers may share the store for good: what they tell each other."""

    def close(self) -> None:
        """Let go of files and connections; calling it twice is no error."""
