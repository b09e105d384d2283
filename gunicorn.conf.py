"""gunicorn's configuration for `gunicorn wsgi:app` in a checkout.

It is that of `cowork/server/gunicorn_conf.py`, read anew each time: a reload (HUP) finds new
settings.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(_ROOT))

_FILE = _ROOT / "cowork" / "server" / "gunicorn_conf.py"
globals().update(
    {name: each for name, each in runpy.run_path(str(_FILE)).items() if not name.startswith("__")}
)
