"""Chromium, driven from here: a page is opened, clicked, typed into and looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from tests.clients.node import MODULES, require_node
from tests.conftest import missing
from tests.patience import PATIENCE_S

HERE = Path(__file__).resolve().parent
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
# The CLI starts within it, also beside others.
WAIT_MS = 45_000


def require_browser() -> tuple[str, str]:
    """The paths of node and Chromium; skips, or fails in CI, where one is missing."""
    node, binary = require_node(), shutil.which("chromium")
    if binary is None:
        missing("chromium", "apt-get install chromium")
    return node, str(binary)


class Page:
    """A tab; methods are Playwright's, by name."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser = browser
        self.name = name
        self.is_closed = False

    def call(self, method: str, *given: Any) -> Any:
        return self._browser.send({"page": self.name, "call": method, "given": given})

    def goto(self, url: str) -> None:
        self.call("goto", url)

    def click(self, selector: str) -> None:
        self.call("click", selector)

    def fill(self, selector: str, text: str) -> None:
        self.call("fill", selector, text)

    def press(self, key: str) -> None:
        self.call("keyboard.press", key)

    def wait(self, selector: str, *, state: str = "visible", timeout: float = WAIT_MS) -> None:
        self.call("waitForSelector", selector, {"state": state, "timeout": timeout})

    def wait_until(self, expression: str, timeout: float = WAIT_MS) -> None:
        self.call("until", expression, timeout)

    def sleep(self, ms: float) -> None:
        self.call("waitForTimeout", ms)

    def evaluate(self, expression: str) -> Any:
        return self.call("evaluate", expression)

    def text(self, selector: str) -> str:
        return str(self.call("textContent", selector))

    def count(self, selector: str) -> int:
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def problems(self) -> list[str]:
        """What the page complained of, but for what the network and the server did to it."""
        found: list[str] = self.call("problems")
        return [each for each in found if not each.startswith("Failed to load resource")]

    # What the tests do over and over again.

    def ask(self, question: str) -> None:
        self.fill("#question", question)
        self.press("Enter")

    def answered(self, number: int = 1) -> None:
        """Wait until so many turns have ended."""
        self.wait_until(
            f"document.querySelectorAll('.turn .foot:not([hidden])').length >= {number}"
        )

    def answer(self) -> str:
        """The text of the last turn's answer."""
        return str(
            self.evaluate(
                "[...document.querySelectorAll('.turn:last-child .blocks > .prose')]"
                ".map((each) => each.textContent.trim()).join('\\n')"
            )
        )

    def shot(self, name: str) -> None:
        """A picture, where `SCREENSHOTS` names a folder."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.call("screenshot", {"path": f"{folder}/{name}.png"})

    def forget(self) -> None:
        """Close the tab, and all others that share its storage."""
        if not self.is_closed:
            self.is_closed = True
            self.call("forget")


class Browser:
    """One Chromium; each context has a storage of its own, as another browser has."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._numbers = count()

    def send(self, command: dict[str, Any]) -> Any:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(command) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, "Chromium's driver ended"
        answer = json.loads(line)
        assert "error" not in answer, f"{command}: {answer['error']}"
        return answer["result"]

    def page(
        self,
        url: str,
        *,
        beside: Page | None = None,
        viewport: dict[str, int] | None = None,
        dark: bool = False,
    ) -> Page:
        """A tab at the address; `beside` another it shares that one's browser."""
        number = next(self._numbers)
        page = Page(self, f"page-{number}")
        size = viewport or DESKTOP
        options = {
            "viewport": size,
            "colorScheme": "dark" if dark else "light",
            "hasTouch": size == PHONE,
            "reducedMotion": "reduce",
        }
        context = f"context of {beside.name if beside else page.name}"
        self.send({"open": page.name, "context": context, "options": options})
        page.goto(url)
        return page


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium; nothing of it is left at the end."""
    node, binary = require_browser()
    playwright = MODULES / "playwright-core" / "index.mjs"
    child = subprocess.Popen(
        [node, str(HERE / "browser.mjs"), binary, str(playwright)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline(), "Chromium does not start"
        yield Browser(child)
    finally:
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
