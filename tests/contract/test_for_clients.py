"""What a client reads to show a project that others ask, too: last page, running turn, last words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cowork.turns.last_words import LAST_WORDS_LIMIT
from cowork.turns.question import SHOWN_LIMIT
from tests.background import BackgroundCalls
from tests.fakes import Fakes
from tests.serving import Client, Served, wait_for

KEYS = {name: f"{name}-{'k' * 32}" for name in ("ann", "bob")}


@pytest.fixture(params=["memory", "sqlite"])
def kept_in(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings of a server with a volatile store, and with a durable one."""
    durable = {
        "COWORK_STORE": f"sqlite:///{tmp_path}/state/c.db",
        "COWORK_STORE_KEY_FILE": str(tmp_path / "store.key"),
    }
    return durable if request.param == "sqlite" else {}


def test_the_last_page_of_messages_comes_without_a_cursor(served: Served) -> None:
    for word in ("one", "two", "three"):
        served.ask(f"[[say {word}]]")
    path = "/sessions/p/messages"
    page = served.get(path, params={"last": "true", "limit": 3}).json()
    said = [each["parts"][0]["text"] for each in page["messages"]]
    assert said == ["two", "[[say three]]", "three"]
    before = served.get(path, params={"before": page["next"], "limit": 3}).json()
    assert [each["parts"][0]["text"] for each in before["messages"]][-1] == "[[say two]]"
    assert before["next"] is None
    whole = served.get(path, params={"last": "true"}).json()
    assert (whole["messages"], whole["next"]) == (served.get(path).json()["messages"], None)
    both = {"last": "true", "before": page["next"], "limit": 3}
    assert served.get(path, params=both).json() == before
    wrong = {"last": "true", "after": page["next"]}
    assert served.get(path, params=wrong).json()["detail"][0]["loc"] == ["query", "after"]


def test_a_session_names_the_turn_that_runs_and_a_turn_its_question_until_its_end(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls, kept_in: dict[str, str]
) -> None:
    served = serve(**fakes.settings(), **kept_in)
    served.ask("[[say one]]")
    assert served.get("/sessions/p").json()["running_turn_id"] is None
    question = f"[[words 500]] [[delay 20]] {'x' * SHOWN_LIMIT}"
    running = background(lambda: served.ask(question))
    fakes.wait_asked(2)
    turn = served.get("/sessions/p").json()["running_turn_id"]
    (listed,) = served.get("/sessions", params={"details": "true"}).json()["sessions"]
    assert listed["running_turn_id"] == turn
    told = served.get(f"/turns/{turn}").json()
    assert (told["state"], told["question_truncated"]) == ("running", True)
    assert told["question"] == question[:SHOWN_LIMIT]
    waiting = background(lambda: served.ask("[[say two]]"))
    wait_for(lambda: served.get("/sessions/p").json()["queued"] == 1, what="a queued question")
    (queued, *_) = served.get("/sessions/p/turns", params={"state": "queued"}).json()["turns"]
    told = served.get(f"/turns/{queued['turn_id']}").json()
    assert (told["question"], told["question_truncated"]) == ("[[say two]]", False)
    served.post("/sessions/p/interrupt")
    assert running.result().status_code == 409
    assert waiting.result().status_code == 200
    for ended in (turn, queued["turn_id"]):
        assert "question" not in served.get(f"/turns/{ended}").json()
    assert served.get("/sessions/p").json()["running_turn_id"] is None


def test_t10_only_its_owner_is_told_what_a_turn_is_asked(
    serve: Callable[..., Served],
    another: Callable[..., Client],
    fakes: Fakes,
    background: BackgroundCalls,
) -> None:
    keys = ",".join(f"{name}={key}" for name, key in KEYS.items())
    served = serve(**fakes.settings(), COWORK_API_KEYS=keys)
    ann, bob = (another(served, key) for key in KEYS.values())
    running = background(lambda: ann.ask("[[words 300]] [[delay 20]] secret"))
    fakes.wait_asked(1)
    (turn,) = ann.get("/sessions/p/turns").json()["turns"]
    assert "secret" in ann.get(f"/turns/{turn['turn_id']}").json()["question"]
    assert bob.get(f"/turns/{turn['turn_id']}").status_code == 404
    ann.post("/sessions/p/interrupt")
    assert running.result().status_code == 409


def test_the_last_words_are_the_last_answers_last_paragraph_and_bounded(
    serve: Callable[..., Served], kept_in: dict[str, str]
) -> None:
    served = serve(**kept_in)
    served.ask("[[say first part\n\nthe last\npart\n\n---]]")
    (listed,) = served.get("/sessions", params={"details": "true"}).json()["sessions"]
    assert listed["last_words"] == "the last part"
    served.ask("[[fail 500]]")
    assert served.get("/sessions/p").json()["last_words"] == "the last part"
    served.ask(f"[[say {'long ' * 100}]]")
    told = served.get("/sessions/p").json()["last_words"]
    assert (len(told), told[-1]) == (LAST_WORDS_LIMIT, "…")
    made = served.post("/sessions/p/fork", {"to": "other"}).json()
    assert made["last_words"] == told
    served.delete("/sessions/p")
    served.ask("[[fail 500]]")
    assert served.get("/sessions/p").json().get("last_words") is None


def test_messages_say_why_a_turn_failed(
    serve: Callable[..., Served], kept_in: dict[str, str]
) -> None:
    served = serve(**kept_in)
    served.ask("[[say one]]")
    failed = served.ask("[[fail 529]]")
    turn = failed.headers["X-Turn-ID"]
    served.ask("[[say three]]")
    told = served.get("/sessions/p/messages").json()["messages"]
    with_errors = [each for each in told if "error" in each]
    assert [each["turn_id"] for each in with_errors] == [turn]
    assert with_errors[0]["error"]["code"] == failed.json()["detail"]["code"]
    assert with_errors[0]["error"]["error"] == failed.json()["detail"]["error"]


def test_health_says_what_the_operator_has_set(serve: Callable[..., Served]) -> None:
    assert serve().get("/health").json()["features"] == {
        "approvals": "off",
        "checkpoints": False,
        "demo": False,
    }
    served = serve(COWORK_APPROVALS="optional", COWORK_CHECKPOINTS="true", COWORK_DEMO="true")
    assert served.get("/health").json()["features"] == {
        "approvals": "optional",
        "checkpoints": True,
        "demo": True,
    }
