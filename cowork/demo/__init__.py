"""A small stand-in for the Anthropic Messages API, for a first look and for tests.

The real Claude CLI talks to it as it would to the real service, so everything from the browser
to the model can be tried without an account.
What it says comes from a script, never from a mind: the same question gets the same answer.

``python -m demo.model --port 0`` runs it; ``with demo.model.serve() as model:`` is for tests.

transcript.py   what the CLI sent -> what the user asked (pure)
directives.py   ``[[words 50]]`` and its kin, one table (pure)
talk.py         what to say to a newcomer (pure)
script.py       a request -> the scene to play (pure)
wire.py         a scene -> the shapes of the Messages API (pure)
record.py       what was asked and what was written, for tests to look at
server.py       sockets and threads
app.py          the Flask app, which plays scenes
model.py        ``serve`` for tests, and the command line
__main__.py     the server and the real CLI on this model: ``make demo``
"""
