"""gunicorn_conf.py with the probe of `probe.py`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.probe import post_worker_init

__all__ = ["post_worker_init"]

exec((Path(__file__).resolve().parents[2] / "cowork" / "server" / "gunicorn_conf.py").read_text())  # noqa: S102 - ours
