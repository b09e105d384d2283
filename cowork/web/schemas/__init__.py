"""What requests and replies look like: the contract's tables as marshmallow schemas.

Requests are checked by these; replies are described by them (`/openapi.json`).
"""
