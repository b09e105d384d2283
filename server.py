"""`python server.py`, as the old service was started: the same as `xo-cowork serve`."""

from __future__ import annotations

import sys

from cowork.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
