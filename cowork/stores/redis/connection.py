"""The line to Redis: short timeouts, no retries, and a breaker while nobody answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool
from redis.exceptions import (
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from cowork.errors import StoreUnavailable
from cowork.log import logger, masked

log = logger(__name__)

# Together they are less than the second that a request may wait.
CONNECT_TIMEOUT = 0.3
ANSWER_TIMEOUT = 0.4
POOL_TIMEOUT = 0.2
CONNECTIONS = 32
# How long everybody is told at once that Redis is away, before one call tries again.
PAUSE = 0.5
_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)
# What Redis answers when it cannot do what it could a moment before, or will in a moment.
_NOT_NOW = ("OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "NOAUTH")


def connect(url: str) -> Redis:
    """A client of that URL; nothing is sent before its first use."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=POOL_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=ANSWER_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        protocol=2,
        driver_info=None,
    )
    return Redis(connection_pool=pool)


class Line:
    """Calls to one Redis; `close` it."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self.prefix = prefix
        self._client = client
        self._scripts: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._failed = False
        self._shut_until = 0.0

    def script(self, lua: str, arguments: Sequence[Any] = ()) -> Any:
        """What the script returns; raises `StoreUnavailable`."""
        found = self._scripts.get(lua)
        if found is None:
            found = self._scripts[lua] = self._client.register_script(lua)
        return self._guarded(lambda: found(keys=[self.prefix], args=list(arguments)))

    def call(self, command: Callable[[Redis], Any]) -> Any:
        """What one command returns; raises `StoreUnavailable`."""
        return self._guarded(lambda: command(self._client))

    def close(self) -> None:
        self._client.close()
        self._client.connection_pool.disconnect()

    def _guarded(self, call: Callable[[], Any]) -> Any:
        self._pass()
        try:
            result = call()
        except _AWAY as fault:
            raise self._fail(fault) from fault
        except ResponseError as fault:
            if not str(fault).startswith(_NOT_NOW):
                raise
            raise self._fail(fault) from fault
        self._failed = False
        return result

    def _pass(self) -> None:
        """Let a call through; while Redis is away one at a time, now and then."""
        if not self._failed:
            return
        with self._lock:
            now = time.monotonic()
            if now < self._shut_until:
                raise StoreUnavailable("redis is away", retry_after=1)
            self._shut_until = now + 2 * PAUSE

    def _fail(self, fault: RedisError | OSError) -> StoreUnavailable:
        with self._lock:
            self._failed = True
            self._shut_until = time.monotonic() + PAUSE
        away = StoreUnavailable(f"redis is away: {masked(str(fault))}", retry_after=1)
        away.outcome_unknown = True
        return away
