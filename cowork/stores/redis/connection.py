"""The connections to Redis: short timeouts, no retries, a circuit breaker while it is down."""

from __future__ import annotations

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
from cowork.log import masked
from cowork.runtime.circuit_breaker import CircuitBreaker

# Together they are less than the second that a request may wait.
CONNECT_TIMEOUT_S = 0.3
ANSWER_TIMEOUT_S = 0.4
POOL_TIMEOUT_S = 0.2
MAX_CONNECTIONS = 32
# How long every call is refused at once after one that failed, before one tries again.
PAUSE_S = 0.5
UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)
# What Redis answers when it cannot do what it could a moment before, or will in a moment.
_NOT_NOW = ("OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "NOAUTH")


def connect(url: str, *, answer_timeout: float = ANSWER_TIMEOUT_S) -> Redis:
    """A client of that URL; nothing is sent before its first use."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=POOL_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=answer_timeout,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        protocol=2,
        driver_info=None,
    )
    return Redis(connection_pool=pool)


class RedisConnection:
    """Calls to one Redis; `close` it."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self.prefix = prefix
        self._client = client
        self._scripts: dict[str, Any] = {}
        self._breaker = CircuitBreaker(
            threshold=1, first_pause_s=PAUSE_S, longest_pause_s=PAUSE_S, jitter=lambda: 0.0
        )

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
        if not self._breaker.allows_try():
            raise StoreUnavailable("redis unavailable", retry_after=1)
        try:
            result = call()
        except UNAVAILABLE as fault:
            raise self._fail(fault) from fault
        except ResponseError as fault:
            if not str(fault).startswith(_NOT_NOW):
                raise
            raise self._fail(fault) from fault
        if self._breaker.failures:
            self._breaker.succeeded()
        return result

    def _fail(self, fault: RedisError | OSError) -> StoreUnavailable:
        self._breaker.failed()
        unavailable = StoreUnavailable(f"redis unavailable: {masked(str(fault))}", retry_after=1)
        unavailable.outcome_unknown = True
        return unavailable
