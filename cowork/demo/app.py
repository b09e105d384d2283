"""The Flask app: requests in, scenes played.

Only what streams over a live connection is here; what to say is decided in ``script.py``.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from cowork.demo import wire
from cowork.demo.record import Ending, Record, RecordedRequest
from cowork.demo.script import Failure, Scene, direct
from cowork.demo.server import hang_up, pause

_NOT_FOUND = 404


def create_app(record: Record, delay: float) -> Flask:
    """The app; ``delay`` is in seconds between words."""
    app = Flask(__name__)

    @app.get("/")
    def root() -> dict[str, str]:
        # The CLI sends a HEAD here when it starts.
        return {"status": "demo model running"}

    @app.post("/v1/messages")
    def messages() -> Response:
        body = _body()
        exchange = record.begin(body, request.headers)
        scene = direct(body, attempt=exchange.attempt, delay_s=delay)
        if scene.failure is not None:
            record.end(exchange, scene.failure.status, "failed")
            return _failed(scene.failure)
        return _played(_Play(record, exchange, scene), streamed=bool(body.get("stream")))

    @app.post("/v1/messages/count_tokens")
    def count_tokens() -> dict[str, int]:
        _body()
        return {"input_tokens": wire.tokens(len(request.get_data()))}

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        status = error.code or 500
        kind = "not_found_error" if status == _NOT_FOUND else "invalid_request_error"
        return _failed(Failure(status, kind, error.description or error.name))

    return app


class _Play:
    """One scene being played to one client."""

    def __init__(self, record: Record, exchange: RecordedRequest, scene: Scene) -> None:
        self._record, self._exchange, self._scene = record, exchange, scene
        self._connection: socket.socket = request.environ["werkzeug.socket"]
        size = len(request.get_data())
        self._envelope = wire.Envelope(exchange.body.get("model") or "demo", wire.tokens(size))

    def streamed(self) -> Iterator[bytes]:
        with self._leaving():
            # No header goes out before the first frame does.
            self._hang()
            for step in wire.steps(self._scene, self._envelope):
                if step.wait_s:
                    pause(self._connection, step.wait_s)
                if step.word is not None:
                    self._record.wrote(self._exchange, step.word)
                if step.usage is not None:
                    self._record.told(self._exchange, step.usage)
                if step.event == wire.LAST_EVENT:
                    # Noted first: whoever has the end of the answer finds it in the record.
                    self._end("whole")
                yield step.frame()
            if self._scene.cut:
                self._end("cut")
                # A chunked reply without its last chunk: what a lost connection looks like.
                raise ConnectionAbortedError("cut, as the question wanted")

    def whole(self) -> Iterator[bytes]:
        with self._leaving():
            self._hang()
            if self._scene.stall_s:
                pause(self._connection, self._scene.stall_s)
            self._record.wrote(self._exchange, "".join(self._scene.text))
            message = wire.whole(self._scene, self._envelope)
            self._record.told(self._exchange, message["usage"])
            self._end("whole")
            yield orjson.dumps(message)

    def _hang(self) -> None:
        if self._scene.hang_s:
            pause(self._connection, self._scene.hang_s)
            # The HTTP server would wait for another request on a connection without a reply.
            hang_up(self._connection)
            raise ConnectionAbortedError("nothing is ever sent")

    @contextlib.contextmanager
    def _leaving(self) -> Iterator[None]:
        """Note that the client left, unless another ending came first."""
        try:
            yield
        except BaseException:
            # The client left, or the generator is closed because a write failed.
            self._end("left")
            raise

    def _end(self, ending: Ending) -> None:
        self._record.end(self._exchange, 0 if self._scene.hang_s else 200, ending)


def _played(play: _Play, *, streamed: bool) -> Response:
    reply = (
        Response(play.streamed(), content_type="text/event-stream; charset=utf-8")
        if streamed
        else Response(play.whole(), content_type="application/json")
    )
    reply.headers["Cache-Control"] = "no-cache"
    reply.headers["request-id"] = wire.request_id()
    return reply


def _body() -> dict[str, Any]:
    """The request's body: a JSON object with a list of messages, else a 400."""
    try:
        body = orjson.loads(request.get_data())
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        failure = Failure(400, "invalid_request_error", "messages: a list is required")
        raise HTTPException(response=_failed(failure))
    return body


def _failed(failure: Failure) -> Response:
    reply = Response(orjson.dumps(wire.error(failure)), failure.status)
    reply.content_type = "application/json"
    if failure.retry_after_s is not None:
        reply.headers["Retry-After"] = str(failure.retry_after_s)
    return reply
