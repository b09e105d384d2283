"""`POST /ask_question` and `POST /ask_question_streaming`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, jsonify, request
from flask.globals import app_ctx

from cowork.claude.launch_options import LaunchOptions
from cowork.claude.turn_options import TurnOptions
from cowork.errors import InvalidValue
from cowork.model import Project, TurnKey
from cowork.turns.question import Question, digest_of
from cowork.turns.registry import TurnRegistry
from cowork.turns.service import TurnService
from cowork.turns.steers import TEXT_LIMIT_BYTES
from cowork.turns.turn import Turn
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.disconnects import Disconnects
from cowork.web.frames import facts_of, structured
from cowork.web.framing import NumberedFraming, PlainFraming, knows_event_streams
from cowork.web.idempotency_header import key_of
from cowork.web.last_event_id import find_turn, number_of
from cowork.web.problems import ClientClosedRequest
from cowork.web.project_hint import check_hint
from cowork.web.schemas.asking import AskBody, AskHeaders, AskReply
from cowork.web.schemas.problems import ProblemReply
from cowork.web.sse import HEADERS, Stream
from cowork.web.streams import Streams
from cowork.web.timestamps import founding
from cowork.web.transfer_limits import release_body
from cowork.web.turn_end import wait_for_end

# Keys of a body that earlier versions did not know, of whose bodies digests may be kept.
_NEWER = frozenset(
    {
        *("model", "effort", "attachments", "max_turns", "max_budget_usd", "disallowed_tools"),
        *("mcp_servers", "approvals", "approval_timeout"),
    }
)
# What a question that is said to a turn cannot have: it takes what that turn has.
NOT_STEERED = (
    *("attachments", "agent_type", "model", "effort", "max_turns", "max_budget_usd"),
    *("disallowed_tools", "mcp_servers", "approvals", "approval_timeout"),
    *("system_prompt", "output_schema", "permission_mode"),
)
RETRY_LATER = "Unavailable, or over a limit; `Retry-After` says when to retry, where that is known"


def blueprint(
    turn_service: TurnService,
    disconnects: Disconnects,
    streams: Streams,
    *,
    first_event_wait: float,
) -> CoworkBlueprint:
    """The two endpoints; waits are seconds."""
    routes = CoworkBlueprint("ask", __name__, description="Questions to a project")

    @routes.post("/ask_question")
    @routes.arguments(AskBody)
    @routes.headers(AskHeaders)
    @routes.response(200, AskReply)
    @routes.alt_response(429, schema=ProblemReply, description=RETRY_LATER)
    @routes.alt_response(503, schema=ProblemReply, description=RETRY_LATER)
    @routes.alt_response(502, schema=ProblemReply, description="Every failure has this shape")
    def ask_question(body: dict[str, Any]) -> Response:
        """Ask, and get the whole answer."""
        asked = _submit(turn_service, body, streaming=False)
        turn = asked.turn
        turn.add_reader()
        try:
            wait_for_end(turn, disconnects)
            # Ready-made: to pass it through its schema takes longer than to write it.
            steered = {"steered": True} if asked.is_steered else {}
            return jsonify({**_answer_of(turn), **steered})
        finally:
            turn.remove_reader()

    @routes.post("/ask_question_streaming")
    @routes.arguments(AskBody)
    @routes.headers(AskHeaders)
    @routes.response(
        200,
        {"type": "string"},
        content_type="text/event-stream",
        description="`token`, `error` and other frames; the last has `done`.",
    )
    @routes.alt_response(429, schema=ProblemReply, description=RETRY_LATER)
    @routes.alt_response(503, schema=ProblemReply, description=RETRY_LATER)
    @routes.alt_response(502, schema=ProblemReply, description="Every failure has this shape")
    def ask_question_streaming(body: dict[str, Any]) -> Response:
        """Ask, and get the answer's tokens as the model writes them."""
        wanted = frozenset(body["events"] or ())
        is_numbered = body["events"] is not None or knows_event_streams(request)
        with streams.resuming(request.headers.get("Last-Event-ID")):
            found = _turn_to_resume(turn_service.registry, body)
        asked = found or _submit(turn_service, body, streaming=True)
        turn, after = asked.turn, asked.after
        framing = (
            NumberedFraming(turn, wanted, after) if is_numbered else PlainFraming(turn, wanted)
        )
        stream = streams.open(turn, framing, after=after, is_resume=found is not None)
        try:
            if found is None:
                stream.start(first_event_wait)
        except BaseException:
            stream.close()
            raise
        return streamed(stream)

    return routes


def streamed(stream: Stream) -> Response:
    """The reply that a stream is; the stream is closed with it, however it ends."""
    reply = Response(iter(stream), headers=HEADERS)
    reply.call_on_close(stream.close)
    return reply


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question's turn, and the place in its log behind which its client reads."""

    turn: Turn
    after: int = 0
    is_steered: bool = False


def _turn_to_resume(registry: TurnRegistry, body: dict[str, Any]) -> _Asked | None:
    """The turn that `Last-Event-ID` is of, if it is this question's, and the last frame read.

    Where all of it was read, the last frame is sent once more: a library that repeats its POST
    would repeat it for ever.  Raises `TurnExpired`: to ask again is for the client to decide.
    """
    given = request.headers.get("Last-Event-ID")
    turn = find_turn(registry, app_ctx.g.owner, given)
    if turn is None or turn.project.name != body["project_name"]:
        return None
    if not turn.question.is_text(body["question"]):
        return None
    after = number_of(turn, given, ["header", "Last-Event-ID"])
    if turn.ended(after):
        after = turn.event_count - 1
    body.clear()
    release_body()
    app_ctx.g.turn_id = turn.id
    return _Asked(turn, after)


def _submit(turn_service: TurnService, body: dict[str, Any], *, streaming: bool) -> _Asked:
    """The turn of a body, which is emptied: who waits for a turn holds no more than the turn."""
    check_hint(body["project_name"])
    key = _key_of(body)
    asked = None
    if body["on_busy"] == "steer":
        asked = _steer(turn_service, body, key)
        body["on_busy"] = "queue"
    if asked is None:
        asked = _ask(turn_service, body, key, streaming=streaming)
    body.clear()
    release_body()
    return asked


def _steer(turn_service: TurnService, body: dict[str, Any], key: TurnKey | None) -> _Asked | None:
    """The turn that the project answers, which is told the question; None where there is none."""
    for name in NOT_STEERED:
        if body[name]:
            raise InvalidValue("a question for a turn that runs takes what that has", field=name)
    if len(body["question"].encode()) > TEXT_LIMIT_BYTES:
        sentence = f"with `on_busy: steer`, at most {TEXT_LIMIT_BYTES} bytes"
        raise InvalidValue(sentence, field="question")
    project = Project(app_ctx.g.owner, body["project_name"])
    found = turn_service.steering.steer_project(project, body["question"], key)
    if found is None:
        return None
    app_ctx.g.turn_id, app_ctx.g.replayed = found.turn.id, found.replayed
    number = found.turn.number_of(max(found.place - 1, 0))
    after = number_of(found.turn, str(number), ["body", "question"])
    return _Asked(found.turn, after, is_steered=True)


def _ask(
    turn_service: TurnService, body: dict[str, Any], key: TurnKey | None, *, streaming: bool
) -> _Asked:
    kept = app_ctx.g
    events = tuple(body["events"] or ())
    question = Question(
        text=body["question"],
        user_id=body["user_id"],
        message_type=body["message_type"],
        streaming=streaming,
        timeout=body["timeout"],
        events=events,
        digest=digest_of(body["question"]),
        blocks=tuple(body["attachments"] or ()),
        max_turns=body["max_turns"],
        max_budget_usd=body["max_budget_usd"],
        approval_timeout=body["approval_timeout"],
        turn_options=TurnOptions(
            model=body["model"],
            effort=body["effort"],
            disallowed_tools=tuple(body["disallowed_tools"] or ()),
            mcp_servers=tuple(body["mcp_servers"] or ()),
        ),
        options=LaunchOptions(
            system_prompt=body["system_prompt"] or None,
            output_schema=body["output_schema"],
            permission_mode=body["permission_mode"],
            approvals=turn_service.checks.approves(body["approvals"]),
            todo="todo" in events,
        ),
    )
    turn, replayed = turn_service.ask(
        Project(kept.owner, body["project_name"]),
        question,
        agent_type=body["agent_type"],
        on_busy=body["on_busy"],
        key=key,
    )
    kept.turn_id, kept.replayed = turn.id, replayed
    return _Asked(turn)


def _key_of(body: dict[str, Any]) -> TurnKey | None:
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    # To ask for no events is to say nothing of them, and was so before; what earlier versions did
    # not know is left out where nothing is said of it.
    asked = {**body, "events": body["events"] or []}
    asked = {name: each for name, each in asked.items() if name not in _NEWER or each}
    return key_of(asked, given)


def _answer_of(turn: Turn) -> dict[str, Any]:
    """The reply of a turn that has ended; its error is raised."""
    done = turn.done
    if turn.error is not None or done is None or turn.ended_at is None:
        raise turn.error or ClientClosedRequest
    return {
        "id": None,
        "message": done.message,
        "project_id": turn.project.name,
        "user_id": turn.question.user_id,
        "session_id": done.session_id,
        "is_new_session": done.is_new_session,
        "timestamp": founding(turn.ended_at),
        "turn_id": turn.id,
        "usage": done.usage,
        "total_cost_usd": done.cost_usd,
        "duration_ms": done.duration_ms,
        **facts_of(done),
        **({"session_recovered": True} if done.session_recovered else {}),
        **({"session_moved": True} if done.session_moved else {}),
        **structured(done),
    }
