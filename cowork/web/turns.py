"""`/turns/*`: read a turn, its events from any place, interrupt it."""

from __future__ import annotations

from typing import Any

from flask import Response, g, request

from cowork.errors import CoworkError
from cowork.turns.listing import ListedTurn
from cowork.turns.question import SHOWN_LIMIT
from cowork.turns.service import TurnService
from cowork.turns.turn import Turn
from cowork.web.ask import RETRY_LATER, streamed
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.frames import facts_of, structured
from cowork.web.framing import NumberedFraming
from cowork.web.idempotency_header import key_of
from cowork.web.last_event_id import number_of
from cowork.web.problems import InvalidBody
from cowork.web.schemas.asking import AskHeaders
from cowork.web.schemas.base import EVENTS, NOT_DONE
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.turns import (
    EventsQuery,
    InterruptReply,
    SteerBody,
    SteerReply,
    TicketReply,
    TurnReply,
)
from cowork.web.streams import Streams
from cowork.web.tickets import Tickets
from cowork.web.timestamps import rfc3339

RETRY_FIELD = b"retry: 1000\n"


def blueprint(turn_service: TurnService, streams: Streams, tickets: Tickets) -> CoworkBlueprint:
    """The caller's own turns; another owner's are not there."""
    routes = CoworkBlueprint("turns", __name__, description="Turns, while they run and after")

    @routes.get("/turns/<turn_id>")
    @routes.response(200, TurnReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(410, schema=ProblemReply, description="No longer kept")
    def read_turn(turn_id: str) -> dict[str, Any]:
        """State, text so far, usage, times and error of a turn."""
        turn = turn_service.registry.get(g.owner, turn_id)
        return {**turn_reply(turn), **_asked(turn_service.question_text(turn)), **_steers(turn)}

    @routes.get("/turns/<turn_id>/events")
    @routes.arguments(EventsQuery, location="query")
    @routes.response(200, {"type": "string"}, content_type="text/event-stream")
    @routes.alt_response(204, description="Everything was read and the turn has ended")
    @routes.alt_response(404, schema=ProblemReply)
    def stream_turn_events(query: dict[str, Any], turn_id: str) -> Response:
        """The turn's frames behind `Last-Event-ID` or `after`, then live."""
        given = query["after"] or request.headers.get("Last-Event-ID")
        with streams.resuming(given):
            turn = turn_service.registry.get(g.owner, turn_id)
            after = _last_event(turn, query["after"])
        kinds = turn.question.events if query["events"] is None else _kinds_in(query["events"])
        if turn.ended(after):
            # Without content a standard EventSource stops coming back.
            return Response(status=204)
        g.turn_id = turn.id
        stream = streams.open(
            turn,
            NumberedFraming(turn, frozenset(kinds), after),
            after=after,
            is_resume=bool(given),
            preamble=RETRY_FIELD,
        )
        return streamed(stream)

    @routes.post("/turns/<turn_id>/ticket")
    @routes.response(201, TicketReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(429, schema=ProblemReply, description="The turn has too many")
    def create_ticket(turn_id: str) -> dict[str, Any]:
        """Let somebody without a key read the turn's events, as a browser's `EventSource`."""
        turn = turn_service.registry.get(g.owner, turn_id)
        ticket, expires_at = tickets.issue(turn, g.key_owner)
        return {
            "ticket": ticket,
            "expires_at": rfc3339(expires_at),
            "url": f"/turns/{turn.id}/events?ticket={ticket}",
        }

    @routes.post("/turns/<turn_id>/interrupt")
    @routes.response(200, InterruptReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(503, schema=ProblemReply, description=NOT_DONE)
    def interrupt_turn(turn_id: str) -> dict[str, Any]:
        """Interrupt a turn, also one that waits; one that has ended stays as it is."""
        turn = turn_service.registry.get(g.owner, turn_id)
        turn_service.interrupts.interrupt(turn)
        return {"success": True, "turn_id": turn.id, "state": turn.state.value}

    @routes.post("/turns/<turn_id>/steer")
    @routes.arguments(SteerBody)
    @routes.headers(AskHeaders)
    @routes.response(202, SteerReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="The turn has ended")
    @routes.alt_response(429, schema=ProblemReply, description="Too much waits for it already")
    @routes.alt_response(503, schema=ProblemReply, description=RETRY_LATER)
    def steer_turn(body: dict[str, Any], turn_id: str) -> dict[str, Any]:
        """Say something to a turn that runs; it is taken in when the tools that run have ended."""
        turn = turn_service.registry.get(g.owner, turn_id)
        key = key_of(body, request.headers.get("Idempotency-Key"))
        done = turn_service.steering.steer(turn, body["text"], key)
        g.turn_id, g.replayed = turn.id, done.replayed
        return {"success": True, "steer_id": done.steer_id, "turn_id": turn.id}

    return routes


def _asked(text: str) -> dict[str, Any]:
    """What it was asked, while that is kept."""
    if not text:
        return {}
    return {"question": text[:SHOWN_LIMIT], "question_truncated": len(text) > SHOWN_LIMIT}


def _steers(turn: Turn) -> dict[str, Any]:
    """What was said to it while it ran, if anything was."""
    steers = [
        {"steer_id": each.id, "state": each.state, "turn_id": each.turn_id}
        for _, each in turn.steered().values()
    ]
    return {"steers": steers} if steers else {}


def turn_reply(turn: Turn | ListedTurn) -> dict[str, Any]:
    """A turn as it stands."""
    done, error = turn.done, turn.error
    return {
        "turn_id": turn.id,
        "project_id": turn.project.told_name,
        "state": turn.state.value,
        "message": turn.text,
        "session_id": turn.session_id,
        "is_new_session": turn.is_new_session,
        "session_recovered": turn.session_recovered,
        "created_at": rfc3339(turn.created),
        "started_at": rfc3339(turn.started) if turn.started else None,
        "ended_at": rfc3339(turn.ended_at) if done and turn.ended_at else None,
        "usage": done.usage if done else None,
        "total_cost_usd": done.cost_usd if done else None,
        "duration_ms": done.duration_ms if done else None,
        **(facts_of(done) if done else {}),
        **({"waiting_for": list(turn.waiting.ids)} if turn.waiting.ids else {}),
        "error": error_facts(error) if error else None,
        **({"session_moved": True} if done and done.session_moved else {}),
        **(structured(done) if done else {}),
    }


def error_facts(error: CoworkError) -> dict[str, Any]:
    """Why a turn did not succeed: the sentence, the code and its facts."""
    return {"error": error.message, "code": error.code, **error.facts}


def _last_event(turn: Turn, query: str | None) -> int:
    """The number of the last frame the client has; the query counts before the header."""
    if query is not None:
        return number_of(turn, query, ["query", "after"])
    return number_of(turn, request.headers.get("Last-Event-ID"), ["header", "Last-Event-ID"])


def _kinds_in(given: str) -> frozenset[str]:
    wanted = frozenset(word.strip() for word in given.split(",") if word.strip())
    if not wanted <= set(EVENTS):
        sentence = f"Input should be among {', '.join(EVENTS)}"
        raise InvalidBody([{"type": "value_error", "loc": ["query", "events"], "msg": sentence}])
    return wanted
