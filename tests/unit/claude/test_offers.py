"""What the CLI offers: asked once and kept, and one failure heard by all who waited for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cowork.claude.offers import Offer, Offers, offer_of
from cowork.errors import ClaudeUnavailable
from tests.serving import wait_for

SAID = {
    "models": [
        {"value": "default", "resolvedModel": "claude-sonnet-4-6", "displayName": "Default"},
        {
            "value": "opus",
            "resolvedModel": "claude-opus-4-7",
            "displayName": "Opus",
            "supportsEffort": True,
            "supportedEffortLevels": ["high", "low", "unheard-of"],
        },
        "no object",
        {"displayName": "nothing to name it by"},
    ],
    "commands": [{"name": "greet", "description": "greets"}, None],
}


def test_what_the_cli_says_is_read():
    offer = offer_of(SAID, ("greet", "other"), "")
    assert [each.id for each in offer.models] == ["default", "opus"]
    assert [(each.name, each.description) for each in offer.skills] == [
        ("greet", "greets"),
        ("other", ""),
    ]
    assert offer.default_model == "claude-sonnet-4-6"


def test_an_effort_that_nobody_knows_is_not_offered():
    model = offer_of(SAID, (), "").find("claude-opus-4-7")
    assert model is not None
    assert model.id == "opus"
    assert set(model.efforts) == {"low", "high"}


def test_it_is_asked_once_and_again_after_forget():
    asked: list[int] = []

    def ask() -> Offer:
        asked.append(1)
        return offer_of(SAID, (), "")

    offers = Offers(ask, {})
    assert offers.get() is offers.get()
    assert len(asked) == 1
    offers.forget()
    offers.get()
    assert len(asked) == 2


def test_who_waited_while_another_asked_in_vain_hears_the_same():
    asked: list[int] = []
    waiting = threading.Semaphore(0)
    go = threading.Event()

    def ask() -> Offer:
        asked.append(1)
        waiting.release()
        go.wait(10)
        raise ClaudeUnavailable("gone")

    offers = Offers(ask, {})
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(offers.get)
        assert waiting.acquire(timeout=10)
        begun = threading.Barrier(5)

        def late() -> Offer:
            begun.wait(10)
            return offers.get()

        others = [pool.submit(late) for _ in range(4)]
        begun.wait(10)
        wait_for(lambda: all(each.running() for each in others), what="all to wait")
        time.sleep(0.5)  # for the step from the barrier to the lock
        go.set()
        for each in (first, *others):
            with pytest.raises(ClaudeUnavailable):
                each.result(10)
    assert len(asked) == 1
    with pytest.raises(ClaudeUnavailable):
        offers.get()
    assert len(asked) == 2
