"""Where a request comes from: what a proxy says counts only where that proxy is trusted."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.web.client_address import ClientAddresses

TRUSTED = ClientAddresses(
    tuple(ip_network(each) for each in ("127.0.0.1", "10.0.0.0/8", "fd00::/8"))
)


def environ(peer, forwarded=None, **more):
    said = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return {"REMOTE_ADDR": peer, **said, **more}


SOURCES = [
    # The peer itself where it is nobody's proxy, whatever it says.
    ("203.0.113.9", None, "203.0.113.9"),
    ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
    ("::ffff:203.0.113.9", None, "203.0.113.9"),
    # Of a trusted proxy's chain the last one that is not trusted.
    ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("127.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
    ("127.0.0.1", "1.1.1.1,198.51.100.1,10.1.2.3", "198.51.100.1"),
    ("127.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
    ("127.0.0.1", "", "127.0.0.1"),
    ("127.0.0.1", None, "127.0.0.1"),
    ("127.0.0.1", "1.1.1.1, unknown", "127.0.0.1"),
    ("127.0.0.1", "1.1.1.1, 10.0.0.1:80", "127.0.0.1"),
    # An IPv6 host has 2**64 addresses: its network is what counts.
    ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
    ("fd00::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
    ("", "198.51.100.1", "None"),
    ("unix:", None, "None"),
]


@pytest.mark.parametrize(("peer", "forwarded", "source"), SOURCES)
def test_a_source_is_the_last_address_that_nobody_trusted_has_said(peer, forwarded, source):
    assert TRUSTED.source(environ(peer, forwarded)) == source


@given(st.text(max_size=80))
def test_whatever_is_forwarded_gives_a_source(forwarded):
    assert TRUSTED.source(environ("127.0.0.1", forwarded))


def test_without_trusted_proxies_nothing_forwarded_is_believed():
    assert ClientAddresses().source(environ("127.0.0.1", "198.51.100.1")) == "127.0.0.1"


@pytest.mark.parametrize(
    "header",
    [
        "FORWARDED",
        "VIA",
        "X_REAL_IP",
        "X_FORWARDED_FOR",
        "X_FORWARDED_SERVER",
        "X_FORWARDED_ANYTHING",
    ],
)
def test_what_came_through_a_proxy_is_not_from_here_trusted_or_not(header):
    for judge in (ClientAddresses(), TRUSTED):
        assert judge.is_local(environ("127.0.0.1"))
        assert not judge.is_local(environ("127.0.0.1", **{f"HTTP_{header}": "127.0.0.1"}))
