"""Asks what a client of another API asks, and answers in its shape.

Nothing here runs a turn: it is one `TurnService.ask`, read as any turn is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Response, request
from flask.globals import app_ctx

from cowork.dialects.answer_head import DEFAULT_MODEL, AnswerHead
from cowork.dialects.outcomes import outcome_of
from cowork.dialects.placement import Placements
from cowork.dialects.renderer import Renderer
from cowork.dialects.request import DialectRequest
from cowork.errors import CoworkError, InvalidValue, ModelNotFound
from cowork.events import Done, Failed
from cowork.turns.service import TurnService
from cowork.turns.turn import Turn
from cowork.web.dialects.caller import on_busy_of, with_headers
from cowork.web.dialects.questions import question_of
from cowork.web.dialects.reply_headers import tell_ignored, tell_session, tell_state
from cowork.web.dialects.request_key import RequestKey
from cowork.web.disconnects import Disconnects
from cowork.web.key_revocation import LAST_FRAMES
from cowork.web.problems import ClientClosedRequest
from cowork.web.request_parsing import read_json
from cowork.web.sse import HEADERS, Stream
from cowork.web.streams import Streams
from cowork.web.transfer_limits import release_body
from cowork.web.turn_end import given_up, wait_for_end


@dataclass(frozen=True, slots=True)
class Begun:
    """A question's turn, and what its answer says besides; nothing of what was asked."""

    turn: Turn
    head: AnswerHead


class Asking:
    """What the endpoints of all dialects have in common; `first_event_wait` is seconds."""

    def __init__(
        self,
        turn_service: TurnService,
        placements: Placements,
        disconnects: Disconnects,
        streams: Streams,
        *,
        first_event_wait: float,
    ) -> None:
        self._turn_service = turn_service
        self._placements = placements
        self._disconnects = disconnects
        self._streams = streams
        self._first_event_wait = first_event_wait

    def begin(self, read: Callable[[dict[str, Any]], DialectRequest]) -> tuple[Begun, bool]:
        """The turn of this request, whose body `read` understands, and whether it is to stream.

        The body is let go of, since the turn holds all that is needed.  Raises what
        `TurnService.ask` does, and `ModelNotFound`.
        """
        body = read_json(request)
        try:
            asked = with_headers(read(body), request)
            key = RequestKey.of(request, body, asked)
        except orjson.JSONEncodeError as fault:
            raise InvalidValue("is nested too deeply", field="messages") from fault
        tell_ignored(asked.ignored)
        turn = key.find(self._turn_service.replays)
        if turn is not None:
            state = "new" if turn.is_new_session else "continued"
            app_ctx.g.replayed = True
            tell_session(turn.project, state)
        else:
            turn, state = self._ask(asked, key)
        release_body()
        app_ctx.g.turn_id = turn.id
        return Begun(turn, _head_of(turn, asked, state)), asked.is_streaming

    def _ask(self, asked: DialectRequest, key: RequestKey) -> tuple[Turn, str]:
        """A new turn, and what becomes of its session."""
        placement = self._placements.place(app_ctx.g.owner, asked)
        tell_session(placement.project, placement.state)
        try:
            turn, app_ctx.g.replayed = self._turn_service.ask(
                placement.project,
                question_of(asked, placement.continuation, approvals=self._approves()),
                on_busy=on_busy_of(request),
                key=key.idempotency_key,
            )
        except InvalidValue as fault:
            if fault.field == "model":
                raise _no_such_model(asked) from fault
            raise
        key.remember(self._turn_service.replays, turn)
        return turn, placement.state

    def _approves(self) -> bool:
        """Whether turns ask a person, which no client of another API says."""
        return self._turn_service.checks.approves(None)

    def wait(self, begun: Begun) -> Done:
        """The turn's end, which has an answer; raises its error, and `ClientClosedRequest`."""
        turn = begun.turn
        turn.add_reader()
        try:
            with _telling_asked(turn):
                wait_for_end(turn, self._disconnects)
                done = turn.done
                if done is None or not _has_answer(begun):
                    raise turn.error or ClientClosedRequest
                tell_state(done.session_state)
                return done
        finally:
            turn.remove_reader()

    def stream(self, begun: Begun, renderer: Renderer) -> Response:
        """The turn as a stream; raises its error where it fails before anything is written."""
        stream = self._streams.open(begun.turn, renderer)
        try:
            self._start(stream, begun)
        except BaseException:
            stream.close()
            raise
        return self._reply(stream, begun.turn, renderer)

    def resume(self, turn: Turn, renderer: Renderer) -> Response:
        """A turn that was begun before as a stream, from its first event on."""
        stream = self._streams.open(turn, renderer, is_resume=True)
        return self._reply(stream, turn, renderer)

    def _reply(self, stream: Stream, turn: Turn, renderer: Renderer) -> Response:
        request.environ[LAST_FRAMES] = lambda error: _last_frames(renderer, error)
        reply = Response(_to_the_end(stream, turn, renderer), headers=HEADERS)
        reply.call_on_close(stream.close)
        return reply

    def _start(self, stream: Stream, begun: Begun) -> None:
        with _telling_asked(begun.turn):
            try:
                stream.start(self._first_event_wait)
                tell_state(begun.turn.session_state)
            except CoworkError:
                if not _has_answer(begun):
                    raise


def _has_answer(begun: Begun) -> bool:
    """Whether the turn has ended with one; a refusal is one."""
    done = begun.turn.done
    return done is not None and outcome_of(done, has_forced_tool=False) is not None


@contextmanager
def _telling_asked(turn: Turn) -> Iterator[None]:
    """Have an error tell the client whether the CLI has been asked, and is not to be again."""
    try:
        yield
    except CoworkError:
        app_ctx.g.was_asked = turn.session_id is not None
        raise


def _to_the_end(stream: Stream, turn: Turn, renderer: Renderer) -> Iterator[bytes]:
    """The stream's frames; one that is left without its end would be taken for a success."""
    yield from stream
    if turn.done is None:
        yield _last_frames(renderer, given_up())


def _last_frames(renderer: Renderer, error: CoworkError) -> bytes:
    """The frames of an error that is not the turn's."""
    said = renderer.event(Failed(error.code, error.message, error.facts), 0)
    return said + renderer.event(Done(success=False, message=""), 0)


def _head_of(turn: Turn, asked: DialectRequest, state: str) -> AnswerHead:
    return AnswerHead(
        turn_id=turn.id,
        created=int(turn.created.timestamp()),
        model=asked.model or DEFAULT_MODEL,
        session_state=state,
        forced_tool=asked.forced_tool.name if asked.forced_tool is not None else None,
        is_structured=asked.output_schema is not None,
        wants_usage=asked.wants_usage,
        events=asked.events,
    )


def _no_such_model(asked: DialectRequest) -> ModelNotFound:
    sentence = f"no model is named {asked.cli_model!r}: GET /v1/models lists them"
    return ModelNotFound(sentence, field="model")
