"""One turn: what its question's script asks for, in scenes."""

from __future__ import annotations

import os
import time

from . import children, mishaps, scenes
from .performer import Performer
from .script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .listener import Message
    from .process import Process

_UNSOLICITED_S = 0.3
_MODEL_IS_ASKED_AGAIN_S = 0.03


class Turn(Performer):
    """Plays one turn on a process; `messages` are its questions, none for an unsolicited one."""

    def __init__(self, process: Process, messages: list[Message]) -> None:
        super().__init__(process, messages)
        self.messages = messages
        self.question = messages[-1].text if messages else ""
        self.uuid = messages[-1].uuid if messages else ""

    def keep_questions(self) -> None:
        """Write the questions down before anything can go wrong."""
        for message in self.messages:
            if not message.queried and not message.text:
                continue  # The real CLI keeps nothing of it, not even a file.
            self.process.transcript.ask(message.text, message.uuid)

    def play(self) -> str:
        """Play it; "completed" or "cancelled", as `command_lifecycle` calls it."""
        if not self.messages:
            self.scene("unsolicited")
            self._keep_answer()
            return "completed"
        if not self.messages[-1].queried:
            self._say_lifecycle("started")
            self.scene("unqueried")
            self._end("completed")
            return "completed"
        mishaps.play_silent(self)
        self.answer = self._written_answer()
        self._say_lifecycle("started")
        self.scene("opening")
        if "--replay-user-messages" in self.process.flags:
            self.scene("replay")
        self.process.wait(0)
        outcome = self._body()
        self._end(outcome)
        return outcome

    def play_interrupted(self, *, by_signal: bool) -> str:
        """The last words of a turn that was told to stop."""
        if self.process.tool is not None:
            children.kill(self.process.tool)
            self.process.tool = None
        cut = "thinking" if self.at == "text" and not self.blanks.said else self.at
        if cut == "text":
            self._keep_answer()
        self.littering = False
        self.process.failed_last = True
        self.scene(f"interrupted_{cut}")
        self._end("cancelled", idle=not by_signal)
        return "interrupted"

    def _end(self, outcome: str, *, idle: bool = True) -> None:
        self._say_lifecycle(outcome)
        if idle and not self.process.listener.waiting:
            self.process.say_state("idle")

    def _say_lifecycle(self, state: str) -> None:
        for message in self.messages:
            self.process.say("lifecycle", state=state, turn=message.uuid)

    def _body(self) -> str:
        script = self.script
        if not self.process.config.logged_in:
            return self._fail("not_logged_in")
        mishaps.play_before_answer(self)
        if any("poison" in Script(text) for text in self.process.transcript.questions[:-1]):
            return self._fail("400")
        if "fail" in script:
            return self._fail(script.directions["fail"])
        if "unsolicited" in script:
            self.process.unsolicited_at = time.monotonic() + _UNSOLICITED_S
        if "broken" in script:
            self._break(int(script.number("broken", 2)))
        elif "think" in script:
            self.scene("thinking")
        elif "tool" in script or "background" in script or "line" in script:
            self._use_tool()
            self._answer_after_tool()
        elif "subagent" in script:
            self._describe_tool({"description": "count", "prompt": "Count to three."})
            self.scene("subagent")
            self._answer_after_tool()
        else:
            self.scene("answer")
        self._keep_answer()
        self.process.wait(script.number("linger") / 1000)
        self.scene("success")
        self.process.failed_last = False
        return "completed"

    def _fail(self, kind: str) -> str:
        self.process.failed_last = True
        if kind == "max_turns":
            self._use_tool()
        self.scene(f"fail_{kind}")
        return "completed" if kind == "max_turns" else "cancelled"

    def _break(self, times: int) -> None:
        """The model's connection is lost; after the second time the CLI asks without streaming."""
        self.scene("broken_stream")
        mishaps.retry(self, 1, _MODEL_IS_ASKED_AGAIN_S, mishaps.NOT_REACHED)
        if times == 1:
            self.scene("broken_then_streamed")
            return
        self.scene("broken_stream_again")
        self.blanks.said = f"Asked again: {self.answer}"
        self.scene("broken_answer")

    def _use_tool(self) -> None:
        seconds = self.script.number("tool")
        command = f"sleep {seconds:g}; echo hi" if seconds else "echo hi"
        if "background" in self.script:
            command = f"nohup setsid sleep {self.script.number('background'):g} &"
        self._describe_tool({"command": command, "description": "d"})
        self.scene("tool")
        self._take_in()

    def _take_in(self) -> None:
        """What was said meanwhile joins the turn, which answers the last of it."""
        taken = self.process.listener.take_in()
        for message in taken:
            self.process.say("lifecycle", state="started", turn=message.uuid)
            self.process.transcript.ask(message.text, message.uuid)
        if taken:
            self.messages = [*taken, *self.messages]
            self.script = taken[-1].script
            self.answer = self._written_answer()
            self.blanks.tell(turns=[message.uuid for message in self.messages])

    def _describe_tool(self, given: dict[str, str]) -> None:
        self.blanks.tell(tool_input=given, tool_input_text=scenes.to_json(given))

    def _answer_after_tool(self) -> None:
        self.scene("requesting")
        self.scene("answer_again")

    def _written_answer(self) -> str:
        script = self.script
        if script.unknown is not None:
            return f"Unknown direction: [[{script.unknown}]]"
        if "say" in script:
            return script.directions["say"]
        if "words" in script:
            return " ".join(f"w{n}" for n in range(1, int(script.number("words")) + 1))
        if "count" in script:
            asked = [Script(text).text for text in self.process.transcript.questions]
            return f"I see {len(asked)} questions: {' | '.join(asked)}"
        facts = {"env": dict(os.environ), "argv": self.process.argv}
        for name, fact in facts.items():
            if name in script:
                return scenes.to_json(fact)
        return self.process.transcript.cwd if "cwd" in script else f"You said: {script.text}"

    def _keep_answer(self) -> None:
        if self.blanks.said:
            self.process.transcript.answer(self.blanks.said, self.process.uuid())
