"""As `tests/unit/dialects/test_conversations.py`, whole: over HTTP, with processes and two keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings

from tests.contract.dialects.chats import Chat
from tests.serving import Client, Served, wait_for
from tests.unit.dialects.clients import EVERYBODY, OWNERS, STEPS, Conversation, Step

KEYS = {owner: owner * 12 for owner in OWNERS}
# Few: each is some questions to real processes.
EXAMPLES = 12


class World:
    """Clients of one server, who are sent what their fake CLI is told to say."""

    def __init__(self, clients: list[Chat], home: Path) -> None:
        self.clients = clients
        self.home = home

    def do(self, step: Step) -> None:
        chat = self.clients[step.client]
        answer = " ".join(step.answer.split())
        match step.kind:
            case "copy":
                before = self.clients[step.client - 1]
                if (before.headers, before.client) == (chat.headers, chat.client):
                    chat.messages = [*before.messages]
            case "task":
                beside = Chat(chat.client, self.home, chat.headers, chat.body)
                self._say(beside, f"### Task: {step.question}", stream=False)
            case "lose":
                self._end_processes()  # which remember what the transcripts have
                for transcript in self.home.glob(".claude/projects/*/*.jsonl"):
                    transcript.unlink()
            case "fail" | "keep":
                question = f"[[die]] {step.question}"
                assert chat.ask(question).status_code == 502
                if step.kind == "keep":
                    chat.messages += [
                        {"role": "user", "content": question},
                        {"role": "assistant", "content": "You said:"},
                    ]
            case _:
                self._cut(chat, step)
                self._say(chat, f"[[say {answer}]] {step.question}", stream=step.place % 2 == 1)

    def _end_processes(self) -> None:
        for chat in self.clients:
            for each in _processes(chat.client):
                chat.client.delete(f"/processes/{each['id']}")
            wait_for(lambda client=chat.client: not _processes(client))

    def _cut(self, chat: Chat, step: Step) -> None:
        if step.kind == "begin":
            chat.messages = []
        elif step.kind in ("again", "edit") and chat.messages:
            place = -1 if step.kind == "again" else step.place % (len(chat.messages) // 2)
            del chat.messages[2 * place :]

    def _say(self, chat: Chat, question: str, *, stream: bool) -> None:
        if stream:
            chat.say(question, stream=True)
            question = "[[say looked]] and?"
        reply = chat.say(question)
        assert chat.sent(reply) == chat.texts()


def _processes(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/processes").json()["processes"]
    return found


def test_the_model_is_sent_each_clients_texts_in_their_order_and_nothing_else(
    serve: Callable[..., Served], home: Path
) -> None:
    keys = ",".join(f"{owner}={key}" for owner, key in KEYS.items())
    served = serve(COWORK_API_KEYS=keys, COWORK_MAX_PROCESSES="4")
    with ExitStack() as closing:
        callers = {owner: Client(served.url, key) for owner, key in KEYS.items()}
        for each in callers.values():
            closing.callback(each.close)

        @settings(
            max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
        @given(STEPS, EVERYBODY)
        def run(steps: list[Step], everybody: list[tuple[object, ...]]) -> None:
            # Each example has names of its own.
            mark = uuid4().hex
            clients = []
            for who in everybody:
                told = Conversation(*who)
                name = {} if told.name is None else {"X-Conversation-ID": told.name.text + mark}
                body = {"user": f"{told.scope} {mark}"}
                clients.append(Chat(callers[told.owner], home, name, body))
            world = World(clients, home)
            for step in steps:
                world.do(step)

        run()
