"""A project and its session: the conversation with the CLI."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cowork.model.usage import Usage

# The owner of every request where no API key is configured.
NO_OWNER = ""
# Of a project's sessions those that were given up last.
EARLIER_LIMIT = 100
# What no project's name begins with: names have no control characters.
_UNNAMED = "\x01"


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its owner names it; two owners' projects of one name are two projects.

    `owner` is the name of the API key that asks, or `""` where no key is configured.
    """

    owner: str
    name: str

    @classmethod
    def unnamed(cls, owner: str, mark: str) -> Project:
        """One that no client can name, of a conversation that came without; `mark` is its own."""
        return cls(owner, _UNNAMED + mark)

    @property
    def is_unnamed(self) -> bool:
        """Whether it is one that no client has named."""
        return self.name.startswith(_UNNAMED)

    @property
    def told_name(self) -> str | None:
        """What is told of it: its name, None where it has none."""
        return None if self.is_unnamed else self.name


@dataclass(frozen=True, slots=True)
class Session:
    """A project's conversation with the CLI: `id` is the CLI's session id, a lower-case UUID4.

    `cwd` is pinned, since the CLI finds a transcript by the directory it was begun in.
    `incomplete` says that its transcript lacks a turn, which its next process must be told.
    `model` is what a question has set, which the CLI goes on with when it resumes the session.
    `context_tokens` is what the last request to the model took, of so many that the model takes
    (`context_limit`); 0 where that is not known.
    `earlier` are the ids of the project's sessions that were given up for this one.
    `last_words` is how the last answer ends, one line (`turns/last_words.py`); empty for none.
    `last_turn` is the id of the turn that was the last to say something in it; empty if unknown.
    """

    project: Project
    id: str
    cwd: str
    created: datetime
    last_used: datetime
    turns: int = 0
    cost_usd: float = 0.0
    usage: Usage = Usage()
    incomplete: bool = False
    earlier: tuple[str, ...] = ()
    model: str | None = None
    context_tokens: int = 0
    context_limit: int = 0
    last_words: str = ""
    last_turn: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all that the CLI keeps for the project."""
        return with_earlier(*self.earlier, self.id)


def with_earlier(*ids: str) -> tuple[str, ...]:
    """The ids, each once, without the oldest of too many."""
    return tuple(dict.fromkeys(ids))[-EARLIER_LIMIT:]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to a project's session; `number` only ever grows (a fencing number)."""

    project: Project
    number: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of a project and its answer."""

    question: str
    answer: str
