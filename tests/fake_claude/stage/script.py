"""A question's stage directions: `[[name argument]]`, any number of them, at its start."""

from __future__ import annotations

DIRECTIONS = {
    # What the answer says.
    "say": "TEXT: this text",
    "words": "N: w1 to wN",
    "count": "every question of the session so far: `I see 2 questions: a | b`",
    "env": "the environment, as JSON",
    "argv": "the arguments, as JSON",
    "cwd": "the working directory",
    # How it is said.
    "delay": "MS between tokens",
    "pause": "MS before the first token",
    "linger": "MS between the last token and the result",
    "think": "N thoughts first",
    "tool": "[SECONDS] a Bash call first; with SECONDS really a `sleep` in its own session",
    "background": "SECONDS: a Bash call that leaves a detached `sleep` behind",
    "line": "BYTES: a Bash call whose result is one line of so many bytes, line feed not counted",
    "subagent": "an agent is asked first; what it says has parent_tool_use_id set",
    "compact": "the conversation is compacted first",
    "retry": "N [MS]: N times api_retry first, MS (50) apart",
    "broken": "[1|2] the model's connection breaks so often; after the second time (default) the "
    "answer comes whole, without deltas, and is another one: `Asked again: ...`",
    "unsolicited": "0.3 s after the result a turn that nobody asked for",
    "garbage": "after each event a line that is not one",
    "flood": "N tokens in blocks, as fast as they are taken",
    "stderr": "BYTES on stderr before the answer",
    # How it fails.
    "poison": "answered, and every later question of its session is refused as by [[fail 400]]",
    "fail": "400, 401, 429 (subscription), 429_key, 500, 529, unreachable, not_logged_in, max_turns, "
    "refusal",
    "hang": "nothing after the turn's opening; an interrupt is answered",
    "stall": "nothing after 3 tokens; an interrupt is answered",
    "deaf": "nothing at all; interrupts, SIGINT, SIGTERM and stdin's end are ignored",
    "nonsense": "garbage only, then exit 0",
    "die": "[CODE] after 3 tokens: a line on stderr, exit CODE (1)",
    "kill": "after 3 tokens: SIGKILL to itself",
    "close": "after 3 tokens: stdout is closed, the process lives on",
    "partial": "after 3 tokens: half a line, then exit 0",
}


class Script:
    """What a question asks for.

    `directions` maps each name to its argument ("" without one), in the order they were written;
    `text` is the rest of the question.  A leading `/skill ` is passed over, the server writes one,
    and so is what the server tells of an earlier conversation.
    """

    def __init__(self, question: str) -> None:
        self.directions: dict[str, str] = {}
        question = _without_earlier(question)
        self.text = question
        rest = question.lstrip()
        if rest.startswith("/"):
            rest = rest.partition(" ")[2].lstrip()
        while rest.startswith("[["):
            inner, end, after = rest[2:].partition("]]")
            if not end:
                break
            name, _, argument = inner.strip().partition(" ")
            self.directions[name] = argument
            self.text = rest = after.lstrip()

    def __contains__(self, name: str) -> bool:
        return name in self.directions

    def number(self, name: str, default: float = 0) -> float:
        """The number a direction was given: `[[words 3]]`, or `default` without one."""
        return float(self.directions.get(name) or default)

    @property
    def unknown(self) -> str | None:
        """A direction that nobody knows: a test's typing error."""
        return next((name for name in self.directions if name not in DIRECTIONS), None)


def _without_earlier(question: str) -> str:
    before, begin, rest = question.partition("<earlier_conversation>\n")
    _, end, after = rest.partition("\n</earlier_conversation>")
    if not begin or not end:
        return question
    return f"{before.rstrip()}{after.removeprefix(chr(10) * 2)}"


def words(text: str) -> list[str]:
    """The tokens of a text, one a word with the space behind it; joined they are the text again."""
    parts = text.split(" ")
    return [f"{part} " for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
