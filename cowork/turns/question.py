"""What a client asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from sys import getsizeof
from typing import Any

from cowork.claude import turn_options
from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.turn_options import TurnOptions
from cowork.turns.continuation import Continuation
from cowork.turns.session_change import SessionChange

# Of an attachment besides its data.
BLOCK_BYTES = 512
# Which kinds of clients ask: ours, and those of other APIs.
APIS = frozenset({"native", "chat", "responses", "messages", "ai_sdk"})
# Of its text, as much as is told of a turn that waits or runs; characters.
SHOWN_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks.

    `skill` is the CLI's name of a skill or None.  `streaming` decides what the time limit bounds:
    the whole turn, or the silence in it; `timeout`, in seconds, may make it shorter.  `options` is
    what its process must have been started with, `turn_options` what that takes on for it,
    `blocks` its attachments as the CLI takes them.  `max_turns` is of requests to the model,
    `max_budget_usd` of their cost, `approval_timeout` (seconds) of the wait for a person.  `events`
    are the kinds besides tokens that its client asked for.  `digest` is of the text, which is not
    kept when the turn has ended.  With a `change` nothing is asked: the turn makes that.
    `api` is the kind of client that asked, one of `APIS`, for the metrics; of one that sends
    conversations `continuation` is how it goes on.  With `is_background` its turn goes on without a
    reader; `echo` is what an answer repeats of its request, of a few kilobytes.
    """

    text: str
    user_id: str | None = None
    message_type: str | None = None
    skill: str | None = None
    streaming: bool = False
    timeout: float | None = None
    options: LaunchOptions = DEFAULT
    turn_options: TurnOptions = turn_options.DEFAULT
    blocks: tuple[Mapping[str, Any], ...] = ()
    max_turns: int | None = None
    max_budget_usd: float | None = None
    approval_timeout: float | None = None
    events: tuple[str, ...] = ()
    digest: str = ""
    change: SessionChange | None = None
    api: str = "native"
    continuation: Continuation | None = None
    is_background: bool = False
    echo: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes that its texts take in memory."""
        options = self.options
        texts = (self.text, options.system_prompt, options.output_schema, self.user_id)
        size = sum([getsizeof(text) for text in texts if text is not None])
        if self.continuation is not None:
            size += self.continuation.size
        return size + (sum(map(_block_size, self.blocks)) if self.blocks else 0)

    def is_text(self, text: str) -> bool:
        """Whether this was the question's text; what an earlier version kept does not tell."""
        return self.digest in {"", digest_of(text)}

    def without_texts(self) -> Question:
        """What of it is looked at when its turn has ended."""
        # Not `replace`, which takes twice the time: this is done at the end of every turn.
        return Question(
            "",
            self.user_id,
            self.message_type,
            self.skill,
            self.streaming,
            self.timeout,
            events=self.events,
            digest=self.digest,
            change=self.change,
            api=self.api,
            echo=self.echo,
        )


def _block_size(block: Mapping[str, Any]) -> int:
    source = block.get("source", {})
    return BLOCK_BYTES + len(source.get("data", ""))


def digest_of(text: str) -> str:
    """The digest of a question's text, 32 characters."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
