"""Something is said to a turn by its owner alone, and changes nothing but what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.serving import Client, Served, wait_for

KEYS = {name: f"{name}-{'k' * 32}" for name in ("ann", "bob")}


@pytest.fixture
def served(serve: Callable[..., Served], fakes: Fakes) -> Served:
    keys = ",".join(f"{name}={key}" for name, key in KEYS.items())
    return serve(
        COWORK_API_KEYS=keys,
        COWORK_APPROVALS="optional",
        COWORK_APPROVAL_KEYS="bob",
        **fakes.settings(),
    )


@pytest.fixture
def ann(served: Served, another: Callable[..., Client]) -> Client:
    return another(served, KEYS["ann"])


@pytest.fixture
def turn(ann: Client, fakes: Fakes) -> Iterator[str]:
    """A turn of Ann's that runs."""
    with ann.stream("[[stall]] mine", "p") as reply:
        found = reply.headers["X-Turn-ID"]
    fakes.wait_asked()
    yield found
    ann.post(f"/turns/{found}/interrupt")


def test_t27_anothers_turn_is_not_there(
    served: Served, another: Callable[..., Client], ann: Client, turn: str, fakes: Fakes
) -> None:
    # Bob may answer everybody's approvals, which lets him say nothing.
    bob = another(served, KEYS["bob"])
    problem(bob.post(f"/turns/{turn}/steer", {"text": "mine"}), 404, "turn_not_found")
    problem(
        bob.post(f"/turns/{turn}/steer", {"text": "x"}, headers={"Idempotency-Key": "k"}),
        404,
        "turn_not_found",
    )
    # A project of the same name is another one.
    reply = bob.ask("[[say bob's]]", "p", on_busy="steer").json()
    assert reply["message"] == "bob's"
    assert "steered" not in reply
    assert "steers" not in ann.get(f"/turns/{turn}").json()
    assert fakes.asked == ["[[stall]] mine", "[[say bob's]]"]


def test_t27_a_ticket_says_nothing(
    served: Served, another: Callable[..., Client], ann: Client, turn: str
) -> None:
    ticket = ann.post(f"/turns/{turn}/ticket").json()["ticket"]
    stranger = another(served)
    for path in (f"/turns/{turn}/steer?ticket={ticket}", f"/turns/{turn}/steer"):
        problem(stranger.post(path, {"text": "x"}), 401, "unauthorized")
    assert "steers" not in ann.get(f"/turns/{turn}").json()


def test_t27_no_page_of_another_site_says_anything(ann: Client, turn: str) -> None:
    for headers in ({"Origin": "https://page.example"}, {"Sec-Fetch-Site": "cross-site"}):
        reply = ann.post(f"/turns/{turn}/steer", {"text": "x"}, headers=headers)
        problem(reply, 403, "forbidden")
    plain = ann.http.post(
        f"{ann.url}/turns/{turn}/steer", data="text=x", headers={"Content-Type": "text/plain"}
    )
    problem(plain, 415, "unsupported_media_type")
    assert "steers" not in ann.get(f"/turns/{turn}").json()


@pytest.mark.parametrize("text", ["/config model=haiku", "  /greet x", "@/etc/hostname"])
def test_t27_a_text_is_neither_command_nor_option(
    ann: Client, turn: str, fakes: Fakes, text: str
) -> None:
    assert ann.post(f"/turns/{turn}/steer", {"text": text}).status_code == 202
    wait_for(lambda: len(fakes.asked) == 2, what="the text")
    assert fakes.asked[1] == (f" {text}" if text.startswith("/") else text)
    assert not any(
        text in argument for entry in fakes.entries("start") for argument in entry["argv"]
    )
