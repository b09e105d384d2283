"""Structured logging: lower-case events with named fields, a request id, secrets masked.

`configure()` is called once, at start; gunicorn's own loggers end here too (`Handler`).
Lines are written to standard error by a thread of the operating system, through a bounded queue:
a log reader that stalls costs log lines, never the event loop (a full pipe once froze a worker
until its arbiter killed it).
"""

from __future__ import annotations

import _queue
import atexit
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

from cowork.gevent_compat import native, native_start

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
# The W3C trace that what is being done belongs to.
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)

_MAX_QUEUED_LINES = 10_000
_MAX_BATCH_LINES = 256
_BATCH_INTERVAL_S = 0.01
_MASK = "***"
_SECRET_PATTERN = re.compile(r"(?i)(bearer\s+|sk-ant-|poll_token[=:]\s*)[^\s\"'&,;)}\]]+")
# One of these is in whatever that finds; to look for them takes a tenth of the time.
_SECRET_HINTS = ("bearer", "sk-ant-", "poll_token")
# All but tab and line feed: those are quoted, and a traceback's own.
_CONTROL_CHARACTERS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029]")
# Longest first, so that no secret's beginning hides its end; replaced whole, never changed.
_secrets: tuple[str, ...] = ()


def register_secret(*secrets: str | None) -> None:
    """Mask these values in every later line; very short ones are too common to mask."""
    global _secrets  # noqa: PLW0603 - one log a process
    found = {secret for secret in secrets if secret and len(secret) >= 8}  # noqa: PLR2004
    _secrets = tuple(sorted({*_secrets, *found}, key=len, reverse=True))


def masked(text: str) -> str:
    """`text` without any secret that is known or looks like one."""
    for secret in _secrets:
        text = text.replace(secret, _MASK)
    folded = text.casefold()
    if any(sign in folded for sign in _SECRET_HINTS):
        return _SECRET_PATTERN.sub(rf"\1{_MASK}", text)
    return text


def logger(name: str) -> Any:
    """The logger of a module."""
    return structlog.get_logger(name)


class Writer:
    """Writes lines to a file descriptor from a native thread that starts at the first line.

    The thread and its queue are the interpreter's own, not gevent's: a blocked `write` must block
    that thread alone.  After a fork the child starts its own thread.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pid = 0
        self._lines: Any = None
        self._put = self._done = 0
        self.dropped = self.dropped_in_all = 0

    def put(self, line: str) -> None:
        if self._pid != os.getpid():
            self._start()
        if self._lines.qsize() >= _MAX_QUEUED_LINES:
            self._drop(1)
            return
        self._put += 1
        self._lines.put(masked(line))

    def flush(self, timeout: float = 1.0) -> None:
        """Wait until everything is written, or `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._pid == os.getpid() and self._done < self._put and time.monotonic() < deadline:
            time.sleep(0.005)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lines = _queue.SimpleQueue()
        self._put = self._done = 0
        native_start()(self._write, (self._lines,))

    def _write(self, lines: Any) -> None:
        sleep = native("time", "sleep")
        while True:
            found = [lines.get()]
            # More lines may come meanwhile.  Each time this thread wakes it takes the interpreter
            # away from the event loop, which at a thousand lines a second would be felt.
            sleep(_BATCH_INTERVAL_S)
            while len(found) < _MAX_BATCH_LINES and not lines.empty():
                found.append(lines.get())
            text = "\n".join((*found, *self._dropped_notice(), ""))
            try:
                _write_all(self._fd, text.encode(errors="backslashreplace"))
            except OSError:
                # Standard error is closed: the server goes on without a log.
                self._drop(len(found))
            self._done += len(found)

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self.dropped_in_all += lines

    def _dropped_notice(self) -> list[str]:
        dropped, self.dropped = self.dropped, 0
        return [f"{dropped} log lines dropped: the log's reader stalled"] if dropped else []


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


_writer = Writer(2)
atexit.register(_writer.flush)


def dropped_lines() -> int:
    """How many lines were never written, since the process began."""
    return _writer.dropped_in_all


class Handler(logging.Handler):
    """Takes the standard library's log records (gunicorn's, werkzeug's) to the same place."""

    def emit(self, record: logging.LogRecord) -> None:
        bound = structlog.get_logger(record.name)
        try:
            event = record.getMessage()
        except (TypeError, ValueError):
            event = str(record.msg)
        level = record.levelname.lower() if record.levelno >= logging.DEBUG else "debug"
        emit = getattr(bound, "error" if level == "critical" else level, bound.info)
        emit(event, **({"exc_info": record.exc_info} if record.exc_info else {}))


def _add_context(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event.setdefault("worker", os.getpid())
    current = request_id.get()
    if current is not None:
        event.setdefault("request_id", current)
    traced = traceparent.get()
    if traced is not None:
        event.setdefault("traceparent", traced)
    return event


_NOT_PLAIN = (BaseException, list, tuple, dict)


def _mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask before the line is written: quoting could hide a secret from the mask after it."""
    texts = "\n".join([value for value in event.values() if isinstance(value, str)])
    shown = _escape_control_characters(masked(texts))
    if shown == texts and not any(isinstance(each, _NOT_PLAIN) for each in event.values()):
        return event  # one look for the whole line: nearly all have nothing to hide
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _escape_control_characters(masked(value))
        elif isinstance(value, _NOT_PLAIN):
            event[name] = _escape_control_characters(masked(str(value)))
    return event


def _escape_control_characters(text: str) -> str:
    """`text` with its control characters written out: a terminal would obey them."""
    return _CONTROL_CHARACTERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _LinePrinter:
    """What structlog prints with: every level is a line for the writer."""

    def msg(self, line: str) -> None:
        _writer.put(line)

    debug = info = warning = error = exception = critical = log = msg


def _json(event: Any, *, default: Callable[[Any], Any]) -> str:
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:  # half a surrogate, or a number that orjson has no room for
        return json.dumps(event, default=default)


def configure(*, level: str = "info", form: str = "auto") -> None:
    """Send all logging to standard error; `form` is `json`, `text`, or `auto` by the terminal."""
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shape: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
        if as_text
        else [structlog.processors.JSONRenderer(serializer=_json)]
    )
    structlog.configure(
        processors=[
            _add_context,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Plain, without the values of local variables: those may be anybody's secrets.
            structlog.processors.format_exc_info,
            _mask,
            *shape,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _LinePrinter(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [Handler()]
    root.setLevel(number)
    for noisy in ("urllib3", "requests", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
