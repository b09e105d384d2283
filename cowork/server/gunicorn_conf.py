"""How gunicorn serves `cowork.server.wsgi:app`; its settings are those of all the rest.

Read in the master, before gevent patches anything: nothing here may import what makes threads,
sockets or locks.
"""

from __future__ import annotations

import gc as _gc
import os
import sys
from typing import Any

from cowork import log as _log
from cowork.server.handover import handover as _handover
from cowork.server.metrics_folder import metrics_folder as _metrics_folder
from cowork.server.service_manager import service_manager as _service_manager
from cowork.server.store_lock import store_lock as _lock
from cowork.settings import settings as _settings

try:
    _loaded = _settings.load()
except _settings.SettingsError as _fault:
    sys.exit(str(_fault))

_log.configure(level=_loaded.log_level, form=_loaded.log_format)

_host = f"[{_loaded.host}]" if ":" in _loaded.host else _loaded.host
bind = [f"{_host}:{_loaded.port}"]
worker_class = "cowork.server.worker.Worker"  # gevent's, with a graceful drain
# One worker holds every stream and every queue; only on Redis do several know of each other.
workers = int(os.environ.get("WEB_CONCURRENCY") or _loaded.workers)
worker_connections = 2000
graceful_timeout = _loaded.graceful_timeout
# Liveness of the event loop, not the length of a request.
timeout = 30
# Longer than nginx keeps its connections; a request's head has COWORK_READ_TIMEOUT.
keepalive = 65
# Forwarding headers are read by web/client_address.py alone.
forwarded_allow_ips = ""
forwarder_headers = ""
# A head as a whole is bounded by server/connection.py.
limit_request_fields = 64
umask = 0o077
control_socket_disable = True
accesslog = None  # our own line has the request id and no query string
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"cowork": {"class": "cowork.log.Handler"}},
    "root": {"level": "INFO", "handlers": ["cowork"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["cowork"], "propagate": False},
        "gunicorn.access": {"level": "ERROR", "handlers": [], "propagate": False},
    },
}


_ONE_WORKER = (
    f"COWORK_STORE={_loaded.store.partition(':')[0]}:// is for one worker: set COWORK_WORKERS=1 "
    "(nor more by --workers, WEB_CONCURRENCY, GUNICORN_CMD_ARGS), or set "
    "COWORK_STORE=redis://host:port/db"
)


def _is_allowed(workers: int) -> bool:
    return workers <= 1 or _loaded.store.startswith(("redis:", "rediss:"))


def on_starting(server: Any) -> None:
    """Refuse more workers, or more servers, than the store can have, wherever that was set."""
    fault = None if _is_allowed(server.cfg.workers) else _ONE_WORKER
    # A master that gunicorn starts in its own place (USR2) finds the lock held by that.
    if fault is None and not server.master_pid:
        fault = _lock.acquire(_loaded.store)
    if fault is not None:
        if server.pidfile is not None:
            server.pidfile.unlink()
        sys.exit(fault)
    if (lost := _metrics_folder.create()) is not None:
        server.log.warning(lost)
    _service_manager.attach(server)


def nworkers_changed(server: Any, new: int, old: int | None) -> None:
    """Stay at one worker on SIGTTIN, and where a reload finds another store."""
    if old is not None and not _is_allowed(new):
        server.log.error(_ONE_WORKER)
        server.cfg.set("workers", 1)
        server.num_workers = 1


def on_exit(server: Any) -> None:
    """The master ends: another server may use the store."""
    del server
    _metrics_folder.remove()
    _lock.release()


def on_reload(server: Any) -> None:
    """The workers that there are go on until new ones accept."""
    del server
    _handover.begin()
    _service_manager.reloading()


def post_fork(server: Any, worker: Any) -> None:
    """Say that this worker is on its way."""
    del server, worker
    # What it loads stays: to look through that for garbage takes a fifth of its start's CPU.
    _gc.disable()
    _handover.starting()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the worker's services, however it came to its end."""
    del server
    # A worker that could not load the application has none.
    services = getattr(getattr(worker, "wsgi", None), "extensions", {}).get("cowork")
    if services is not None:
        services.close()
