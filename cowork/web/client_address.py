"""The client address of a request, behind trusted proxies too."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cowork.settings.parsers import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Of an X-Forwarded-For no more than this is looked at: a longer chain of proxies there is not.
MAX_HOPS = 32
# A header that any proxy adds makes a request one that came through a proxy.
_FORWARDING = frozenset({"HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP"})
_FORWARDING_PREFIX = "\nHTTP_X_FORWARDED"  # with what is put before each name


class ClientAddresses:
    """Finds the client's address; `trusted` are the proxies whose X-Forwarded-For is believed."""

    def __init__(self, trusted: tuple[Network, ...] = ()) -> None:
        self._trusted = trusted

    def is_local(self, environ: Mapping[str, Any]) -> bool:
        """Whether the caller is on this machine: not merely a proxy that is."""
        return _is_loopback(environ.get("REMOTE_ADDR", "")) and not _is_forwarded(environ)

    def source(self, environ: Mapping[str, Any]) -> str:
        """What the caller is counted by: its real address, for IPv6 the network it is in."""
        real = self._client_address(environ)
        if isinstance(real, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((real, 64), strict=False))
        return str(real)

    def _client_address(self, environ: Mapping[str, Any]) -> Address | None:
        """The last address on the way here that no trusted proxy has."""
        real = parse_address(environ.get("REMOTE_ADDR", ""))
        hops = environ.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", MAX_HOPS)
        while hops and real is not None and self._trusts(real):
            said = parse_address(hops.pop().strip())
            if said is None:
                break  # not an address: what stands before it was not written by a trusted proxy
            real = said
        return real

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


@lru_cache(4096)
def parse_address(text: str) -> Address | None:
    """An address; a socket that serves both families shows IPv4 callers as ::ffff:127.0.0.1."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(4096)
def _is_loopback(text: str) -> bool:
    address = parse_address(text)
    return address is not None and address.is_loopback


def _is_forwarded(environ: Mapping[str, Any]) -> bool:
    # One look at all names: with each request, one at each costs four times as much.
    return not _FORWARDING.isdisjoint(environ) or _FORWARDING_PREFIX in "\n".join(("", *environ))
