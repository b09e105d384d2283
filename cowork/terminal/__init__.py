"""The commands of `xo-cowork` that talk to a server, for people at a terminal and for scripts.

A client like any other: all of it goes by `cowork.client`.  Nothing is imported here, so that the
server starts without any of it.
"""

# Set by a shell that asks how a line goes on.
COMPLETE = "_XO_COWORK_COMPLETE"
# Each command's name, which is its module's too, and its line in the help.
COMMANDS = {
    "ask": "ask a question; the answer goes to standard output",
    "chat": "talk with a project, live",
    "sessions": "list the sessions",
    "messages": "show what was said in a project",
    "interrupt": "end what a project is answering, or a turn",
    "fork": "begin another project with what was said in one",
    "approvals": "list what waits for somebody to allow it, and answer",
    "health": "tell each part of the server, and what is wrong with it",
    "top": "watch the CLI processes",
}
