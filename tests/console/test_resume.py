"""An answer in the console survives what happens to the page, the network and the server."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients.proxy import cutting
from tests.console.browser import Page
from tests.console.test_chat import chat
from tests.e2e.approving import bash
from tests.e2e.environment import Stage, kill
from tests.serving import Gunicorn

pytestmark = pytest.mark.e2e
Opened = Callable[..., Page]
WORDS = 150
ASKED = f"[[delay 25]] [[words {WORDS}]]"
ANSWER = " ".join(f"word{n}" for n in range(1, WORDS + 1))
BEGUN = "document.querySelector('.turn .prose')?.textContent.includes('word5 ')"


def count_asked(stage: Stage, project: str) -> int:
    """How many questions the project's session has taken."""
    message = stage.server.ask("[[count]]", project).json()["message"]
    return int(message.split()[2]) - 1


def test_a_reload_in_mid_answer_goes_on_at_the_word(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "reloaded"))
    page.wait(".empty")
    page.ask(ASKED)
    page.fill("#question", "a draft")
    page.wait_until(BEGUN)
    page.call("reload")
    page.wait(".now")
    page.wait_until(BEGUN)
    assert page.evaluate("document.getElementById('question').value") == "a draft"
    page.answered()
    assert page.answer() == ANSWER
    assert page.text(".question-text") == ASKED
    assert page.count(".turn") == 1
    assert count_asked(stage, "reloaded") == 1


def test_a_network_that_cuts_streams_loses_no_word_and_brings_none_twice(
    stage: Stage, opened: Opened
) -> None:
    with cutting(stage.server.port, 1500, 2500, 10) as cut:
        page = opened(f"{cut.url}/#/chat/cut")
        page.wait(".empty")
        page.ask(ASKED)
        page.answered()
        assert page.answer() == ANSWER
        assert cut.streams >= 4
        assert count_asked(stage, "cut") == 1
        page.forget()


def test_without_a_network_a_banner_says_so_and_it_is_seen_when_it_is_back(
    stage: Stage, opened: Opened
) -> None:
    with cutting(stage.server.port) as cut:
        page = opened(f"{cut.url}/#/chat/off")
        page.wait(".empty")
        page.ask("[[delay 25]] [[words 250]]")
        page.wait_until(BEGUN)
        cut.go_down()
        page.wait(".banner:not([hidden])", timeout=20_000)
        assert "cannot be reached" in page.text(".banner")
        page.fill("#question", "typed meanwhile")
        cut.is_down = False
        page.answered()
        page.wait(".banner", state="hidden")
        assert page.answer().endswith(" word250")
        page.forget()


def durable(staged: Callable[..., Stage], folder: Path, **settings: str) -> Stage:
    store = f"sqlite:///{folder}/state.db"
    return staged(COWORK_APPROVALS="optional", COWORK_STORE=store, **settings)


def restart(stage: Stage) -> Gunicorn:
    """Kill the server, and start another on the same port and store."""
    workers = stage.server.workers()
    kill(stage.server.master)  # first, or it would start a worker in the place of one that is gone
    stage.server.child.wait()
    for worker in workers:
        with suppress(ProcessLookupError):
            kill(worker)
    return Gunicorn(stage.server.environ, log=stage.folder / "again.log")


def test_a_server_that_is_reloaded_in_mid_answer_is_not_noticed(
    staged: Callable[..., Stage], opened: Opened, tmp_path: Path
) -> None:
    stage = durable(staged, tmp_path)
    page = opened(chat(stage, "reloaded server"))
    page.wait(".empty")
    page.ask(ASKED)
    page.wait_until(BEGUN)
    stage.server.send_signal(signal.SIGHUP)
    page.answered()
    assert page.answer() == ANSWER
    assert page.count(".bad-card") == 0


def test_a_server_that_dies_in_mid_answer_leaves_the_words_and_says_what_helps(
    staged: Callable[..., Stage], opened: Opened, tmp_path: Path
) -> None:
    stage = durable(staged, tmp_path)
    page = opened(chat(stage, "killed"))
    page.wait(".empty")
    page.ask("[[delay 40]] [[words 400]]")
    page.wait_until("document.querySelector('.turn .prose')?.textContent.includes('word40 ')")
    server = restart(stage)
    try:
        page.wait(".bad-card")
        assert "restarted in mid-answer" in page.text(".bad-card")
        said = page.answer().split()
        assert said == [f"word{n}" for n in range(1, len(said) + 1)]
        assert len(said) >= 40
        page.click(".bad-card >> text=Ask again")
        page.wait_until("document.querySelectorAll('.turn').length === 2")
        page.wait_until("document.querySelector('.turn:last-child .prose')?.textContent.length > 9")
        page.click(".stop")
        page.wait(".turn:last-child .foot:not([hidden])")
    finally:
        server.close()


def test_what_waits_is_allowed_after_the_server_died_and_came_back(
    staged: Callable[..., Stage], opened: Opened, tmp_path: Path
) -> None:
    stage = durable(staged, tmp_path)
    page = opened(chat(stage, "outlived"))
    page.wait(".empty")
    page.ask(bash("touch outlived.txt"))
    page.wait(".dock:not([hidden])")
    server = restart(stage)
    try:
        page.call("reload")
        page.wait(".dock:not([hidden])")
        page.click(".dock [data-primary]")
        page.answered()
        assert (stage.workspace / "outlived.txt").exists()
    finally:
        server.close()


def words_of(page: Page) -> list[str]:
    return page.answer().split()


def test_a_cut_that_is_over_at_once_shows_no_banner(stage: Stage, opened: Opened) -> None:
    with cutting(stage.server.port) as cut:
        page = opened(f"{cut.url}/#/chat/blink")
        page.wait(".empty")
        page.evaluate(
            "window.banners = 0; new MutationObserver(() => {"
            " window.banners += document.querySelector('.banner').hidden ? 0 : 1; })"
            ".observe(document.querySelector('.banner'), {attributes: true})"
        )
        page.ask(ASKED)
        page.wait_until(BEGUN)
        cut.go_down()
        cut.is_down = False
        page.answered()
        assert words_of(page) == ANSWER.split()
        assert page.evaluate("window.banners") == 0
        assert cut.streams >= 2
        assert count_asked(stage, "blink") == 1
        page.forget()


def test_a_browser_that_goes_offline_in_mid_answer_goes_on_at_the_word(
    stage: Stage, opened: Opened
) -> None:
    with cutting(stage.server.port) as cut:
        page = opened(f"{cut.url}/#/chat/offline")
        page.wait(".empty")
        page.ask("[[delay 25]] [[words 250]]")
        page.wait_until(BEGUN)
        page.call("offline", True)
        cut.go_down()  # what is open already is not cut by Chromium
        cut.is_down = False
        page.wait(".banner:not([hidden])", timeout=20_000)
        page.call("offline", False)
        page.answered()
        page.wait(".banner", state="hidden")
        assert words_of(page) == [f"word{n}" for n in range(1, 251)]
        assert count_asked(stage, "offline") == 1
        page.forget()


def seen(page: Page, state: str) -> None:
    """Play that the tab is hidden, or looked at again."""
    page.evaluate(
        "for (const [name, value] of Object.entries({visibilityState: "
        f"'{state}', hidden: {str(state == 'hidden').lower()}}}))"
        " Object.defineProperty(document, name, {value, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange')); null"
    )


def test_a_hidden_tab_tells_of_what_waits_and_shows_all_when_it_comes_back(
    stage: Stage, opened: Opened
) -> None:
    page = opened(chat(stage, "hidden"))
    page.wait(".empty")
    page.ask(ASKED)
    page.wait_until(BEGUN)
    seen(page, "hidden")
    drawn = len(words_of(page))
    page.wait_until("!document.querySelector('.turn .foot').hidden")
    seen(page, "visible")
    page.wait_until("document.querySelector('.turn .prose').textContent.includes('word150')")
    assert drawn < WORDS
    assert words_of(page) == ANSWER.split()


def test_a_page_that_slept_in_mid_answer_has_all_of_it_when_it_wakes(
    stage: Stage, opened: Opened
) -> None:
    page = opened(chat(stage, "asleep"))
    page.wait(".empty")
    page.ask(ASKED)
    page.wait_until(BEGUN)
    page.call("freeze", True)
    page.sleep(1500)
    page.call("freeze", False)
    page.answered()
    assert words_of(page) == ANSWER.split()
    assert count_asked(stage, "asleep") == 1


def test_the_place_one_reads_at_and_what_is_open_outlive_a_reload(
    stage: Stage, opened: Opened
) -> None:
    page = opened(chat(stage, "place"))
    page.wait(".empty")
    page.ask(bash("echo one"))  # runs by itself
    page.answered(1)
    page.ask("[[delay 0]] [[words 4000]]")
    page.answered(2)
    page.click(".turn:first-child .tool-head")
    page.evaluate(
        "document.querySelectorAll('.turn:last-child .section > *')[2].scrollIntoView(); null"
    )
    page.wait_until("document.querySelector('.stream').scrollTop > 500")
    at = (
        "document.querySelectorAll('.turn:last-child .section > *')[2]"
        "?.getBoundingClientRect().top ?? null"
    )
    page.sleep(100)
    before = page.evaluate(at)
    page.call("reload")
    page.wait_until(f"Math.abs(({at}) - {before}) < 3")
    assert not page.evaluate("document.querySelector('.turn:first-child .tool-body').hidden")
    assert page.count(".pill:not([hidden])") == 0


def test_the_end_is_followed_by_whoever_is_there_and_by_nobody_else(
    stage: Stage, opened: Opened
) -> None:
    page = opened(chat(stage, "following"))
    page.wait(".empty")
    page.ask("[[delay 4]] [[words 1500]]")
    left = (
        "(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight)"
        "(document.querySelector('.stream'))"
    )
    page.wait_until("document.querySelector('.stream').scrollTop > 200")
    assert page.evaluate(left) < 100
    # Up by less than a line's height counts, too.
    page.evaluate("document.querySelector('.stream').scrollTop -= 15; null")
    page.wait(".pill:not([hidden])")
    top = page.evaluate("document.querySelector('.stream').scrollTop")
    page.sleep(300)
    assert page.evaluate("document.querySelector('.stream').scrollTop") == top
    page.click(".pill")
    page.answered()
    assert page.evaluate(left) < 2
    assert page.count(".pill:not([hidden])") == 0
