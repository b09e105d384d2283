"""Plays the lines of a scene, and its cues: what no recording holds, since it depends on the turn.

The cues:
tokens    the answer as deltas; the words of `text` instead, or at most `limit` of them
thoughts  thinking deltas
tool      run the tool
message   the model begins another message
block     the content block being written has this `index`
play      another `scene`
state     the session's `state` changes
"""

from __future__ import annotations

import _signal as signal

from . import children, mishaps, scenes
from .blanks import Blanks
from .script import Script, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .listener import Message
    from .process import Process

_TOKENS_BEFORE_MISHAP = 3


class Performer:
    """Plays scenes for one turn.

    `at` is what an interrupt would cut into: "waiting", "text", "thinking" or "tool".
    `answer` is what the `tokens` cue says.  `after_tokens` is a mishap that waits for the third
    token, `littering` whether each event is followed by garbage.
    """

    def __init__(self, process: Process, messages: list[Message]) -> None:
        self.process = process
        self.script = messages[-1].script if messages else Script("")
        self.blanks = Blanks(process, messages)
        self.at = "waiting"
        self.answer = ""
        self.after_tokens: Callable[[Performer], None] | None = None
        self.littering = False
        self._spoken = 0
        self._delay_s = self.script.number("delay") / 1000
        self._cues: dict[str, Callable[[dict[str, Any]], None]] = {
            "tokens": self._tokens,
            "thoughts": self._thoughts,
            "tool": self._tool,
            "message": lambda _: self.blanks.next_message(),
            "block": lambda cue: self.blanks.tell(block=cue["index"]),
            "play": lambda cue: self.scene(cue["scene"]),
            "state": lambda cue: process.say_state(cue["state"]),
        }

    def scene(self, name: str) -> None:
        """Play a scene to its end; raises Interrupted."""
        for step in scenes.load(name):
            if isinstance(step, scenes.Line):
                self._line(step)
            else:
                self._cues[step["cue"]](step)

    def _line(self, line: scenes.Line) -> None:
        self.process.emit(line.fill(self.blanks.value))
        if self.littering:
            mishaps.litter(self.process)

    def _tokens(self, cue: dict[str, Any]) -> None:
        self.at, self.blanks.said, self._spoken = "text", "", 0
        if "text" in cue:
            self._speak(words(cue["text"]))
        elif "flood" in self.script:
            mishaps.flood(self, int(self.script.number("flood", 1000)))
        else:
            spoken = words(self.answer)[: cue.get("limit")]
            self._speak(spoken[:_TOKENS_BEFORE_MISHAP])
            self._have_mishap()
            self._speak(spoken[_TOKENS_BEFORE_MISHAP:])
        self.at = "waiting"

    def _speak(self, tokens: list[str]) -> None:
        for token in tokens:
            if self._spoken:
                self.process.wait(self._delay_s)
            self._spoken += 1
            self.blanks.say(token)
            self.blanks.tell(token=token)
            self.scene("token")

    def _have_mishap(self) -> None:
        mishap, self.after_tokens = self.after_tokens, None
        if mishap is not None:
            mishap(self)

    def _thoughts(self, _: dict[str, Any]) -> None:
        self.at, self.blanks.said = "thinking", ""
        for count in range(int(self.script.number("think", 1))):
            if count:
                self.process.wait(self._delay_s)
            token = f"thought {count} "
            self.blanks.say(token)
            self.blanks.tell(token=token, thought=3 * (count + 1))
            self.scene("thought")
        self.at = "waiting"

    def _tool(self, _: dict[str, Any]) -> None:
        self.at = "tool"
        seconds = self.script.number("tool")
        self.blanks.tell(output="hi", stdout="hi")
        if "background" in self.script:
            children.leave_behind(self.script.number("background"))
            self.process.config.log.add("child", kind="background")
            self.blanks.tell(output="", stdout="")
        elif "line" in self.script:
            self._pad_result(int(self.script.number("line")))
        elif seconds:
            self._run_tool(seconds)
        self.process.wait(0)
        self.at = "waiting"

    def _run_tool(self, seconds: float) -> None:
        process = self.process
        ends = {signal.SIGTERM, signal.SIGHUP}
        # Neither may come between the tool's start and our knowing its pid.
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        process.tool = pid = children.start_tool(seconds)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
        process.config.log.add("child", kind="tool", child=pid)
        process.wait(process.config.lifetime_s, until=lambda: children.has_ended(pid))
        process.tool = None

    def _pad_result(self, size: int) -> None:
        """Give the line that follows this cue so many bytes."""
        self.blanks.tell(output="", stdout="")
        line = scenes.load("tool")[-1]
        if isinstance(line, scenes.Line):
            missing = size - len(line.fill(self.blanks.value).encode())
            self.blanks.tell(output="x" * max(0, missing))
