"""Who may call: this machine without a key, everybody else with one, and no page of a stranger."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from flask import Flask, g, jsonify

from cowork.settings.api_keys import ApiKeys
from cowork.web import guard, problems
from cowork.web.client_address import ClientAddresses
from cowork.web.guard import Guard

KEY, OTHER = "k" * 32, "o" * 32
KEYS = {"me": KEY, "you": OTHER}
ORIGIN = "https://app.example"
ASKS = {"Access-Control-Request-Method": "POST"}


def client(keys=None, hosts=(), origins=(), trusted=()):
    app = Flask("guard", static_folder=None)
    addresses = ClientAddresses(tuple(ip_network(each) for each in trusted))
    guard.register(
        app, Guard(ApiKeys(keys or {}), hosts=hosts, origins=origins, addresses=addresses)
    )
    problems.register(app)
    for path in ("/who", "/health/live"):
        app.add_url_rule(path, path, lambda: jsonify(g.owner))
    return app.test_client()


def call(client, path="/who", *, method="GET", peer="127.0.0.1", host="localhost:5002", **headers):
    """The reply; keywords are headers, `_` for `-`, None for one that is not sent."""
    given = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent = [(name, value) for name, value in given.items() if value is not None]
    environ = {"REMOTE_ADDR": peer}
    if host is None:
        environ["HTTP_HOST"] = ""
    return client.open(path, method=method, headers=sent, environ_overrides=environ)


PEERS = [
    *[(peer, 200) for peer in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1")],
    *[(peer, 401) for peer in ("192.168.1.7", "10.0.0.1", "8.8.8.8", "0.0.0.0", "fe80::1", "::")],  # noqa: S104
    *[(peer, 401) for peer in ("", "localhost", "unix:", "127.0.0.1, 8.8.8.8")],
]


@pytest.mark.parametrize(("peer", "status"), PEERS)
def test_without_keys_only_this_machine_gets_in(peer, status):
    assert call(client(), peer=peer).status_code == status


HOSTS = [
    *[(host, 200) for host in ("localhost", "localhost:5002", "LOCALHOST", "LocalHost:80")],
    *[(host, 200) for host in ("127.0.0.1", "127.0.0.1:5002", "127.9.9.9", "[::1]", "[::1]:5002")],
    *[(host, 403) for host in ("evil.example", "evil.example:5002", "localhost.evil.example")],
    *[(host, 403) for host in ("evil.localhost", "localhost.", "localhost:80:90", "mylocalhost")],
    *[(host, 403) for host in ("127.0.0.1.evil.example", "127.0.0.1.nip.io", "0.0.0.0", "[::]")],  # noqa: S104
    *[(host, 403) for host in ("2130706433", "0x7f.1", "127.1", "192.168.1.7", "[fe80::1]")],
    *[
        (host, 403)
        for host in ("[::1", "[::1]evil.example", "[::1].evil.example:80", "[]", ":5002")
    ],
    *[(host, 403) for host in ("localhost@evil.example", "evil.example#localhost", "*", "null")],
    (None, 403),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_without_keys_only_this_machines_names_are_served(host, status):
    assert call(client(), host=host).status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("cowork.example", 200),
        ("COWORK.example:8443", 200),
        ("localhost", 200),
        ("[::1]:5002", 200),
        ("sub.cowork.example", 403),
        ("cowork.example.evil", 403),
        ("evil.example", 403),
        (None, 403),
    ],
)
@pytest.mark.parametrize("keys", [{}, KEYS])
def test_with_named_hosts_those_and_this_machines_are_served(host, status, keys):
    named = client(keys, hosts=("Cowork.example",))
    assert call(named, host=host, X_API_Key=KEY).status_code == status


def test_with_keys_and_no_named_hosts_any_name_is_served():
    assert call(client(KEYS), host="any.example", X_API_Key=KEY).status_code == 200


ORIGINS = [
    *[(origin, 200) for origin in (None, "http://localhost:5002", "https://localhost:5002")],
    *[(origin, 200) for origin in ("http://LOCALHOST:5002", ORIGIN, ORIGIN.upper())],
    *[
        (origin, 403)
        for origin in ("null", "", "file://", "https://evil.example", "localhost:5002")
    ],
    *[(origin, 403) for origin in ("http://localhost", "http://localhost:3000", f"{ORIGIN}:444")],
    *[(origin, 403) for origin in (f"{ORIGIN}.evil", f"{ORIGIN}@evil", "https://xapp.example")],
    *[(origin, 403) for origin in ("http://app.example", "http://localhost:5002.evil", "*", "[")],
    *[(origin, 403) for origin in ("http://localhost:5002@evil", "http://[", "http://[::1", "//")],
    *[(origin, 403) for origin in ("http://u@localhost:5002", f"{ORIGIN} {ORIGIN}", f"{ORIGIN}/x")],
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
def test_a_page_may_call_from_here_or_from_a_named_origin(origin, status):
    found = call(client(origins=(f"{ORIGIN}/",)), Origin=origin)
    assert found.status_code == status
    allowed = found.headers.get("Access-Control-Allow-Origin")
    assert allowed == (origin if origin and origin.lower() == ORIGIN else None)


@pytest.mark.parametrize(
    ("keys", "peer", "status"),
    [
        ({}, "127.0.0.1", 403),
        (KEYS, "127.0.0.1", 403),
        (KEYS, "8.8.8.8", 403),
        # Without keys a caller from elsewhere is told what would let it in, whatever else is odd.
        ({}, "8.8.8.8", 401),
    ],
)
def test_a_strangers_page_is_refused_before_its_key_is_looked_at(keys, peer, status):
    asked = call(client(keys), peer=peer, Origin="https://evil.example", X_API_Key=KEY)
    assert asked.status_code == status


def test_without_keys_a_caller_from_elsewhere_is_told_of_keys_and_not_of_hosts():
    asked = call(client(), peer="10.0.0.9", Host="server:5002")
    assert asked.status_code == 401
    assert "COWORK_API_KEYS" in asked.get_json()["detail"]["error"]


def test_a_reply_to_a_page_depends_on_its_origin():
    assert "Origin" in call(client(), Origin="http://localhost:5002").headers["Vary"]


def test_a_preflight_of_a_named_origin_needs_no_key():
    asks = {**ASKS, "Access-Control-Request-Headers": "authorization,x-api-key"}
    asked = call(
        client(KEYS, origins=(ORIGIN,)), method="OPTIONS", peer="8.8.8.8", Origin=ORIGIN, **asks
    )
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Headers"] == "authorization, x-api-key"
    assert "Access-Control-Allow-Credentials" not in asked.headers


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_any_other_preflight_is_refused(origin):
    asked = call(client(KEYS, origins=(ORIGIN,)), method="OPTIONS", Origin=origin, **ASKS)
    assert asked.status_code in {401, 403}
    assert "Access-Control-Allow-Origin" not in asked.headers


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"],
)
def test_a_proxy_on_this_machine_is_not_the_caller(header):
    for value in ("127.0.0.1", "8.8.8.8", ""):
        asked = call(client(), **{header: value})
        assert asked.status_code == 401
        assert "COWORK_API_KEYS" in asked.json["detail"]["error"]


def test_a_forwarded_header_makes_nobody_local():
    asked = call(client(), peer="8.8.8.8", X_Forwarded_For="127.0.0.1", X_Real_IP="127.0.0.1")
    assert asked.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY} "},
        {"X_API_Key": KEY},
        {"Authorization": "Basic abc", "X_API_Key": KEY},
    ],
)
def test_a_key_lets_its_owner_in_from_anywhere(headers):
    for peer in ("127.0.0.1", "8.8.8.8", ""):
        found = call(client(KEYS), peer=peer, X_Forwarded_For="8.8.8.8", **headers)
        assert (found.status_code, found.json) == (200, "me")


def test_a_key_is_its_owners_alone():
    assert call(client(KEYS), X_API_Key=OTHER).json == "you"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_API_Key": ""},
        {"X_API_Key": KEY[:-1]},
        {"X_API_Key": KEY + "k"},
        {"X_API_Key": KEY.upper()},
        {"X_API_Key": f"{KEY},{OTHER}"},
        {"X_API_Key": "k" * 10_000},
        {"X_API_Key": "ü" * 32},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong", "X_API_Key": KEY},
        {"Cookie": f"key={KEY}; Authorization=Bearer {KEY}"},
    ],
)
def test_without_a_right_key_nobody_gets_in(headers):
    asked = call(client(KEYS), **headers)
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"].startswith("Bearer")
    assert KEY not in asked.text


@pytest.mark.parametrize("name", ["key", "api_key", "X-API-Key", "access_token", "Authorization"])
def test_a_key_in_the_query_string_is_no_key(name):
    assert call(client(KEYS), f"/who?{name}={KEY}").status_code == 401


def test_a_caller_without_a_key_learns_nothing_of_what_there_is():
    asked = client(KEYS)
    for path, method in (("/nothing", "GET"), ("/who", "DELETE"), ("/health/live/", "GET")):
        assert call(asked, path, method=method).status_code == 401


@pytest.mark.parametrize("peer", ["127.0.0.1", "8.8.8.8"])
def test_liveness_is_open_to_everybody(peer):
    asked = call(client(KEYS), "/health/live", peer=peer, host="evil.example", Origin="null")
    assert asked.status_code == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/who", 200),
        ("http://localhost:5002/who", 200),
        ("http://evil.example/who", 403),
        ("http://localhost@evil.example/who", 403),
        ("https://127.0.0.1.evil.example/who", 403),
        ("http:///who", 403),
        ("*", 403),
    ],
)
def test_a_target_that_names_a_host_is_judged_by_it_too(target, status):
    asked = client().get(
        "/who", headers={"Host": "localhost"}, environ_overrides={"RAW_URI": target}
    )
    assert asked.status_code == status


@pytest.mark.parametrize("keys", [{}, KEYS])
def test_a_request_that_names_no_host_is_refused(keys):
    assert call(client(keys), host=None, X_API_Key=KEY).status_code == 403


@pytest.mark.parametrize(
    ("site", "origin", "status"),
    [
        ("cross-site", None, 403),
        (" Cross-Site ", None, 403),
        ("cross-site", "http://localhost:5002", 403),
        ("cross-site", ORIGIN, 200),
        ("same-origin", None, 200),
        ("same-site", None, 200),
        ("none", None, 200),
    ],
)
def test_a_browser_that_says_cross_site_is_believed(site, origin, status):
    asked = call(client(origins=(ORIGIN,)), Sec_Fetch_Site=site, Origin=origin)
    assert asked.status_code == status


def test_a_preflight_of_a_named_origin_asks_a_host_that_is_served():
    named = client(KEYS, hosts=("cowork.example",), origins=(ORIGIN,))
    for host, status in (("cowork.example", 204), ("evil.example", 403)):
        asked = call(named, method="OPTIONS", host=host, Origin=ORIGIN, **ASKS)
        assert asked.status_code == status


def test_a_preflight_is_told_of_the_private_network_only_where_its_page_is_named():
    asks = {**ASKS, "Access-Control-Request-Private-Network": "true"}
    named = call(client(KEYS, origins=(ORIGIN,)), method="OPTIONS", Origin=ORIGIN, **asks)
    assert named.headers["Access-Control-Allow-Private-Network"] == "true"
    foreign = call(client(KEYS, origins=(ORIGIN,)), method="OPTIONS", Origin=f"{ORIGIN}.x", **asks)
    assert not [name for name, _ in foreign.headers if name.startswith("Access-Control")]


def test_an_options_request_that_is_no_preflight_needs_a_key():
    asked = call(client(KEYS, origins=(ORIGIN,)), method="OPTIONS", Origin=ORIGIN)
    assert asked.status_code == 401


def test_where_pages_are_named_every_reply_depends_on_the_origin():
    assert "Origin" in call(client(origins=(ORIGIN,))).headers["Vary"]
    assert "Vary" not in call(client()).headers


def test_too_many_wrong_keys_are_refused_but_a_right_one_never():
    asked = client(KEYS)
    for _ in range(30):
        assert call(asked, X_API_Key="x" * 32).status_code == 401
        assert call(asked).status_code == 401  # no key at all is no guess
    over = call(asked, X_API_Key="x" * 32)
    assert over.status_code == 429
    assert 0 < int(over.headers["Retry-After"]) <= 60
    assert over.get_json()["detail"]["code"] == "too_many_attempts"
    assert call(asked).status_code == 401
    assert call(asked, X_API_Key=KEY).status_code == 200
    assert call(asked, X_API_Key="x" * 32, peer="8.8.8.8").status_code == 401


def test_wrong_keys_are_counted_by_the_address_a_trusted_proxy_tells():
    asked = client(KEYS, trusted=("127.0.0.1",))
    for _ in range(31):
        last = call(asked, X_API_Key="x" * 32, X_Forwarded_For="203.0.113.1")
    assert last.status_code == 429
    other = call(asked, X_API_Key="x" * 32, X_Forwarded_For="203.0.113.2")
    assert other.status_code == 401


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 405),
        ("text/plain", b"{}", 405),
        ("text/plain", b"", 405),
    ],
)
def test_what_no_route_takes_is_not_judged_by_its_type(kind, body, status):
    asked = client().post("/who", data=body, headers={"Host": "localhost", "Content-Type": kind})
    assert asked.status_code == status


def test_no_reply_is_kept_or_guessed_at_by_a_browser():
    for path in ("/who", "/nope", "/health/live"):
        reply = call(client(), path)
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
