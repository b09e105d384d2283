"""`examples/chat.html`, a page of another origin: it asks, and shows the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.page_server import page_server
from tests.console.browser import Page
from tests.e2e.environment import Stage
from tests.serving import ROOT

pytestmark = pytest.mark.e2e
WRITTEN = "http://localhost:5002"
MAIN = "document.querySelector('main').textContent"


def written(folder: Path, server: str) -> None:
    """The example as somebody has it whose server is elsewhere."""
    text = (ROOT / "examples" / "chat.html").read_text()
    assert text.count(WRITTEN) == 1
    (folder / "chat.html").write_text(text.replace(WRITTEN, server))


def test_the_example_asks_and_shows_the_answer_from_an_origin_that_is_allowed(
    staged: Callable[..., Stage], opened: Callable[..., Page], tmp_path: Path
) -> None:
    with page_server(tmp_path) as origin:
        stage = staged(COWORK_ALLOWED_ORIGINS=origin)
        written(tmp_path, stage.server.url)
        page = opened(f"{origin}/chat.html")
        page.fill("input", "[[say It works.]]")
        page.press("Enter")
        page.wait_until(f"{MAIN}.includes('\\n\\nIt works.')")
        page.fill("input", "[[delay 40]] [[words 500]]")
        page.press("Enter")
        page.wait_until(f"{MAIN}.includes('word3 ')")
        page.click("#stop")
        page.wait_until(f"{MAIN}.toLowerCase().includes('interrupt')")
        assert "word500" not in page.text("main")
        page.forget()


def test_the_example_says_so_where_its_origin_is_not_allowed(
    staged: Callable[..., Stage], opened: Callable[..., Page], tmp_path: Path
) -> None:
    with page_server(tmp_path) as origin:
        stage = staged()
        written(tmp_path, stage.server.url)
        page = opened(f"{origin}/chat.html")
        page.wait_until("true")
        assert any("CORS" in each or "import" in each for each in page.problems())
        page.forget()
