"""The console's views beside the chat: side panel, plan, list, links, health; on the real CLI."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.console.browser import DESKTOP, PHONE, Page
from tests.console.test_access import faults_in_all_modes
from tests.console.test_chat import chat
from tests.e2e.environment import Stage, open_stage
from tests.serving import wait_for
from tests.upstream import ADD_MESSAGE, Upstream, fails, ok

pytestmark = pytest.mark.e2e
Opened = Callable[..., Page]
KEY = "k" * 40
WIDE = {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as started:
        yield started


@pytest.fixture(scope="module")
def stage(
    real_claude: str, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A demo with keys and a Chat API."""
    settings = {"COWORK_APPROVALS": "optional", "COWORK_DEMO": "true"}
    with open_stage(
        tmp_path_factory.mktemp("stage"),
        real_claude,
        COWORK_API_KEYS=f"ann={KEY}",
        CHAT_API_BASE_URL=upstream.url,
        COWORK_SPARE_PROCESSES="1",
        **settings,
    ) as opened:
        yield opened


@pytest.fixture
def page(stage: Stage, opened: Opened) -> Page:
    """A wide page that has its key, at a project of its own."""
    page = opened(chat(stage, "views"), viewport=WIDE)
    page.wait("dialog[open]")
    page.fill("#ask-key", KEY)
    page.press("Enter")
    page.wait(".stream .empty, .stream .turn")
    page.wait(".trick")
    return page


def go(page: Page, address: str) -> None:
    page.evaluate(f"location.hash = '#/{address}'")


def allow(page: Page) -> None:
    page.wait(".dock:not([hidden])")
    page.click(".dock [data-primary]")


def test_the_side_panel_tells_what_was_changed_and_what_is_to_be_done(
    stage: Stage, page: Page
) -> None:
    page.ask("write a file")
    page.wait(".dock:not([hidden])")
    page.wait_until("document.title.startsWith('● ')")
    assert "icon-waiting" in page.evaluate("document.querySelector('link[rel=icon]').href")
    allow(page)
    page.answered(1)
    page.wait_until("!document.title.startsWith('●')")
    page.ask("change the file")
    page.wait(".dock .diff-row.add .changed")
    changed = page.evaluate(
        "[...document.querySelectorAll('.dock .diff-row .changed')].map((each) => each.textContent)"
    )
    assert "a friendly" in changed
    page.call("setViewportSize", PHONE)
    # A line of code has the width that there is: it was one letter wide.
    assert page.evaluate("document.querySelector('.dock .diff-row .text').clientWidth") > 200
    page.call("setViewportSize", WIDE)
    allow(page)
    page.answered(2)
    assert (stage.workspace / "greeting.py").read_text().count("friendly") == 1
    page.wait_until("document.querySelector('.side-file .stat')?.textContent === '+9 \\u22122'")
    page.click(".side-file")
    assert page.count(".side-diff .diff") == 2
    page.ask("work through a list")
    page.wait_until("document.querySelector('.todos')?.textContent.includes('2 of 4 · Try it out')")
    page.click(".todos summary")
    page.answered(3)
    page.wait_until("document.querySelector('#side-todos')?.textContent.includes('2 of 4')")
    page.wait(".side-processes li")
    faults = faults_in_all_modes(page, "side closed")
    page.call("setViewportSize", PHONE)
    page.click(".side-button")
    page.wait(".side-panel")
    assert page.evaluate("document.activeElement.ariaLabel") == "Close the side panel"
    page.press("Escape")
    page.wait(".side-panel", state="hidden")
    assert page.evaluate("document.activeElement.matches('.side-button')")
    page.call("setViewportSize", DESKTOP)
    page.click(".side-button")
    faults += faults_in_all_modes(page, "side over")
    assert faults == []


def test_a_plan_is_sent_back_with_words_and_carried_out(stage: Stage, page: Page) -> None:
    go(page, "chat/plans")
    page.wait(".empty")
    page.ask("make a plan")
    page.wait(".dock .plan")
    assert "A friendlier greeting" in page.text(".dock .plan")
    faults = faults_in_all_modes(page, "plan")
    page.click(".dock-bar >> text=Keep planning")
    page.fill(".dock-bar input", "Say more of the tests.")
    page.press("Enter")
    page.answered(1)
    assert "not allowed" in page.text(".tool.denied .fault")
    page.ask("make a plan")
    allow(page)
    page.answered(2)
    resolved = stage.server.get(
        "/approvals?state=resolved", headers={"Authorization": f"Bearer {KEY}"}
    ).json()["approvals"]
    assert [each["decision"] for each in resolved if each["kind"] == "plan"] == ["allow", "deny"]
    page.ask("ask a sub-agent")
    page.answered(3)
    assert page.evaluate("getComputedStyle(document.querySelector('.nested')).display") == "none"
    page.click(".turn:last-child .tool-head")
    page.wait(".turn:last-child .nested .tool")
    assert "1 tool" in page.text(".turn:last-child .tool-head")
    assert faults == []


def test_a_failed_turn_shows_its_error_after_a_reload_and_keys_move_among_turns(
    page: Page,
) -> None:
    go(page, "chat/errors")
    page.wait(".empty")
    page.ask("[[say first]]")
    page.answered(1)
    page.ask("[[status 400]]")
    page.wait(".turn .bad-card")
    page.call("reload")
    page.wait(".turn .bad-card")
    assert page.count(".turn") == 2
    page.evaluate("document.activeElement.blur()")
    page.press("k")
    page.press("k")
    assert "first" in page.evaluate("document.activeElement.ariaLabel")
    page.press("Enter")
    page.wait(".menu")
    page.press("Escape")
    page.press("j")
    assert "status" in page.evaluate("document.activeElement.ariaLabel")
    page.press("Control+k")
    page.wait(".goto[open]")
    page.call("keyboard.type", "err")
    assert page.text(".goto [aria-selected=true] .goto-name") == "errors"
    found = faults_in_all_modes(page, "go to")
    page.press("Escape")
    page.wait(".goto", state="detached")
    go(page, "sessions")
    page.wait("tbody tr")
    page.evaluate("document.activeElement.blur()")
    page.press("j")
    page.press("Enter")
    page.wait_until("location.hash.startsWith('#/chat/')")
    assert found == []


def test_a_link_that_leads_nowhere_says_so(page: Page) -> None:
    go(page, "chat/unknown/no-such-turn")
    page.wait(".lost-link")
    assert "no-such-turn of unknown" in page.text(".lost-link")
    faults = faults_in_all_modes(page, "lost link")
    go(page, "nonsense")
    page.wait(".page .lost-link")
    assert "#/nonsense" in page.text(".lost-link")
    faults += faults_in_all_modes(page, "no such page")
    page.click(".lost-link >> text=Sessions")
    page.wait_until("location.hash === '#/sessions'")
    assert faults == []


def test_what_was_refused_is_tried_again_and_the_login_waits_until_it_is_done(
    upstream: Upstream, page: Page
) -> None:
    upstream.on(ADD_MESSAGE, fails(422))
    go(page, "chat/refused")
    page.wait(".empty")
    page.ask("[[say refused]]")
    page.answered(1)
    go(page, "health")
    page.wait_until("document.querySelectorAll('.letters tbody tr').length >= 2")
    assert "the Chat API refused the message with 422" in page.text(".letters")
    status = "/auth/browser/status/session-1"
    upstream.on(status, ok({"status": "pending"}))
    page.click("text=/^Log in$/")
    page.wait(".now-line")
    assert page.evaluate("document.activeElement.href") == "https://xo.example/authorize?s=1"
    faults = faults_in_all_modes(page, "login")
    page.click(".row >> text=Cancel")
    page.click("text=/^Log in$/")
    page.wait(".now-line")
    upstream.on(status, ok({"status": "authorized"}))
    page.wait_until("document.querySelector('.page').textContent.includes('Logged in as user-1')")
    upstream.on(ADD_MESSAGE, ok({"success": True}))
    before = len(upstream.messages)
    page.click("text=Try the refused ones again")
    wait_for(lambda: len(upstream.messages) > before, what="the messages that were refused")
    page.wait(".letters", state="detached")
    assert faults == []


def test_the_first_click_on_an_example_is_answered_by_the_spare(stage: Stage, page: Page) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}

    def processes() -> list[dict[str, object]]:
        found: list[dict[str, object]] = stage.server.get("/processes", headers=headers).json()[
            "processes"
        ]
        return found

    wait_for(lambda: any(each["state"] == "spare" for each in processes()), what="a spare")
    (spare,) = [each["pid"] for each in processes() if each["state"] == "spare"]
    go(page, "chat/example")
    page.click(".example >> text=Work something out")
    page.answered(1)
    assert page.answer() == "12 * (3 + 4) = 84"
    (taken,) = [each["pid"] for each in processes() if each["project"] == "example"]
    assert taken == spare
