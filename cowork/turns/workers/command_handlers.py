"""Does here what other workers ask for; who asks is in `remote.py` and `process_directory.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from cowork.claude.launch_options import LaunchOptions
from cowork.claude.turn_options import TurnOptions
from cowork.log import request_id, traceparent
from cowork.model import Project, TurnKey
from cowork.turns.continuation import Continuation
from cowork.turns.question import SHOWN_LIMIT, Question
from cowork.turns.remote.channel import Body, Channel
from cowork.turns.remote.commands import RemoteTurns
from cowork.turns.remote.publisher import LogPublisher
from cowork.turns.service import TurnService
from cowork.turns.session_change import SessionChange
from cowork.turns.workers.process_directory import ProcessDirectory, processes_reply

Handler = Callable[[Body], Body | None]


class CommandHandlers:
    """A method for each kind of command; `table` names them."""

    def __init__(
        self,
        service: TurnService,
        channel: Channel,
        publisher: LogPublisher,
        remote: RemoteTurns,
        processes: ProcessDirectory,
    ) -> None:
        self._service = service
        self._registry = service.registry
        self._channel = channel
        self._publisher = publisher
        self._remote = remote
        self._processes = processes

    def table(self) -> Mapping[str, Handler]:
        """What `Channel.start` takes."""
        return {
            "ask": self._ask,
            "interrupt": self._interrupt,
            "interrupt_project": self._interrupt_project,
            "steer": self._steer,
            "steer_project": self._steer_project,
            "delete": self._delete,
            "warm": self._warm,
            "describe": self._describe,
            "question": self._question,
            "watch": self._watch,
            "unwatch": self._unwatch,
            "ended": self._ended,
            "answered": self._answered,
            "forget": self._forget,
            "make_room": self._make_room,
            "processes": self._list_processes,
            "end_process": self._end_process,
        }

    def _ask(self, body: Body) -> Body:
        request_id.set(body["request_id"])
        traceparent.set(body.get("traceparent"))  # an earlier version sends none
        project, key = Project(**body["project"]), body["key"]
        turn, replayed = self._service.ask_here(
            project,
            _question_of(body["question"]),
            on_busy=body["on_busy"],
            key=None if key is None else TurnKey(**key),
            turn_id=body["turn"],
        )
        if not replayed:
            self._watch({"turn": turn.id, "from": body["from"], "after": 0})
        return {
            "turn": turn.id,
            "replayed": replayed,
            "state": turn.state.value,
            "started": None if turn.started is None else turn.started.isoformat(),
            "queue_position": turn.queue_position,
        }

    def _interrupt(self, body: Body) -> None:
        self._service.interrupts.interrupt(self._registry.get(body["owner"], body["turn"]))

    def _interrupt_project(self, body: Body) -> Body:
        turn = self._service.interrupts.interrupt_project_here(Project(**body))
        return {"turn": None if turn is None else turn.id}

    def _steer(self, body: Body) -> Body:
        turn = self._registry.get(body["owner"], body["turn"])
        done = self._service.steering.steer_here(turn, body["id"], body["text"])
        return {"replayed": done.replayed, "place": done.place}

    def _steer_project(self, body: Body) -> Body:
        key = body["key"]
        done = self._service.steering.steer_project_here(
            Project(**body["project"]),
            body["id"],
            body["text"],
            None if key is None else TurnKey(**key),
        )
        if done is None:
            return {"turn": None}
        return {"turn": done.turn.id, "replayed": done.replayed, "place": done.place}

    def _delete(self, body: Body) -> Body:
        return {"existed": self._service.deletion.delete_here(Project(**body))}

    def _warm(self, body: Body) -> None:
        project = Project(body["owner"], body["name"])
        self._service.warm_here(project, LaunchOptions(**body.get("options", {})))

    def _describe(self, body: Body) -> Body:
        return asdict(self._service.describe_here(Project(**body)))

    def _question(self, body: Body) -> Body:
        turn = self._registry.get(body["owner"], body["turn"])
        return {"text": turn.question.text[: SHOWN_LIMIT + 1]}

    def _watch(self, body: Body) -> None:
        if not self._publisher.watch(body["turn"], body["from"], body["after"]):
            self._channel.tell(body["from"], "ended", {"turn": body["turn"]})

    def _unwatch(self, body: Body) -> None:
        self._publisher.unwatch(body["turn"], body["from"])

    def _ended(self, body: Body) -> None:
        turn = self._registry.remote.find(body["turn"])
        if turn is not None:
            self._remote.reading.refresh_soon(turn)

    def _answered(self, body: Body) -> None:
        self._service.approvals.wake(body["turn"])

    def _make_room(self, body: Body) -> Body:
        # A worker of an earlier version, during a reload, does not say for how long its own idle.
        return {"ends": self._service.make_room(body.get("idle_s", 0.0))}

    def _list_processes(self, body: Body) -> Body:
        return processes_reply(self._processes.find_here(body["owner"]))

    def _end_process(self, body: Body) -> None:
        self._processes.end_here(body["id"], body["owner"], is_operator=body["is_operator"])

    def _forget(self, body: Body) -> None:
        self._service.deletion.forget_here(Project(**body["project"]), body["sessions"])


def _question_of(body: Body) -> Question:
    wanted, change = body["turn_options"], body["change"]
    chosen = TurnOptions(
        **{
            **wanted,
            "disallowed_tools": tuple(wanted["disallowed_tools"]),
            "mcp_servers": tuple(wanted["mcp_servers"]),
        }
    )
    return Question(
        **{
            **body,
            "events": tuple(body["events"]),
            "blocks": tuple(body["blocks"]),
            "options": LaunchOptions(**body["options"]),
            "turn_options": chosen,
            "change": None if change is None else SessionChange(**change),
            "continuation": Continuation.of_json(body["continuation"]),
        }
    )
