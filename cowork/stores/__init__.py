"""Where state is kept: one protocol (`protocol.py`), a file for each kind, opened by URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cowork.stores.limits import OUTBOX_BYTES
from cowork.stores.memory.store import MemoryStore
from cowork.stores.protocol import Store, StoreUnusable
from cowork.stores.worker_protocol import RECEIVE_TIMEOUT_S

if TYPE_CHECKING:
    from cowork.stores.encryption import Encryption


def open_store(
    url: str,
    *,
    outbox_limit: int,
    outbox_bytes: int = OUTBOX_BYTES,
    holder: str = "",
    key_file: Path = Path("store.key"),
    owners: Callable[[], int] = lambda: 1,
) -> Store:
    """Open the store that `url` names, in the name of `holder`: see `Store`.

    `key_file` holds the key that a durable store encrypts the token with; `owners` tells how many
    keys there are (`OutboxBounds`).

    Raises `StoreUnusable`, for a URL that names none too.
    """
    scheme = urlsplit(url).scheme
    if url == "memory://":
        return MemoryStore(outbox_limit=outbox_limit, outbox_bytes=outbox_bytes)
    if scheme == "sqlite":
        from cowork.stores.sqlite.store import SqliteStore  # noqa: PLC0415 - a driver is chosen by URL

        path, encryption = sqlite_path(url), _encryption(key_file)
        limits = {"outbox_limit": outbox_limit, "outbox_bytes": outbox_bytes}
        return SqliteStore(path, encryption, holder=holder, owners=owners, **limits)
    if scheme in {"redis", "rediss"}:
        from cowork.stores.redis.connection import ANSWER_TIMEOUT_S, connect  # noqa: PLC0415
        from cowork.stores.redis.store import RedisStore  # noqa: PLC0415

        encryption = _encryption(key_file)
        limits = {"outbox_limit": outbox_limit, "outbox_bytes": outbox_bytes}
        reading = connect(url, answer_timeout=RECEIVE_TIMEOUT_S + ANSWER_TIMEOUT_S)
        return RedisStore(
            connect(url), encryption, holder=holder, reading=reading, owners=owners, **limits
        )
    raise StoreUnusable(
        "no store has this URL: expected memory://, sqlite:///path, redis:// or rediss://host:port/db"
    )


def _encryption(key_file: Path) -> Encryption:
    from cowork.stores.encryption import Encryption  # noqa: PLC0415 - for durable stores alone

    encryption = Encryption(key_file)
    try:
        encryption.check()
    except (OSError, ValueError) as fault:
        raise StoreUnusable(f"COWORK_STORE_KEY_FILE: {fault}") from fault
    return encryption


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///` URL names: absolute, or in the home directory (`/~/`)."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    expanded = Path(path.removeprefix("/") if path.startswith("/~/") else path).expanduser()
    usable = not (parts.netloc or parts.query or parts.fragment) and "\0" not in path
    if not usable or not expanded.is_absolute() or path.endswith("/"):
        raise StoreUnusable("expected sqlite:///path with an absolute path, or sqlite:///~/path")
    return expanded
