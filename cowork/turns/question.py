"""What a client asks."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from sys import getsizeof

from cowork.claude.launch_options import DEFAULT, LaunchOptions


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks.

    `skill` is the CLI's name of a skill or None.  `streaming` decides what the time limit bounds:
    the whole turn, or the silence in it; `timeout`, in seconds, may make it shorter.  `options` is
    what its process must have been started with.  `events` are the kinds besides tokens that its
    client asked for.  `digest` is of the text, which is not kept when the turn has ended.
    """

    text: str
    user_id: str | None = None
    message_type: str | None = None
    skill: str | None = None
    streaming: bool = False
    timeout: float | None = None
    options: LaunchOptions = DEFAULT
    events: tuple[str, ...] = ()
    digest: str = ""

    @property
    def size(self) -> int:
        """Bytes that its texts take in memory."""
        options = self.options
        texts = (self.text, options.system_prompt, options.output_schema, self.user_id)
        return sum([getsizeof(text) for text in texts if text is not None])

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
        )


def digest_of(text: str) -> str:
    """The digest of a question's text, 32 characters."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
