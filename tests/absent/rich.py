"""What only development installs is not there in a server's process, as in production.

structlog takes `rich` where it finds it, and each start of a server would take 0.1 s of the CPU more.
"""

raise ImportError("a server has no rich")
