"""The token we hold: where it comes from, how long it lasts, and who still uses it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import structlog.testing

from cowork import log
from cowork.errors import (
    BadUpstream,
    MissingAuthSession,
    NotLoggedIn,
    StoreUnavailable,
    UpstreamRefused,
    UpstreamTimeout,
)
from cowork.model import XoToken
from cowork.stores.memory.store import MemoryStore
from cowork.xo.auth_api import Grant
from tests.patience import PATIENCE_S
from tests.unit.xo.parts import Parts
from tests.upstream import until

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
GRANT = Grant("xo-token-0001", "xo-refresh-0001", 3600, "user-1", "session-1", "chat")
NOBODY = {
    "authenticated": False,
    "user_id": None,
    "expires_at": None,
    "auth_session_id": None,
    "token_source": "none",
}


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def passes(self, seconds):
        self.now += timedelta(seconds=seconds)


class FakeXo:
    """Answers as told and notes what it was asked; `meanwhile` happens during a call."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.meanwhile = lambda: None

    def _answer(self, *asked):
        self.asked.append(asked)
        self.meanwhile()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def start(self, scopes, client_reference, *, token):
        return self._answer("start", scopes, client_reference, token)

    def status(self, auth_session_id, poll_token, *, token):
        return self._answer("status", auth_session_id, poll_token, token)

    def consume(self, auth_session_id, poll_token, *, token):
        return self._answer("consume", auth_session_id, poll_token, token)

    def user_id(self, token):
        return self._answer("user_id", token)

    def refresh(self, refresh_token):
        return self._answer("refresh", refresh_token)


class AwayStore(MemoryStore):
    def token(self):
        raise StoreUnavailable("the store is away")

    def put_token(self, _token):
        raise StoreUnavailable("the store is away")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def make(store, clock):
    def made(*answers, **settings):
        return Parts(store, FakeXo(*answers), clock=clock, **settings)

    return made


@pytest.fixture
def lines():
    with structlog.testing.capture_logs() as captured:
        yield captured


def refused(status):
    return UpstreamRefused("refused", status=status, upstream="")


def test_nobody_is_logged_in_at_first(make):
    login = make()
    assert login.state() == NOBODY
    assert login.bearer() is None


def test_consume_stores_the_token_and_gives_the_grant(make, store):
    login = make(GRANT)
    assert login.consume(" session-1 ", "\tpoll-1\n") == GRANT
    assert login.xo_auth.asked == [("consume", "session-1", "poll-1", None)]
    assert store.token() == XoToken(
        "xo-token-0001", "xo-refresh-0001", NOON + timedelta(hours=1), "user-1", "session-1"
    )
    assert login.bearer() == "xo-token-0001"
    assert login.state() == {
        "authenticated": True,
        "user_id": "user-1",
        "expires_at": "2030-01-01T13:00:00.000000",
        "auth_session_id": "session-1",
        "token_source": "dynamic_or_env",
    }


def test_the_time_of_a_token_is_told_in_utc(make, store):
    zone = timezone(timedelta(hours=5))
    store.put_token(
        XoToken("xo-token-0001", None, datetime(2030, 1, 1, 20, tzinfo=zone), None, None)
    )
    assert make().state()["expires_at"] == "2030-01-01T15:00:00.000000"


def test_a_session_that_upstream_does_not_name_is_the_one_asked_for(make, store):
    make(Grant("xo-token-0001", None, None, None, None, None)).consume("session-9", "poll-1")
    assert store.token() == XoToken("xo-token-0001", None, None, None, "session-9")


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (("s", "p"), ("s", "p")),
        ((None, None), ("env-s", "env-p")),
        (("s", None), ("s", "env-p")),
        ((" ", "p"), ("env-s", "p")),
        (("s", "\n"), ("s", "env-p")),
    ],
)
def test_each_blank_value_falls_back_on_its_own(make, body, asked):
    login = make(GRANT, env_auth_session_id=" env-s ", env_poll_token="env-p")
    login.consume(*body)
    assert login.xo_auth.asked == [("consume", *asked, None)]


@pytest.mark.parametrize("env", [("env-s", None), (None, "env-p"), (" ", " "), (None, None)])
def test_without_both_values_nobody_is_asked(make, env):
    login = make(env_auth_session_id=env[0], env_poll_token=env[1])
    with pytest.raises(MissingAuthSession):
        login.consume(None, " ")
    assert login.xo_auth.asked == []


@pytest.mark.parametrize("fault", [BadUpstream("b"), UpstreamTimeout("t"), refused(410)])
def test_a_consume_that_fails_keeps_the_token_there_was(make, fault):
    login = make(GRANT, fault)
    login.consume("s", "p")
    before = login.state()
    with pytest.raises(type(fault)):
        login.consume("s", "p")
    assert login.state() == before
    assert login.bearer() == "xo-token-0001"


def test_the_stored_token_goes_first_and_the_static_one_stays(make, clock):
    login = make(GRANT, static_token="static-token-1")
    assert login.bearer() == "static-token-1"
    login.consume("s", "p")
    assert login.bearer() == "xo-token-0001"
    clock.passes(3600)
    assert login.bearer() == "static-token-1"
    assert login.state()["authenticated"] is True


def test_logging_out_forgets_the_stored_token_and_not_the_operators(make, store):
    login = make(GRANT, static_token="static-token-1")
    login.consume("s", "p")
    login.logout()
    assert store.token() is None
    assert login.bearer() == "static-token-1"
    assert login.state()["token_source"] == "dynamic_or_env"


def test_logging_out_twice_is_no_error(make):
    login = make()
    login.logout()
    login.logout()
    assert login.state() == NOBODY


def test_a_token_is_given_up_a_minute_before_its_end(make, clock):
    login = make(GRANT)
    login.consume("s", "p")
    clock.passes(3539)
    assert login.bearer() == "xo-token-0001"
    clock.passes(1)
    assert login.bearer() is None
    assert login.state()["authenticated"] is False
    assert login.state()["token_source"] == "dynamic_or_env"


def test_a_token_without_an_end_lasts(make, clock):
    login = make(Grant("xo-token-0001", None, None, None, None, None))
    login.consume("s", "p")
    clock.passes(86400 * 365 * 50)
    assert login.bearer() == "xo-token-0001"


def test_start_and_status_send_the_token_that_is_held(make):
    login = make({"a": 1}, {"b": 2}, static_token="static-token-1")
    assert login.start("chat", "demo") == {"a": 1}
    assert login.status("s", "p") == {"b": 2}
    assert login.xo_auth.asked == [
        ("start", "chat", "demo", "static-token-1"),
        ("status", "s", "p", "static-token-1"),
    ]


def test_whoami_needs_a_token(make):
    login = make()
    with pytest.raises(NotLoggedIn):
        login.whoami()
    assert login.xo_auth.asked == []


def test_whoami_remembers_the_user(make, store):
    login = make(GRANT, "user-2")
    login.consume("s", "p")
    assert login.whoami() == "user-2"
    assert login.state()["user_id"] == "user-2"
    assert store.token().user_id == "user-2"
    assert store.token().access_token == "xo-token-0001"


def test_whoami_remembers_the_user_of_the_static_token_too(make):
    login = make("operator", GRANT, static_token="static-token-1")
    login.whoami()
    assert login.state()["user_id"] == "operator"
    login.consume("s", "p")
    assert login.state()["user_id"] == "user-1"
    login.logout()
    assert login.state()["user_id"] == "operator"


def test_whoami_does_not_bring_back_a_token_that_was_logged_out_meanwhile(make, store):
    login = make(GRANT, "user-2")
    login.consume("s", "p")
    login.xo_auth.meanwhile = login.logout
    assert login.whoami() == "user-2"
    assert store.token() is None
    assert login.state() == NOBODY


def test_whoami_does_not_rename_a_token_that_came_meanwhile(make, store):
    login = make(GRANT, "user-2")
    login.consume("s", "p")
    newer = XoToken("xo-token-0002", None, None, "user-9", None)
    login.xo_auth.meanwhile = lambda: store.put_token(newer)
    login.whoami()
    assert store.token() == newer


def test_every_token_is_masked_in_the_log(make, store):
    login = make(Grant("hidden-token-1", "hidden-refresh-1", None, None, None, None))
    login.consume("s", "p")
    assert log.masked("hidden-token-1 hidden-refresh-1") == "*** ***"
    store.put_token(XoToken("hidden-token-2", "hidden-refresh-2", None, None, None))
    login.bearer()
    assert log.masked("hidden-token-2 hidden-refresh-2") == "*** ***"
    make(static_token="hidden-token-3", env_poll_token="hidden-poll-4")
    assert log.masked("hidden-token-3 hidden-poll-4") == "*** ***"


def test_no_state_holds_a_token(make):
    login = make(GRANT, static_token="static-token-1")
    login.consume("s", "p")
    assert "token-0001" not in str(login.state())


def test_at_start_both_variables_log_in_once(make, lines):
    login = make(GRANT, env_auth_session_id="env-s", env_poll_token="env-p")
    login.login_at_start()
    assert login.xo_auth.asked == [("consume", "env-s", "env-p", None)]
    assert login.bearer() == "xo-token-0001"
    assert [line["log_level"] for line in lines] == ["info"]


def test_at_start_without_variables_nothing_happens(make, lines):
    make().login_at_start()
    assert lines == []


@pytest.mark.parametrize(
    ("env", "missing"),
    [(("env-s", None), "XO_POLL_TOKEN"), ((" ", "env-p"), "XO_AUTH_SESSION_ID")],
)
def test_at_start_one_variable_alone_is_a_warning(make, lines, env, missing):
    login = make(env_auth_session_id=env[0], env_poll_token=env[1])
    login.login_at_start()
    assert login.xo_auth.asked == []
    assert [(line["log_level"], line["missing"]) for line in lines] == [("warning", missing)]


@pytest.mark.parametrize("fault", [BadUpstream("b"), UpstreamTimeout("t"), refused(429)])
def test_at_start_a_failure_that_may_pass_is_tried_again(make, lines, fault):
    login = make(fault, fault, GRANT, env_auth_session_id="env-s", env_poll_token="env-p")
    login.login_at_start(retry_delays=(0, 0))
    assert login.bearer() == "xo-token-0001"
    assert [line["log_level"] for line in lines] == ["info"]


def test_at_start_tries_are_bounded_and_end_in_one_warning(make, lines):
    faults = [BadUpstream("down") for _ in range(5)]
    login = make(*faults, env_auth_session_id="env-s", env_poll_token="env-p")
    login.login_at_start(retry_delays=(0, 0))
    assert len(login.xo_auth.asked) == 3
    assert [(line["log_level"], line["code"]) for line in lines] == [("warning", "bad_upstream")]


@pytest.mark.parametrize("fault", [refused(410), RuntimeError("poll-canary"), KeyError("x")])
def test_at_start_any_other_failure_is_one_warning_and_never_raises(make, lines, fault):
    login = make(fault, env_auth_session_id="env-s", env_poll_token="env-p")
    login.login_at_start(retry_delays=(0, 0))
    assert len(login.xo_auth.asked) == 1
    assert [line["log_level"] for line in lines] == ["warning"]
    assert "canary" not in str(lines)


def test_at_start_a_store_that_is_away_is_a_warning(clock, lines):
    login = Parts(
        AwayStore(),
        FakeXo(GRANT),
        clock=clock,
        env_auth_session_id="env-s",
        env_poll_token="env-p",
    )
    login.login_at_start(retry_delays=())
    assert [line["code"] for line in lines] == ["store_unavailable"]


def test_at_start_a_store_that_comes_back_is_asked_again(clock, lines):
    class Flaky(MemoryStore):
        away = 2

        def token(self):
            self.away -= 1
            if self.away >= 0:
                raise StoreUnavailable("the store is away")
            return super().token()

    login = Parts(
        Flaky(), FakeXo(GRANT), clock=clock, env_auth_session_id="env-s", env_poll_token="env-p"
    )
    login.login_at_start(retry_delays=(0, 0))
    assert login.bearer() == "xo-token-0001"
    assert [line["log_level"] for line in lines] == ["info"]


def test_at_start_a_login_whose_token_is_held_already_is_not_consumed_again(make, store, lines):
    store.put_token(XoToken("xo-token-0001", None, None, None, "env-s"))
    login = make(env_auth_session_id="env-s", env_poll_token="env-p")
    login.login_at_start()
    assert login.xo_auth.asked == []
    assert lines == []


def test_at_start_a_login_whose_token_ran_out_is_consumed(make, store):
    store.put_token(XoToken("xo-token-0000", None, NOON, None, "env-s"))
    login = make(GRANT, env_auth_session_id="env-s", env_poll_token="env-p")
    login.login_at_start()
    assert login.bearer() == "xo-token-0001"


def test_the_login_at_start_stops_when_the_server_does(make):
    faults = [BadUpstream("down") for _ in range(5)]
    login = make(*faults, env_auth_session_id="env-s", env_poll_token="env-p")
    stop = threading.Event()
    thread = threading.Thread(
        target=login.login_at_start, args=(stop,), kwargs={"retry_delays": (60, 60)}
    )
    thread.start()
    until(lambda: login.xo_auth.asked)
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert len(login.xo_auth.asked) == 1


def test_the_login_at_start_gives_way_to_what_a_client_did_meanwhile(make, store, lines):
    login = make(GRANT, env_auth_session_id="env-s", env_poll_token="env-p")
    login.xo_auth.meanwhile = login.logout
    login.login_at_start()
    assert store.token() is None
    assert lines == []


@pytest.mark.parametrize(
    "said",
    ["xo-token-0001", "xo-refresh-0001", "static-token-1", "me=xo-token-0001;", "xo-refresh-0001 "],
)
def test_whoami_passes_no_token_on_as_a_user_id(make, store, said):
    login = make(GRANT, said, static_token="static-token-1")
    login.consume("s", "p")
    before = store.token()
    with pytest.raises(BadUpstream):
        login.whoami()
    assert store.token() == before


# -- another token for one that is taken no more

NEWER = Grant("xo-token-0002", "xo-refresh-0002", 3600, None, None, None)


@pytest.fixture
def logged_in(make):
    """A login whose token has just come; further answers are the refresh's."""

    def made(*answers, **settings):
        login = make(GRANT, *answers, **settings)
        login.consume("session-1", "p")
        login.xo_auth.asked.clear()
        login.changes = []
        login.on_change(lambda: login.changes.append(login.bearer()))
        return login

    return made


def test_a_refused_token_is_renewed_with_the_refresh_token(logged_in, store):
    login = logged_in(NEWER)
    assert login.refresh("xo-token-0001") is True
    assert login.xo_auth.asked == [("refresh", "xo-refresh-0001")]
    expires = NOON + timedelta(hours=1)
    assert store.token() == XoToken(
        "xo-token-0002", "xo-refresh-0002", expires, "user-1", "session-1"
    )
    assert login.changes == ["xo-token-0002"]


def test_a_refresh_token_that_is_not_replaced_is_kept(logged_in, store):
    login = logged_in(Grant("xo-token-0002", None, None, "user-2", "session-2", None))
    login.refresh("xo-token-0001")
    assert store.token() == XoToken("xo-token-0002", "xo-refresh-0001", None, "user-2", "session-2")


def test_a_token_that_ran_out_is_renewed_too(logged_in, clock):
    login = logged_in(NEWER)
    clock.passes(7200)
    assert login.bearer() is None
    assert login.refresh(None) is True
    assert login.bearer() == "xo-token-0002"


def test_whoami_renews_a_token_that_ran_out(logged_in, clock):
    login = logged_in(NEWER, "user-2")
    clock.passes(7200)
    assert login.whoami() == "user-2"
    assert login.xo_auth.asked[-1] == ("user_id", "xo-token-0002")


def test_a_token_that_was_replaced_meanwhile_is_used_as_it_is(logged_in, store):
    login = logged_in()
    store.put_token(XoToken("xo-token-0009", "xo-refresh-0009", None, None, None))
    assert login.refresh("xo-token-0001") is True
    assert login.xo_auth.asked == []


@pytest.mark.parametrize("rejected", ["xo-token-0001", "static-token-1", None])
def test_without_a_refresh_token_there_is_no_way(make, rejected):
    grant = Grant("xo-token-0001", None, None, None, None, None)
    login = make(grant)
    login.consume("s", "p")
    assert login.refresh(rejected) is (rejected != "xo-token-0001")
    assert len(login.xo_auth.asked) == 1


def test_an_upstream_that_offers_no_refresh_changes_nothing(logged_in, store):
    login = logged_in(None)
    before = store.token()
    assert login.refresh("xo-token-0001") is False
    assert store.token() == before
    assert login.changes == []


def test_a_refused_refresh_forgets_the_refresh_token_alone(logged_in, store, lines):
    login = logged_in(refused(400))
    before = store.token()
    assert login.refresh("xo-token-0001") is False
    assert store.token() == replace(before, refresh_token=None)
    assert login.refresh("xo-token-0001") is False
    assert len(login.xo_auth.asked) == 1
    assert [(line["event"], line["for_good"]) for line in lines] == [
        ("xo token refresh failed", True)
    ]


@pytest.mark.parametrize(
    "fault",
    [BadUpstream("b"), UpstreamTimeout("t"), refused(429), refused(408), refused(404)],
)
def test_a_refresh_that_may_succeed_later_forgets_nothing(logged_in, store, lines, fault):
    login = logged_in(fault, NEWER)
    before = store.token()
    assert login.refresh("xo-token-0001") is False
    assert store.token() == before
    assert [line["for_good"] for line in lines] == [False]
    assert login.refresh("xo-token-0001") is True


def test_a_refresh_does_not_undo_a_logout_or_a_login(logged_in, store):
    login = logged_in(NEWER)
    login.xo_auth.meanwhile = login.logout
    assert login.refresh("xo-token-0001") is False
    assert store.token() is None
    login = logged_in(refused(400))
    newer = XoToken("xo-token-0003", "xo-refresh-0003", None, None, None)
    login.xo_auth.meanwhile = lambda: store.put_token(newer)
    assert login.refresh("xo-token-0001") is True
    assert store.token() == newer


def test_of_many_who_ask_for_a_renewal_one_asks_upstream(logged_in):
    for answers, found in (((NEWER,), True), ((BadUpstream("down"),), False)):
        login = logged_in(*answers)
        asking, go_on = threading.Event(), threading.Event()

        def meanwhile(asking=asking, go_on=go_on):
            asking.set()
            go_on.wait(PATIENCE_S)

        login.xo_auth.meanwhile = meanwhile
        with ThreadPoolExecutor(8) as pool:
            renewals = [pool.submit(login.refresh, "xo-token-0001") for _ in range(8)]
            asking.wait(PATIENCE_S)
            until(pool._work_queue.empty)
            time.sleep(0.05)  # so that the others are at the lock too
            go_on.set()
            assert [renewal.result(PATIENCE_S) for renewal in renewals] == [found] * 8
        assert len(login.xo_auth.asked) == 1


def test_whoever_uses_the_token_is_told_of_each_change(logged_in):
    login = logged_in(GRANT)
    login.consume("s", "p")
    login.logout()
    assert login.changes == ["xo-token-0001", None]


def test_the_login_at_start_gives_way_to_another_process_too(make, store, lines):
    login = make(GRANT, env_auth_session_id="env-s", env_poll_token="env-p")
    theirs = XoToken("xo-token-0009", None, None, None, None)
    login.xo_auth.meanwhile = lambda: store.put_token(theirs)
    login.login_at_start()
    assert store.token() == theirs
    assert lines == []
