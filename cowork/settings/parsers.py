"""How a variable's text becomes a value: one function a kind; each raises ValueError.

A fault says what was expected; `settings.py` adds the variable's name, and its text unless that
is secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cowork.runtime import unix_user
from cowork.runtime.unix_user import UnixUser
from cowork.settings import api_keys as keys
from cowork.settings import mcp_servers as mcp

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def string(raw: str) -> str:
    """Any text, trimmed."""
    return raw.strip()


def optional_string(raw: str) -> str | None:
    """Text, or None where it is blank."""
    return raw.strip() or None


def token(raw: str) -> str | None:
    """Something that can stand in an HTTP header, or None where it is blank."""
    if raw.strip() and not re.fullmatch(r"[!-~]+", raw.strip()):
        raise ValueError("expected printable ASCII without spaces")
    return raw.strip() or None


def boolean(raw: str) -> bool:
    """`true` or `false`, in the usual spellings."""
    word = raw.strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError("expected true or false")


def integer(low: int, high: int) -> Callable[[str], int]:
    """An integer from `low` to `high`."""

    def parse(raw: str) -> int:
        if not re.fullmatch(r"\s*-?\d{1,15}\s*", raw) or not low <= int(raw) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(raw)

    return parse


def seconds(low: float, high: float = 86400.0) -> Callable[[str], float]:
    """A duration in seconds."""

    def parse(raw: str) -> float:
        if not re.fullmatch(r"\s*-?\d{1,9}(\.\d{1,9})?\s*", raw) or not low <= float(raw) <= high:
            raise ValueError(f"expected seconds from {low:g} to {high:g}")
        return float(raw)

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(raw: str) -> str:
        if raw.strip() not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return raw.strip()

    return parse


def base_url(raw: str) -> str:
    """An http(s) URL without user, query or trailing slash; empty switches the thing off."""
    url = raw.strip().rstrip("/")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        usable = usable and not (parts.username or parts.password or parts.query or parts.fragment)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("expected an http:// or https:// address with no user and no query")
    return url


def url_path(raw: str) -> str:
    """A path that begins with a slash."""
    if not re.fullmatch(r"/[^\s?#]*", raw.strip()):
        raise ValueError("expected a path that begins with / and has no query")
    return raw.strip()


def mcp_servers(raw: str) -> Mapping[str, Mapping[str, Any]]:
    """The MCP servers that a file defines, by name; none where it is blank."""
    try:
        return mcp.read_file(absolute_path(raw) if raw.strip() else None)
    except OSError as fault:
        raise ValueError(f"expected a file that can be read: {fault.strerror}") from fault


def optional_url_path(raw: str) -> str | None:
    """A path that begins with a slash, or None where it is blank."""
    return url_path(raw) if raw.strip() else None


def comma_list(raw: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def absolute_path(raw: str) -> Path:
    """A directory, `~` expanded; made when it is first needed."""
    try:
        path = Path(raw.strip()).expanduser()
    except RuntimeError as fault:
        raise ValueError("expected a path that begins with a known user's ~") from fault
    if "\0" in raw or not path.is_absolute():
        raise ValueError("expected an absolute path, or one that begins with ~")
    return path


def store_url(raw: str) -> str:
    """Where state is kept; never echoed, it may hold a password."""
    url = raw.strip()
    try:
        parts = urlsplit(url)
        usable = url == "memory://"
        if parts.scheme == "sqlite":
            usable = not (parts.netloc or parts.query or parts.fragment)
            usable = usable and re.fullmatch(r"/[^\0]*[^/\0]", parts.path) is not None
        elif parts.scheme in {"redis", "rediss"}:
            usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
            usable = usable and re.fullmatch(r"/?|/\d{1,4}", parts.path) is not None
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("expected memory://, sqlite:///path, redis:// or rediss://host:port/0")
    return url


def api_keys(raw: str) -> Mapping[str, str]:
    """`name=key` pairs, comma-separated; the parts are never echoed in a fault."""
    return keys.parse_pairs(comma_list(raw))


def keys_file(raw: str) -> Path | None:
    """A file of keys that can be read and has one at least, or None where it is blank."""
    if not raw.strip():
        return None
    file = absolute_path(raw)
    try:
        found = keys.read_file(file)
    except OSError as fault:
        raise ValueError(f"expected a file that can be read: {fault.strerror}") from None
    if not found:
        raise ValueError("expected a key at least: `make key` prints one")
    return file


def hosts(raw: str) -> tuple[str, ...]:
    """Names as they stand in `Host`, without a port."""
    found = comma_list(raw)
    if not all(re.fullmatch(r"[^\s/:@*]+|\[[0-9a-fA-F:.]+\]", name) for name in found):
        raise ValueError("expected names without scheme, port or *, comma-separated")
    return found


def origins(raw: str) -> tuple[str, ...]:
    """Origins as browsers write them."""
    found = comma_list(raw)
    if not all(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/@*]+/?", name) for name in found):
        raise ValueError("expected scheme://name[:port], without * or a path, comma-separated")
    return found


def networks(raw: str) -> tuple[Network, ...]:
    """Addresses and networks (`10.0.0.0/8`)."""
    try:
        return tuple(ipaddress.ip_network(name, strict=False) for name in comma_list(raw))
    except ValueError:
        raise ValueError("expected addresses or networks, comma-separated") from None


def unix_user_or_none(raw: str) -> UnixUser | None:
    """Another user of this machine, or None where it is blank."""
    return unix_user.lookup_cli_user(raw.strip()) if raw.strip() else None
