"""Takes the pictures of the documents: `make pictures`.

The real server, the real CLI, the demo model and Chromium; what is seen was really said and asked.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests import program
from tests.console.browser import Browser, Page, open_browser
from tests.e2e.environment import Stage, open_stage

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
# Each, with what it is of; a test holds the folder, and what documents show, to it.
PICTURES = {
    "console.png": "a conversation with its side panel, and an edit that waits to be allowed",
    "console-dark.png": "the same in the dark",
    "console-phone.png": "the same on a telephone",
    "console-processes.png": "the processes, and the last quarter of an hour",
}
LIMIT_BYTES = 200_000
_WIDE = {"width": 1440, "height": 900}
_SMALL = {"width": 390, "height": 844}
_SETTINGS = {"COWORK_APPROVALS": "optional", "COWORK_DEMO": "true", "COWORK_SPARE_PROCESSES": "1"}
_WORD_S = 0.05


def main() -> None:
    """Write every picture anew; ends with one line where something is missing."""
    claude = program.real_claude()
    if claude is None:
        sys.exit("the claude CLI is missing; install it with: make install-cli")
    with (
        tempfile.TemporaryDirectory(prefix="pictures-") as folder,
        open_stage(Path(folder) / "demo", str(claude), delay=_WORD_S, **_SETTINGS) as stage,
        open_browser() as browser,
    ):
        _take_all(stage, browser)
    for name in PICTURES:
        size = (FOLDER / name).stat().st_size
        sys.stdout.write(f"{name}  {size / 1000:.0f} kB\n")


def _take_all(stage: Stage, browser: Browser) -> None:
    url = stage.server.url
    first = browser.page(f"{url}/#/chat/demo", viewport=_WIDE)
    _say(first, "Hello! Who are you, and what is 2+2?")
    _go(first, "garden")
    _say(first, "what is 12 * (3 + 4)?")
    _go(first, "website")
    _say(first, "write a file", allow=True)
    _say(first, "work through a list", allow=True)
    first.ask("change the file")
    first.wait(".dock:not([hidden]) .diff")
    first.wait(".side")
    _take(first, "console.png")
    dark = browser.page(f"{url}/#/chat/website", viewport=_WIDE, dark=True)
    dark.wait(".dock:not([hidden]) .diff")
    _take(dark, "console-dark.png")
    phone = browser.page(f"{url}/#/chat/website", viewport=_SMALL)
    phone.wait(".dock:not([hidden]) .diff")
    _take(phone, "console-phone.png")
    first.evaluate("location.hash = '#/processes'")
    first.wait("table, .cards")
    _take(first, "console-processes.png")
    first.evaluate("location.hash = '#/chat/website'")
    first.wait(".dock:not([hidden]) .diff")
    first.click(".dock [data-primary]")
    first.wait(".dock", state="hidden")
    for page in (first, dark, phone):
        page.forget()


def _go(page: Page, project: str) -> None:
    page.evaluate(f"location.hash = '#/chat/{project}'")
    page.wait(".stream .empty")


def _say(page: Page, question: str, *, allow: bool = False) -> None:
    """Ask, allow what it asks for, and wait for the end of it."""
    before = page.count(".turn .foot:not([hidden])")
    page.ask(question)
    ended = f"document.querySelectorAll('.turn .foot:not([hidden])').length > {before}"
    waits = "Boolean(document.querySelector('.dock:not([hidden]) [data-primary]'))"
    while True:
        page.wait_until(f"{ended} || {waits}")
        if page.evaluate(ended):
            return
        assert allow, f"{question} asks"
        page.click(".dock [data-primary]")
        page.wait_until(f"!({waits}) || {ended}")


def _take(page: Page, name: str) -> None:
    page.sleep(600)  # fonts, and what moves for so long
    page.call("screenshot", {"path": str(FOLDER / name)})


if __name__ == "__main__":
    main()
