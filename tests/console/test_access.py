"""The console for everybody: axe finds nothing serious, the keyboard does everything, phones too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.node import MODULES
from tests.console.browser import DESKTOP, PHONE, Page
from tests.console.test_chat import chat
from tests.e2e.approving import bash
from tests.e2e.environment import Stage

pytestmark = pytest.mark.e2e
Opened = Callable[..., Page]
MARKDOWN = (
    "# Title\n\nA [link](https://example.org), `code`, **bold**.\n\n1. one\n2. two\n\n"
    "```python\nprint('a rather long line, so that it goes on beyond the edge of a phone')\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted"
)
# 12 px of `inline` links in a sentence are no targets of their own.
SMALL = """
[...document.querySelectorAll("button, input, select, textarea, .rail a, summary")]
  .filter((each) => each.checkVisibility({visibilityProperty: true}) && !each.closest(".prose"))
  .filter((each) => !["radio", "checkbox"].includes(each.type))
  .map((each) => [each.getBoundingClientRect(), each.textContent || each.ariaLabel || each.id])
  .filter(([box]) => box.width && (box.height < 44 || box.width < 44))
  .map(([box, name]) => `${name}: ${box.width} x ${box.height}`)
"""


def axe(page: Page) -> list[dict[str, Any]]:
    """What axe calls serious or critical of the page as it stands."""
    page.evaluate((MODULES / "axe-core" / "axe.min.js").read_text() + "; null")
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations"
        ".filter((each) => ['serious', 'critical'].includes(each.impact)).map((each) =>"
        " ({id: each.id, where: each.nodes.map((node) => [node.html, node.any[0]?.message])})))"
    )
    return list(found)


def faults_in_all_modes(page: Page, shown: str) -> list[Any]:
    """What axe finds, what is wider than the page, and on a phone what is too small for a thumb."""
    found: list[Any] = []
    for size in (DESKTOP, PHONE):
        page.call("setViewportSize", size)
        for scheme in ("light", "dark"):
            page.call("emulateMedia", {"colorScheme": scheme})
            page.sleep(150)
            name = f"{shown} {size['width']} {scheme}"
            page.shot(name)
            found += [(name, each) for each in axe(page)]
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            found.append(f"{shown} is wider than {size['width']}")
    found += page.evaluate(SMALL)
    page.call("setViewportSize", DESKTOP)
    return found


def test_axe_finds_nothing_serious_in_light_and_dark_on_desktop_and_phone(
    stage: Stage, opened: Opened
) -> None:
    page = opened(f"{stage.server.url}/#/demo")
    page.wait(".trick")
    page.wait(".empty")
    faults = faults_in_all_modes(page, "empty")
    page.ask(f"[[think 5]] [[say {MARKDOWN}]]")
    page.answered(1)
    page.ask(bash("touch x"))
    page.wait(".dock:not([hidden])")
    faults += faults_in_all_modes(page, "approval")
    page.click(".dock-bar >> text=Deny")
    page.click(".dock-bar .danger")
    page.answered(2)
    page.ask("[[status 400]]")
    page.answered(3)
    page.click(".options-button")
    page.wait("#option-model-says")
    faults += faults_in_all_modes(page, "error and options")
    for view in ("sessions", "processes", "health"):
        page.evaluate(f"location.hash = '#/{view}'")
        page.wait(".page tbody tr, .page .tile, .page .part")
        faults += faults_in_all_modes(page, view)
    assert faults == []


def focused(page: Page) -> str:
    return str(
        page.evaluate(
            "(document.activeElement.ariaLabel ?? '') + document.activeElement.textContent"
        )
    )


def test_the_keyboard_alone_does_everything(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "keys"))
    page.wait(".empty")
    page.call("keyboard.type", "[[say by keys]]")
    page.press("Enter")
    page.answered(1)
    page.press("ArrowUp")
    assert page.evaluate("document.getElementById('question').value") == "[[say by keys]]"
    page.fill("#question", "")
    page.evaluate("document.activeElement.blur()")
    page.press("n")
    page.wait("dialog[open]")
    page.call("keyboard.type", "other keys")
    page.press("Enter")
    page.wait_until("location.hash.startsWith('#/chat/other')")
    page.wait(".empty")
    page.evaluate("document.activeElement.blur()")
    page.press("/")
    page.call("keyboard.type", "keys")
    page.press("Tab")
    page.press("Tab")
    page.press("j")
    page.press("Enter")
    page.wait_until("location.hash.startsWith('#/chat/keys')")
    page.press("Control+k")
    page.wait("dialog[open]")
    page.call("keyboard.type", "other")
    page.press("Enter")
    page.wait_until("location.hash.startsWith('#/chat/other')")
    page.evaluate("document.activeElement.blur()")
    page.press("?")
    page.wait("dialog[open] .keys")
    page.press("Escape")
    page.wait("dialog", state="detached")
    page.evaluate("location.hash = '#/chat/keys'")
    page.wait(".turn .foot")
    # Every stop of the Tab key can be seen.
    page.evaluate("document.activeElement.blur()")
    stops = []
    for _ in range(30):
        page.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue  # the browser's own controls
        stops.append(focused(page))
        assert page.evaluate(
            "(({outlineStyle, boxShadow}, around) => outlineStyle !== 'none' || boxShadow !== 'none'"
            " || around !== 'none')(getComputedStyle(document.activeElement),"
            " getComputedStyle(document.activeElement.closest('.composer-box') ?? document.body)"
            ".boxShadow)"
        ), stops[-1]
    assert any("More about this turn" in each for each in stops)
    assert any("Attach files" in each for each in stops)
