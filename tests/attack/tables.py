"""Hosts and Origins that a browser may be made to send, and whether they get in.

The server under attack is called `cowork.example` and serves pages of `https://app.example`;
PORT stands for its own port.
"""

from __future__ import annotations

HOSTS = [
    ("localhost", True),
    ("localhost:PORT", True),
    ("LOCALHOST:PORT", True),
    ("127.0.0.1:PORT", True),
    ("127.8.9.1", True),
    ("[::1]:PORT", True),
    ("cowork.example", True),
    ("Cowork.Example:8443", True),
    ("evil.example", False),
    ("evil.example:PORT", False),
    ("sub.cowork.example", False),
    ("cowork.example.evil", False),
    ("xcowork.example", False),
    ("cowork.example@evil.example", False),
    ("localhost.evil.example", False),
    ("evil.localhost", False),
    ("localhost.", False),
    ("127.0.0.1.nip.io", False),
    ("2130706433", False),
    ("0x7f.0.0.1", False),
    ("127.1", False),
    ("0.0.0.0:PORT", False),
    ("[::]", False),
    ("[::ffff:8.8.8.8]", False),
    ("[fe80::1]", False),
    ("192.168.1.7:PORT", False),
    ("", False),
    ("*", False),
    ("null", False),
]

ORIGINS = [
    (None, True),
    ("http://localhost:PORT", True),
    ("https://app.example", True),
    ("HTTPS://APP.EXAMPLE", True),
    ("null", False),
    ("", False),
    ("*", False),
    ("https://evil.example", False),
    ("http://app.example", False),
    ("https://app.example:8443", False),
    ("https://app.example.evil", False),
    ("https://xapp.example", False),
    ("https://app.example@evil.example", False),
    ("https://evil.example/https://app.example", False),
    ("https://app.example, https://evil.example", False),
    ("http://localhost", False),
    ("http://localhost:3000", False),
    ("http://127.0.0.1:PORT", False),
    ("http://localhost:PORT.evil.example", False),
    ("http://localhost.evil.example:PORT", False),
    ("file://", False),
    ("chrome-extension://abcdefghijklmnop", False),
    ("http://[::1", False),
    ("//localhost:PORT", True),  # no origin of any browser; it names this very server
]
