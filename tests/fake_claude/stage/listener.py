"""What comes in on stdin: questions, control requests, and lines that kill."""

from __future__ import annotations

import os

from . import json_text
from .scenes import to_json
from .script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .process import Process

# What is answered and has no effect here.
_CHANGES_NOTHING: dict[str, dict[str, Any]] = {
    "mcp_status": {"mcpServers": []},
    "mcp_set_servers": {"added": [], "removed": [], "errors": {}},
    "apply_flag_settings": {},
    "get_usage": {"session": {"total_cost_usd": 0.0}},
}
_SILENT = ("deaf", "nonsense")


class Interrupted(Exception):
    """The running turn is to stop: a control interrupt, an end_session or SIGINT."""


class Message:
    """A question: its `text`, its `uuid`, the `script` at its start.

    `waited` is whether it came during a turn, `silent` whether not even its coming is told,
    `queried` whether the model is to be asked.
    """

    def __init__(self, text: str, uuid: str, *, waited: bool, queried: bool = True) -> None:
        self.text = text
        self.uuid = uuid
        self.waited = waited
        self.queried = queried
        self.script = Script(text)
        self.silent = any(name in self.script for name in _SILENT)


class Listener:
    """Reads lines for a process.

    `told_to_stop` is whether the running turn, or the one about to run, is to be interrupted;
    `signalled` whether SIGINT did it, after which the process ends.
    """

    def __init__(self, process: Process) -> None:
        self.told_to_stop = False
        self.signalled = False
        self.waiting: list[Message] = []
        self._process = process
        self._seen: set[str] = set()

    def take(self) -> list[Message]:
        """The questions of the next turn: what waited through a turn is asked together."""
        together = len(self.waiting) if self.waiting and self.waiting[0].waited else 1
        messages, self.waiting = self.waiting[:together], self.waiting[together:]
        return messages

    def take_in(self) -> list[Message]:
        """What joins the turn that runs, when its tools have ended; no text with a slash does."""
        taken = [each for each in self.waiting if not each.text.lstrip().startswith("/")]
        self.waiting = [each for each in self.waiting if each not in taken]
        return taken

    def hear(self, raw: bytes) -> None:
        """One line, as the real CLI takes it: ignored, obeyed, or fatal."""
        text = raw.decode(errors="replace")
        if not text.strip() or any(asked.silent for asked in self.waiting):
            return
        try:
            message = json_text.loads(text)
        except (ValueError, RecursionError):
            kind = text.partition('"type":"')[2].partition('"')[0] or "unknown"
            described = f"(type={kind}, {len(text)} chars)"
            self._process.die(f"Error parsing streaming input line {described}: SyntaxError")
        if not isinstance(message, dict):
            return
        if message.get("type") == "user":
            self._on_question(message)
        elif message.get("type") == "control_request":
            self._on_control(message)

    def _on_question(self, message: dict[str, Any]) -> None:
        process = self._process
        body = message.get("message") or {}
        role = body.get("role", "undefined")
        if role != "user":
            process.die(f"Error: Expected message role 'user', got '{role}'")
        content = body.get("content")
        if content is not None and not isinstance(content, str | list):
            return
        idle = process.turn is None and not self.waiting
        uuid = str(message.get("uuid") or process.uuid())
        queried = process.config.asks_always or message.get("shouldQuery") is not False
        asked = Message(_text_of(content), uuid, waited=not idle, queried=queried)
        if asked.uuid in self._seen:
            # Dropped without a word, save that an idle process says once more that it is.
            if idle:
                process.say_state("idle")
            return
        self._seen.add(asked.uuid)
        log = process.config.log
        event = "asked" if queried else "told"
        log.add(event, session=process.session, uuid=asked.uuid, text=asked.text)
        if not idle:
            log.add("overlap", what="message", session=process.session)
        self.waiting.append(asked)
        if not asked.silent:
            if idle:
                process.say_state("running")
            process.say("lifecycle", state="queued", turn=asked.uuid)

    def _on_control(self, message: dict[str, Any]) -> None:
        process = self._process
        request = message.get("request")
        if not isinstance(request, dict):
            process.die("Error: Missing request on control_request")
        process.config.log.add("control", session=process.session, request=request)
        subtype = str(request.get("subtype"))
        if subtype == "initialize":
            self._initialize(message.get("request_id"))
            return
        if subtype == "rewind_files":
            self._rewind(request, message.get("request_id"))
            return
        answer = self._obey(subtype, request)
        response: dict[str, Any] = {"subtype": "success", "request_id": message.get("request_id")}
        if answer is None:
            response["subtype"] = "error"
            response["error"] = f"Unsupported control request subtype: {subtype}"
        elif answer:
            response["response"] = answer
        process.emit(to_json({"type": "control_response", "response": response}))

    def _obey(self, subtype: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """What the answer holds, None for a request that nobody knows."""
        process = self._process
        if subtype == "interrupt":
            self.told_to_stop = process.turn is not None or bool(self.waiting)
            if request.get("cancel_queued") and process.turn is not None:
                return {"still_queued": [], "cancelled": self._cancel_waiting()}
            return {"still_queued": [asked.uuid for asked in self.waiting]}
        if subtype == "set_model":
            process.model = process.model_named(request.get("model"))
            return {"model": process.model}
        if subtype == "set_permission_mode":
            process.permission = str(request.get("mode"))
            return {"mode": process.permission}
        if subtype == "end_session":
            self.told_to_stop = process.turn is not None
            process.wire.ended = True
            return {}
        return _CHANGES_NOTHING.get(subtype)

    def _rewind(self, request: dict[str, Any], identity: object) -> None:
        """Say what the real one says; no file is touched."""
        process, cue = self._process, self._process.config.rewind
        if cue == "exit":
            process.die("Error: out of memory")
        no_checkpoint = "No file checkpoint found for this message."
        response: dict[str, Any] = {"subtype": "success", "request_id": identity}
        if request.get("dry_run"):
            response["response"] = (
                {"canRewind": False, "error": no_checkpoint}
                if cue == "none"
                else {
                    "canRewind": True,
                    "filesChanged": [f"{os.getcwd()}/new.txt", "/elsewhere/b.txt"],  # noqa: PTH109
                    "insertions": 2,
                    "deletions": 1,
                }
            )
        elif cue == "ok":
            response["response"] = {"canRewind": True, "skippedLinks": 1}
        else:
            failed = "Failed to rewind: No files were restored: 1 files failed"
            response |= {"subtype": "error", "error": no_checkpoint if cue == "none" else failed}
        process.emit(to_json({"type": "control_response", "response": response}))

    def _cancel_waiting(self) -> list[str]:
        cancelled, self.waiting = self.waiting, []
        for asked in cancelled:
            self._process.say("lifecycle", state="cancelled", turn=asked.uuid)
        return [asked.uuid for asked in cancelled]

    def _initialize(self, identity: object) -> None:
        process, config = self._process, self._process.config
        account: dict[str, str] = {"tokenSource": "none", "apiProvider": "firstParty"}
        if config.key_source != "none":
            account["apiKeySource"] = config.key_source
        elif config.logged_in:
            account = {"subscriptionType": "Claude Max", "apiProvider": "firstParty"}
        process.say(
            "initialize",
            request=identity,
            command_list=[
                {"name": name, "description": "", "argumentHint": ""} for name in process.commands()
            ],
            account=account,
            pid=os.getpid(),
            version=config.version,
            permission=process.permission,
            remote=config.remote_control,
        )


def _text_of(content: object) -> str:
    if isinstance(content, list):
        texts = [str(block.get("text", "")) for block in content if isinstance(block, dict)]
        content = "\n".join(texts)
    text = content if isinstance(content, str) else ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
