"""`python -m cowork`: the server, as `make run` starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Become gunicorn with our configuration; arguments are passed on, `.env` is read from here."""
    root = Path(__file__).resolve().parent.parent
    configuration = str(root / "gunicorn.conf.py")
    gunicorn = [sys.executable, "-m", "gunicorn", "--pythonpath", str(root), "-c", configuration]
    os.execv(sys.executable, [*gunicorn, *sys.argv[1:], "wsgi:app"])  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
