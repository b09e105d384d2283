"""The gunicorn worker: gevent's, with a graceful end (`drain.py`).

gunicorn's gevent worker learns of a signal after up to a second, is killed by its arbiter before
its own graceful timeout is over, and waits for idle keep-alive connections.  This one stops
accepting at once, lets turns go on, and has ended before the arbiter kills it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import http, util
from gunicorn.http import errors as faults
from gunicorn.workers.ggevent import GeventWorker

from cowork.log import logger
from cowork.server import response
from cowork.server.client_socket import ClientSocket
from cowork.server.connection import (
    BodyReader,
    ClientConnection,
    check_transfer_coding,
    discard_body,
)
from cowork.server.drain import drain_and_close
from cowork.server.error_reply import send_error
from cowork.server.handover import handover
from cowork.server.idle_connections import IdleConnections
from cowork.server.pacing import RequestPacer, is_stream_path
from cowork.telemetry.catalogue import HTTP_REFUSED

log = logger(__name__)

NOTIFY_INTERVAL_S = 0.1
# In a reload a new worker accepts once it knows its CLI, or after so long: until then the old one,
# which does, is the better one to ask.
CLI_KNOWN_TIMEOUT_S = 5.0
# The heap is trimmed after so many bytes of bodies and replies were freed, and when no more were
# for so long.
TRIM_AFTER_BYTES = 16 * 2**20
TRIM_IDLE_S = 2.0
# How many new objects make a garbage collection, and how many of those one of the older objects.
GC_THRESHOLDS = (10_000, 20, 50)


def _skip_access_log(*_args: Any) -> None:
    """Nothing: the application's own line has the request id and no query string."""


def _trim_heap() -> None:
    """Give freed memory back to the system, in some milliseconds; glibc alone can."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _must_close(wanted: Callable[[], bool], body: BodyReader) -> bool:
    """Whether a reply is the connection's last: a client that is not told would use it again."""
    return wanted() or body.is_left


class Worker(GeventWorker):  # type: ignore[misc] # gunicorn has no types
    """Serves until a signal: TERM drains, INT and QUIT end soon."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alive: bool
        self._fast_shutdown = False
        self._told_to_end: float | None = None
        self._pacer = RequestPacer()
        self._open_requests = self._bytes_at_trim = self._bytes_released = 0
        self._released_at = 0.0
        self._is_replaced = False
        self._idle = IdleConnections()

    def run(self) -> None:
        """Accept until a signal comes, then drain and close."""
        self._tune()
        self._wait_for_cli()
        servers = [self._serve(listener) for listener in self.sockets]
        handover.serving()
        while self.alive:
            self._notify_and_sleep()
            self._end_when_replaced()
        for server in servers:
            server.close()  # accepts no more; requests under way go on
        begun = time.monotonic()
        closing = gevent.spawn(self._close)
        while not closing.ready() and time.monotonic() - begun < self.cfg.graceful_timeout:
            self._notify_and_sleep()
        for server in servers:
            server.stop(timeout=0)

    def _wait_for_cli(self) -> None:
        services = self.wsgi.extensions["cowork"]
        deadline = time.monotonic() + CLI_KNOWN_TIMEOUT_S
        while handover.is_underway and self.alive and self._told_to_end is None:
            if services.cli.state().is_known or time.monotonic() > deadline:
                return
            self._notify_and_sleep()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """TERM: drain and end, in a reload when a new worker accepts; a second one: without."""
        if self._told_to_end is None and handover.is_underway:
            self._told_to_end = time.monotonic()
            return
        super().handle_exit(sig, frame)

    def _end_when_replaced(self) -> None:
        if self._told_to_end is not None and not handover.must_wait(self._told_to_end):
            self._is_replaced, self.alive = True, False

    def _tune(self) -> None:
        """Have the process, and gunicorn's own code, cost each request less."""
        # What is loaded by now stays: looking through it for garbage again and again would hold
        # up every stream for longer than anything else here does.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()  # until now none was collected: see gunicorn_conf.py
        # gunicorn would make the whole line of its access log, for a logger that drops it.
        self.log.access = _skip_access_log
        # It would look each setting up, by its name, some twenty times a request.
        self.cfg.__dict__.update({name: each.get() for name, each in self.cfg.settings.items()})
        response.install()

    def _serve(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        pool = Pool(self.worker_connections)
        server = StreamServer(listener, handle=partial(self.handle, listener), spawn=pool)
        server.start()
        return server

    def _notify_and_sleep(self) -> None:
        """Tell the arbiter that the event loop runs, then let it run."""
        self.notify()
        gevent.sleep(NOTIFY_INTERVAL_S)

    def _close(self) -> None:
        drain_and_close(
            self.wsgi.extensions["cowork"],
            self._idle,
            graceful_timeout=self.cfg.graceful_timeout,
            is_replaced=self._is_replaced,
            is_cut_short=lambda: self._fast_shutdown,
            open_requests=lambda: self._open_requests,
        )

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection; one whose peer sends or takes nothing for too long is cut."""
        services = self.wsgi.extensions["cowork"]
        settings = services.settings
        client = ClientSocket(fileno=client.detach())
        client.send_timeout, client.unsent_quota = settings.send_timeout, services.reply_quota
        client.bound_silence()
        client.setblocking(1)
        timeout, idle = settings.read_timeout, self.cfg.keepalive
        connection = ClientConnection(client, timeout=timeout, idle=idle)
        self._idle.add(connection)
        try:
            self._serve_connection(listener, client, addr, connection)
        except (BrokenPipeError, ConnectionResetError, faults.NoMoreData):
            log.debug("client disconnected", peer=addr)
        except OSError as fault:
            log.info("connection failed", peer=addr, error=str(fault))
        finally:
            self._idle.discard(connection)
            util.close(client)

    def _serve_connection(
        self, listener: Any, client: Any, addr: Any, connection: ClientConnection
    ) -> None:
        """One request after the other, until either side has enough."""
        listener_name = listener.getsockname()
        parser = http.get_parser(self.cfg, connection, addr)
        request = None
        try:
            while True:
                request = None
                request = self._next_request(parser, connection)
                self.handle_request(listener_name, request, client, addr)
                if not discard_body(parser, connection):
                    connection.linger()
                    return
        except StopIteration:  # gunicorn's word for the end of a connection
            if request is not None and not discard_body(parser, connection):
                connection.linger()
        except TimeoutError as fault:
            if connection.bytes_read:  # an idle connection's end is no error
                self.handle_error(request, client, addr, fault)
        except gevent.GreenletExit:
            log.debug("idle connection closed by the shutdown", peer=addr)
        except OSError:
            raise
        except BaseException as fault:  # noqa: BLE001 - as gunicorn's: it ends with the connection
            self.handle_error(request, client, addr, fault)
            connection.linger()

    def _next_request(self, parser: Any, connection: ClientConnection) -> Any:
        connection.expect_head()
        self._idle.wait(connection)
        request = next(parser)
        check_transfer_coding(request.headers)
        connection.expect_body()
        request.body.reader = body = BodyReader(request.body.reader)
        request.should_close = partial(_must_close, request.should_close, body)
        self._idle.discard(connection)
        return request

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Serve one request, after everyone else had a turn.

        Without the pause one busy keep-alive connection holds every stream of the worker.
        """
        gevent.sleep(0)
        self._pacer.wait()
        is_stream = is_stream_path(req.path)
        self._open_requests += 1
        self._pacer.streams += is_stream
        try:
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            self.log.info("send timeout: the client was disconnected; its turn can be resumed")
        finally:
            self._open_requests -= 1
            self._pacer.streams -= is_stream

    def init_signals(self) -> None:
        """As gunicorn's, and HUP drains a worker that gets it alone; it would kill it."""
        super().init_signals()
        signal.signal(signal.SIGHUP, self.handle_exit)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Say what was wrong in the shape of all our errors, without quoting the client."""
        status, request_id = send_error(client, exc)
        self.wsgi.extensions["cowork"].metrics.count(HTTP_REFUSED, "unread")
        facts = {"peer": addr, "status": status, "request_id": request_id}
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            path = getattr(req, "path", None)
            log.error("unhandled exception in request", path=path, exc_info=exc, **facts)
        else:
            log.info(
                "bad request refused before the application", fault=type(exc).__name__, **facts
            )

    def notify(self) -> None:
        """As gunicorn's, but a master that has exited means a fast shutdown, no abrupt one."""
        self.tmp.notify()
        if self.alive and self.ppid != os.getppid():
            self.log.info("gunicorn master exited, shutting down")
            self._fast_shutdown, self.alive = True, False
        self._trim_when_due()

    def _trim_when_due(self) -> None:
        """Give the system what large bodies and replies took; freed in between, it stays ours."""
        services = self.wsgi.extensions["cowork"]
        released = services.body_quota.released_bytes + services.reply_quota.released_bytes
        if released == self._bytes_at_trim:
            return
        now = time.monotonic()
        if released != self._bytes_released:
            self._bytes_released, self._released_at = released, now
        is_idle = now - self._released_at >= TRIM_IDLE_S
        if is_idle or released - self._bytes_at_trim >= TRIM_AFTER_BYTES:
            self._bytes_at_trim = released
            gevent.get_hub().threadpool.spawn(_trim_heap)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """INT or QUIT: end soon; also cuts a drain short that TERM began."""
        del sig, frame
        self._fast_shutdown, self.alive = True, False
