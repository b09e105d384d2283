"""What the model is sent of a conversation is what its client says was said, and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings

from cowork.turns.turn import Turn
from tests.transcripts import plain
from tests.unit.dialects.clients import CLIENTS, EVERYBODY, STEPS, Conversation, Step
from tests.unit.dialects.remembering import RememberingServer
from tests.unit.turns.broken_parts import ended

ALIKE = [("ann", None, None)] * CLIENTS


class World:
    """Clients of one server; each answer is looked at when it is there."""

    def __init__(self, server: RememberingServer, clients: list[Conversation]) -> None:
        self.server = server
        self.clients = clients
        self.states: list[str | None] = []
        self._whose: dict[str, tuple[object, ...]] = {}

    def do(self, step: Step) -> None:
        client = self.clients[step.client]
        match step.kind:
            case "copy":
                before = self.clients[step.client - 1]
                if before.who == client.who:
                    client.said = [*before.said]
            case "task":
                task = Conversation(*client.who)
                self.ask(task, f"### Task: {step.question}", step.answer)
            case "delete":
                place = self.server.place(client.owner, client.asked("?"))
                self.server.service.deletion.delete(place.project)
            case "lose":
                for transcript in self.server.folder.glob("projects/*/*.jsonl"):
                    transcript.unlink()
            case "both":
                self._ask_both(client, step)
            case "fail" | "keep":
                self.server.cli.fails = True
                self.server.answer(client.asked(step.question), client.owner, step.answer)
                self.server.cli.fails = False
                if step.kind == "keep":
                    client.said += [step.question, step.answer]
            case _:
                self.ask(client, client.cut(step), step.answer)

    def ask(self, client: Conversation, question: str, answer: str) -> None:
        turn = self.server.answer(client.asked(question), client.owner, answer)
        client.said += [question, answer]
        self._check(client, turn)

    def _ask_both(self, client: Conversation, step: Step) -> None:
        """Two questions that are placed before either is asked."""
        other = Conversation(*client.who, said=[*client.said])
        asked = client.asked(step.question), other.asked("another")
        placed = [self.server.place(client.owner, each) for each in asked]
        self.server.cli.says = step.answer
        turns = [ended(self.server.begin(*each)) for each in zip(asked, placed, strict=True)]
        client.said += [step.question, step.answer]
        other.said += ["another", step.answer]
        self._check(client, turns[0])
        self._check(other, turns[1])

    def _check(self, client: Conversation, turn: Turn) -> None:
        assert turn.error is None, turn.error
        assert turn.session_id is not None
        assert plain(self.server.said(turn)) == plain(client.said)
        assert self._whose.setdefault(turn.session_id, client.who) == client.who
        self.states.append(turn.session_state)


def run(steps: list[Step], everybody: list[tuple[str, str | None, object]]) -> World:
    with tempfile.TemporaryDirectory() as folder:
        server = RememberingServer(Path(folder))
        try:
            world = World(server, [Conversation(*who) for who in everybody])
            for step in steps:
                world.do(step)
        finally:
            server.close()
    return world


def step(kind: str, client: int = 0, question: str = "hi", answer: str = "yes") -> Step:
    return Step(kind, client, question, answer, 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, EVERYBODY)
@example([step("say"), step("fail"), step("say", question="why?"), step("again")], ALIKE)
@example([step("say"), step("copy", 1), step("say", 1), step("say", 0, "why?")], ALIKE)
@example([step("say"), step("both"), step("both"), step("lose"), step("say")], ALIKE)
def test_the_model_is_sent_each_clients_texts_in_their_order_and_nothing_else(
    steps: list[Step], everybody: list[tuple[str, str | None, object]]
) -> None:
    run(steps, everybody)


def test_a_client_that_only_goes_on_stays_in_its_session() -> None:
    steps = [step("say", client, f"question {number}") for number in range(20) for client in (0, 1)]
    world = run(steps, [("ann", None, None), ("bob", None, None), ("bob", "person", None)])
    assert world.states == ["new", "new"] + ["continued"] * 38


def test_two_chats_that_were_alike_stay_apart_in_their_sessions() -> None:
    steps = [step("say"), step("copy", 1), step("say", 1, "a"), step("say", 0, "b")]
    steps += [step("say", client, f"{number}") for number in range(4) for client in (0, 1)]
    world = run(steps, ALIKE)
    assert world.states == ["new", "continued", "forked"] + ["continued"] * 8
