"""The doctor's look at the store: is it there, of a version we know, and does it keep things."""

from __future__ import annotations

from collections.abc import Iterator

from redis.exceptions import RedisError

from cowork.log import masked, register_secret
from cowork.operations import sqlite_file
from cowork.operations.checks import FAIL, OK, WARN, Check
from cowork.operations.disk import existing
from cowork.operations.errors import OperationFailed
from cowork.settings.settings import Settings
from cowork.stores import sqlite_path
from cowork.stores.encryption import Encryption, check_file, check_folder
from cowork.stores.protocol import StoreUnusable
from cowork.stores.redis.connection import connect
from cowork.stores.redis.keys import PREFIX
from cowork.stores.redis.keys import VERSION as REDIS_VERSION
from cowork.stores.sqlite.schema import VERSION

_OLDEST_REDIS = 7


def check_store(settings: Settings) -> Iterator[Check]:
    """The store of these settings, without changing anything in it."""
    register_secret(*settings.secrets())
    kind = settings.store.partition(":")[0]
    if kind == "memory":
        cure = "COWORK_STORE=sqlite:///~/.xo-cowork/state.db"
        yield Check("store", WARN, "memory:// forgets everything when the server stops", cure)
        return
    try:
        Encryption(settings.store_key_file).check()
    except (OSError, ValueError) as fault:
        yield Check("store", FAIL, f"COWORK_STORE_KEY_FILE: {fault}")
    yield from _sqlite(settings) if kind == "sqlite" else _redis(settings)


def _sqlite(settings: Settings) -> Iterator[Check]:
    try:
        path = sqlite_path(settings.store).resolve()
        if not path.exists():
            check_folder(existing(path.parent))
            yield Check("store", OK, f"{path} is not there yet; the start makes it")
            return
        check_folder(path.parent)
        check_file(path)
        found = sqlite_file.look_at(path)
    except (StoreUnusable, OperationFailed, OSError, ValueError) as fault:
        yield Check("store", FAIL, str(fault))
        return
    rows = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    newer = "" if found.version == VERSION else f", which the start brings to {VERSION}"
    yield Check("store", OK, f"{path} of version {found.version}{newer}: {rows}")


def _redis(settings: Settings) -> Iterator[Check]:
    client = connect(settings.store)
    try:
        server = client.info("server")
        version = str(server["redis_version"])
        layout = client.get(f"{PREFIX}version")
        if int(version.partition(".")[0]) < _OLDEST_REDIS:
            yield Check("store", FAIL, f"Redis is {version}", f"install {_OLDEST_REDIS} or newer")
        elif layout is not None and int(layout) > REDIS_VERSION:
            said = f"Redis has keys of version {int(layout)}, this server knows {REDIS_VERSION}"
            yield Check("store", FAIL, said, "update the server, or name another database")
        else:
            yield Check("store", OK, f"Redis {version} answers")
        if not client.info("persistence").get("aof_enabled"):
            said = "Redis loses what it holds in a crash"
            yield Check("store", WARN, said, "set `appendonly yes` in its configuration")
        policy = client.info("memory").get("maxmemory_policy")
        if policy not in {None, "noeviction"}:
            said = f"Redis throws away what it holds when it is full ({policy})"
            yield Check("store", WARN, said, "set `maxmemory-policy noeviction`")
    except (RedisError, OSError, ValueError) as fault:
        said = f"Redis does not answer: {masked(str(fault))}"
        yield Check("store", FAIL, said, "start it, or mend COWORK_STORE")
    finally:
        client.close()
        client.connection_pool.disconnect()
