"""What a client asks."""

from __future__ import annotations

from dataclasses import dataclass
from sys import getsizeof

from cowork.claude.launch_options import DEFAULT, LaunchOptions


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks.

    `skill` is the CLI's name of a skill or None.  `streaming` decides what the time limit bounds:
    the whole turn, or the silence in it; `timeout`, in seconds, may make it shorter.  `options` is
    what its process must have been started with.
    """

    text: str
    user_id: str | None = None
    message_type: str | None = None
    skill: str | None = None
    streaming: bool = False
    timeout: float | None = None
    options: LaunchOptions = DEFAULT

    @property
    def size(self) -> int:
        """Bytes that its texts take in memory."""
        options = self.options
        texts = (self.text, options.system_prompt, options.output_schema, self.user_id)
        return sum([getsizeof(text) for text in texts if text is not None])

    def without_texts(self) -> Question:
        """What of it is looked at when its turn has ended."""
        # Not `replace`, which takes twice the time: this is done at the end of every turn.
        return Question(
            "", self.user_id, self.message_type, self.skill, self.streaming, self.timeout
        )
