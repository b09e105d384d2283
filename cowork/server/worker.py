"""The gunicorn worker: gevent's, with patience and an end of its own.

gunicorn's gevent worker learns of a signal after up to a second and is killed by its arbiter
before its own grace is over, and it waits for idle keep-alive connections.  This one stops
accepting at once, lets turns go on until `MARGIN` seconds before the arbiter's patience ends,
tells every stream how it ended, and leaves no process behind.  How long a client may take to say
something is `connection.py`'s.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any

import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import http, util
from gunicorn.http import errors as faults
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

from cowork.errors import AtCapacity
from cowork.log import logger
from cowork.runtime.quota import SMALL, Quota
from cowork.server.connection import Body, Line, check_coding, drained, refuse

log = logger(__name__)

# The interrupt, the processes' ladder and the last bytes of each stream fit into this.
MARGIN = 3.0
LOOK = 0.1
LAST_BYTES = 0.5
# So long may the first request take of who connected just before we were told to end.
HEAR_OUT = 0.5
# So long (s), or at this rate (bytes/s), may a client take what the kernel did not take at once.
SEND_TIME = 300.0
SEND_RATE = 8192.0
# Who says nothing that the application hears of.
ANYONE = ""
TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)


# So many bytes of bodies and replies that are gone make it worth it to trim the heap.
TRIM_AFTER = 16 * 2**20
# How many new objects make a look for garbage, and how many looks one at what is older.
GARBAGE = (10_000, 20, 50)


def _note_nothing(*_args: Any) -> None:
    """Nothing: the application's own line has the request id and no query string."""


def _trim_heap() -> None:
    """Some milliseconds; only glibc's allocator knows it."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _says_close(wanted: Callable[[], bool], body: Body) -> bool:
    """Whether a reply is the connection's last: a client that is not told would use it again."""
    return wanted() or body.is_left


class Client(gevent.socket.socket):  # type: ignore[misc] # gevent has no types
    """A client's socket, whose every small write is one call to the kernel.

    What the kernel does not take at once is counted for the `owner` of the request, unless the
    reply it is part of is `counted` already, and may take `patience` seconds and then `SEND_TIME`,
    or longer at `SEND_RATE`.  A client that takes nothing at all is cut sooner, by TCP.
    """

    counted = False
    owner = ANYONE
    patience = 60.0
    unread: Quota | None = None

    def send_now(self, data: bytes) -> int:
        """How much of `data` the kernel took; raises BlockingIOError rather than wait."""
        sent: int = self.send(data, 0, 0.0)
        return sent

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Write all of `data`, waiting for the client where it is slow.

        gevent's own asks for the size of the kernel's buffer first, each time.  Raises
        TimeoutError where it is too slow, or too many others are slow.
        """
        try:
            sent = self.send(data, flags, 0.0)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:], flags)

    def _send_rest(self, rest: memoryview, flags: int) -> None:
        size, owner = len(rest), self.owner
        counted = self.unread if size > SMALL and not self.counted else None
        if counted is not None:
            try:
                counted.take(owner, size, 0)
            except AtCapacity as fault:
                raise TimeoutError(fault.message) from None
        try:
            until = time.monotonic() + self.patience + max(SEND_TIME, size / SEND_RATE)
            while rest:
                rest = rest[self.send(rest, flags, max(until - time.monotonic(), 0.001)) :]
        finally:
            if counted is not None:
                counted.give_back(owner, size, 0)


class Reply(wsgi.Response):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's reply, whose head goes out with the beginning of its body.

    Two small writes cost the kernel, and wake the client, twice.
    """

    sock: Any

    def write(self, arg: bytes) -> None:
        """Write a piece of the body, behind the head where that is still to be written."""
        if self.headers_sent or len(arg) > SMALL:
            super().write(arg)
            return
        sock, self.sock = self.sock, _Gathered()
        try:
            super().write(arg)
            gathered = b"".join(self.sock.parts)
        finally:
            self.sock = sock
        sock.sendall(gathered)


class _Gathered:
    """In a socket's place, what was to be written to it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


@lru_cache(maxsize=1)
def _date_at(second: int) -> str:
    return formatdate(second, usegmt=True)


def _http_date() -> str:
    """The date of a reply's head, which is made once a second instead of for each."""
    return _date_at(int(time.time()))


class Worker(GeventWorker):  # type: ignore[misc] # gunicorn has no types
    """Serves until a signal: TERM drains, INT and QUIT only say goodbye."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alive: bool
        self._hurried = False
        self._requests = self._trimmed_at = 0
        self._unheard: set[Line] = set()

    def run(self) -> None:
        """Accept until a signal comes, then drain and close."""
        # What is loaded by now stays: looking through it for garbage again and again would hold
        # up every stream for longer than anything else here does.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        # gunicorn would make the whole line of its access log, for a logger that drops it.
        self.log.access = _note_nothing
        # It would look each setting up, by its name, some twenty times a request.
        self.cfg.__dict__.update({name: each.get() for name, each in self.cfg.settings.items()})
        wsgi.Response, util.http_date = Reply, _http_date
        # All requests' errors go to one place; it was found again, under a lock, for each.
        wsgi.WSGIErrorsWrapper = lru_cache(maxsize=1)(wsgi.WSGIErrorsWrapper)
        servers = [self._serve(listener) for listener in self.sockets]
        while self.alive:
            self._look()
        # gevent's own name for "accept no more": requests under way go on.
        for server in servers:
            server.close()
        begun = time.monotonic()
        closing = gevent.spawn(self._close)
        while not closing.ready() and time.monotonic() - begun < self.cfg.graceful_timeout:
            self._look()
        for server in servers:
            server.stop(timeout=0)

    def _serve(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        pool = Pool(self.worker_connections)
        server = StreamServer(listener, handle=partial(self.handle, listener), spawn=pool)
        server.start()
        return server

    def _look(self) -> None:
        """Tell the arbiter that the loop lives, then let it live."""
        self.notify()
        gevent.sleep(LOOK)

    def _close(self) -> None:
        services = self.wsgi.extensions["cowork"]
        begun = time.monotonic()
        self._hear_out()
        spent = time.monotonic() - begun
        patience = max(0.0, self.cfg.graceful_timeout - MARGIN - spent)
        services.drain(0.0 if self._hurried else patience, lambda: self._hurried)
        self._await_requests()
        services.close()

    def _hear_out(self) -> None:
        """Let in the requests of clients that were accepted before we stopped doing that.

        They could not know; whoever connects now gets to the worker that comes after us.
        """
        deadline = time.monotonic() + HEAR_OUT
        while self._unheard and not self._hurried and time.monotonic() < deadline:
            gevent.sleep(0.01)
        gevent.sleep(0.01)  # from being heard to being asked

    def _await_requests(self) -> None:
        """Let the last frames get out."""
        deadline = time.monotonic() + LAST_BYTES
        while self._requests and time.monotonic() < deadline:
            gevent.sleep(0.01)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection; one whose peer says or takes nothing for too long is cut."""
        services = self.wsgi.extensions["cowork"]
        settings = services.settings
        client = Client(fileno=client.detach())
        client.patience, client.unread = settings.send_timeout, services.replies
        with suppress(OSError):  # a Unix socket has no such option
            patience = round(settings.send_timeout * 1000)
            client.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, patience)
        client.setblocking(1)
        line = Line(client, patience=settings.read_timeout, idle=self.cfg.keepalive)
        self._unheard.add(line)
        try:
            self._converse(listener, client, addr, line)
        except (BrokenPipeError, ConnectionResetError, faults.NoMoreData):
            log.debug("a client left", peer=addr)
        except OSError as fault:
            log.info("a connection broke", peer=addr, error=str(fault))
        finally:
            self._unheard.discard(line)
            util.close(client)

    def _converse(self, listener: Any, client: Any, addr: Any, line: Line) -> None:
        """One request after the other, until either side has enough."""
        listener_name = listener.getsockname()
        parser = http.get_parser(self.cfg, line, addr)
        request = None
        try:
            while True:
                request = None
                line.await_head()
                request = next(parser)
                check_coding(request.headers)
                line.await_body()
                request.body.reader = body = Body(request.body.reader)
                request.should_close = partial(_says_close, request.should_close, body)
                self._unheard.discard(line)
                self.handle_request(listener_name, request, client, addr)
                if not drained(parser, line):
                    line.linger()
                    return
        except StopIteration:  # gunicorn's word for the end of a connection
            if request is not None and not drained(parser, line):
                line.linger()
        except TimeoutError as fault:
            if line.heard:  # an idle connection's end is no error
                self.handle_error(request, client, addr, fault)
        except gevent.GreenletExit:
            log.debug("an idle connection ends with the server", peer=addr)
        except OSError:
            raise
        except BaseException as fault:  # noqa: BLE001 - as gunicorn's: it ends with the connection
            self.handle_error(request, client, addr, fault)
            line.linger()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Serve one request, after everyone else had a turn.

        Without the pause one busy keep-alive connection holds every stream of the worker.
        """
        gevent.sleep(0)
        self._requests += 1
        try:
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            self.log.info("a reader that took nothing was dropped; its turn can be resumed")
        finally:
            self._requests -= 1

    def init_signals(self) -> None:
        """As gunicorn's, and HUP drains a worker that gets it alone; it would kill it."""
        super().init_signals()
        signal.signal(signal.SIGHUP, self.handle_exit)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Say what was wrong in the shape of all our errors; nothing that the client sent is."""
        status, request_id = refuse(client, exc)
        facts = {"peer": addr, "status": status, "request_id": request_id}
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request broke", path=getattr(req, "path", None), exc_info=exc, **facts)
        else:
            log.info("a request was refused unread", fault=type(exc).__name__, **facts)

    def notify(self) -> None:
        """As gunicorn's, but a master that is gone is a reason to hurry, not to drop all."""
        self.tmp.notify()
        if self.alive and self.ppid != os.getppid():
            self.log.info("the master is gone, shutting down")
            self._hurried, self.alive = True, False
        self._trim()

    def _trim(self) -> None:
        """Give the system what large bodies and replies took; freed in between, it stays ours."""
        services = self.wsgi.extensions["cowork"]
        returned = services.bodies.returned + services.replies.returned
        if returned - self._trimmed_at >= TRIM_AFTER:
            self._trimmed_at = returned
            gevent.get_hub().threadpool.spawn(_trim_heap)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """INT or QUIT: end soon; also cuts a drain short that TERM began."""
        del sig, frame
        self._hurried, self.alive = True, False
