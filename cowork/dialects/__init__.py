"""Other APIs' clients on our turns: what they ask, and what they are answered.

A dialect (`chat`, `responses`, `messages`, `ai_sdk`) reads a request's body as a `DialectRequest`
and renders a turn's events in its own shape.  No HTTP here: that is `web/dialects/`.
"""
