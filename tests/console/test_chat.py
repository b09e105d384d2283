"""What a person does in the console's chat, in Chromium, on the real CLI and the demo model."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.console.browser import Page
from tests.e2e.approving import bash
from tests.e2e.environment import Stage

pytestmark = pytest.mark.e2e
Opened = Callable[..., Page]
LONG = "[[delay 30]] [[words 400]]"


def chat(stage: Stage, project: str) -> str:
    return f"{stage.server.url}/#/chat/{quote(project, safe='')}"


def test_a_newcomer_gets_tokens_a_tool_and_an_approval_without_a_word_typed(
    stage: Stage, opened: Opened
) -> None:
    page = opened(f"{stage.server.url}/#/demo")
    page.click("text=Work something out")
    page.answered(1)
    assert page.answer() == "12 * (3 + 4) = 84"
    page.click(".trick >> text=A tool")
    page.answered(2)
    assert "Run" in page.text(".turn:last-child .tool-head")
    page.click(".trick >> text=An approval")
    page.wait(".dock:not([hidden])")
    assert "touch hello.txt" in page.text(".dock")
    assert not (stage.workspace / "hello.txt").exists()
    page.shot("approval")
    page.click(".dock [data-primary]")
    page.answered(3)
    assert (stage.workspace / "hello.txt").exists()
    assert "Allowed: Bash, by you" in page.text(".turn:last-child .note")
    assert page.evaluate("document.activeElement.id") == "question"
    assert "my-project" in page.text(".projects")


def test_a_tool_that_fails_is_red_with_its_code_and_its_last_lines(
    stage: Stage, opened: Opened
) -> None:
    page = opened(chat(stage, "failing tool"))
    page.wait(".empty")
    page.ask(bash("ls /nowhere; exit 3"))
    page.wait(".dock:not([hidden])")
    page.click(".dock [data-primary]")
    page.answered()
    assert "failed, exit" in page.text(".tool.failed .fault")
    assert "/nowhere" in page.text(".tool.failed .tool-body")
    page.click(".tool-head")
    page.wait(".tool-body", state="hidden")


def test_what_waits_is_denied_with_words_changed_and_remembered_and_the_draft_stays(
    stage: Stage, opened: Opened
) -> None:
    page = opened(chat(stage, "deciding"))
    page.wait(".empty")
    page.ask(bash("touch denied.txt"))
    page.fill("#question", "my draft")
    page.wait(".dock:not([hidden])")
    # Whoever types on when it comes has decided nothing.
    page.press("a")
    page.press("d")
    page.sleep(1100)
    assert page.count(".dock-bar input") == 0
    page.press("d")
    page.fill(".dock-bar input", "use another name")
    page.press("Enter")
    page.answered(1)
    assert not (stage.workspace / "denied.txt").exists()
    assert "use another name" in page.answer()
    assert page.evaluate("document.getElementById('question').value") == "my draft"
    page.ask(bash("touch first.txt"))
    page.wait(".dock:not([hidden])")
    page.click(".dock-bar >> text=Edit")
    page.fill(".edit-input", "touch second.txt")
    page.click(".dock [data-primary]")
    page.answered(2)
    assert (stage.workspace / "second.txt").exists()
    assert not (stage.workspace / "first.txt").exists()


def test_what_is_allowed_again_and_again_stands_in_one_line(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "allowing"))
    page.wait(".empty")
    names = ("one.txt", "two.txt", "three.txt")
    page.ask(" ".join(bash(f"touch {name}") for name in names))
    for name in names:
        page.wait(f".dock:not([hidden]) >> text={name}")
        page.click(".dock [data-primary]")
    page.answered()
    assert page.count(".turn .note") == 1
    assert page.text(".turn .note") == "Allowed: Bash 3 times, by you"
    assert all((stage.workspace / name).exists() for name in names)


def test_a_question_of_the_models_is_answered_by_keys_alone(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "asked back"))
    page.wait(".empty")
    page.ask("ask me a question")
    page.wait(".dock:not([hidden])")
    page.sleep(1100)
    page.press("2")
    page.press("Enter")
    page.answered()
    assert "Green" in page.answer()


def test_questions_queue_are_taken_out_and_the_running_answer_is_stopped(
    stage: Stage, opened: Opened
) -> None:
    page = opened(chat(stage, "queueing"))
    page.wait(".empty")
    page.ask(LONG)
    page.wait_until("document.querySelector('.turn .prose')?.textContent.includes('word3')")
    page.ask("[[say second]]")
    page.ask("[[say third]]")
    page.wait_until("document.querySelectorAll('.queue .chip').length === 2")
    page.sleep(300)
    page.click(".queue .chip:last-child >> text=Edit")
    page.wait_until("document.getElementById('question').value === '[[say third]]'")
    page.wait_until("document.querySelectorAll('.queue .chip').length === 1")
    page.press("Escape")
    page.answered(2)
    assert page.text(".turn:first-child .turn-end") == "Stopped."
    assert page.answer() == "second"
    assert page.count(".turn") == 2


def test_an_attached_image_reaches_the_model(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "attaching"))
    page.wait(".empty")
    page.evaluate(
        """(async () => {
          const canvas = Object.assign(document.createElement("canvas"), {width: 3, height: 2});
          const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
          const files = new DataTransfer();
          files.items.add(new File([blob], "dot.png", {type: "image/png"}));
          const paste = new ClipboardEvent("paste", {clipboardData: files, bubbles: true});
          document.getElementById("question").dispatchEvent(paste);
        })()"""
    )
    page.wait(".composer .chip")
    page.ask("what is this?")
    page.answered()
    assert "dot.png" in page.text(".turn .question")
    assert "3" in page.answer()
    assert "2" in page.answer()


@pytest.mark.parametrize(
    ("question", "title", "cure"),
    [
        ("[[status 401]]", "not logged in", "/login"),
        ("[[status 429]]", "usage limit", "when it ends"),
        ("[[status 529]]", "overloaded", "Ask again"),
    ],
)
def test_what_the_models_service_says_is_a_card_with_its_cure(
    stage: Stage, opened: Opened, question: str, title: str, cure: str
) -> None:
    page = opened(chat(stage, "failing"))
    page.wait("#question")
    page.ask(f"{question} once")
    page.wait(".bad-card")
    assert title in page.text(".turn:last-child .card-title")
    page.wait_until(
        f"document.querySelector('.turn:last-child .bad-card').innerText.includes('{cure}')"
    )
    page.fill("#question", "[[say well]]")
    page.press("Enter")
    page.wait_until("document.querySelector('.turn:last-child .prose')?.textContent.includes('we')")


CARDS = {
    "claude_timeout": "What was written so far stays",
    "at_capacity": "All CLI processes are at work",
    "queue_full": "Too many questions wait",
    "store_unavailable": "It is tried again by itself",
    "unreachable": "It is tried again by itself",
    "worker_lost": "the rest was never written",
    "session_unusable": "Delete the session",
    "unauthorized": "Enter a key",
    "claude_not_authenticated": "/login",
    "claude_rate_limited": "It ends in 30 s",
    "forbidden": "COWORK_ALLOWED_ORIGINS=http",
}


def test_every_error_that_has_a_cure_says_it_on_its_card(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "cards"))
    page.wait(".empty")
    faults = [
        {"code": code, "error": "set COWORK_ALLOWED_ORIGINS to let it", "retryAfter": 30}
        for code in CARDS
    ]
    page.evaluate(
        "import('/console/errors.js').then(({ errorCard }) => {"
        f" for (const fault of {json.dumps(faults)})"
        " document.querySelector('.stream').append(errorCard(fault, { again() {} })); })"
    )
    page.wait_until("[...document.querySelectorAll('.bad-card')].at(-1)?.querySelector('code')")
    page.wait(".command-line >> text=/login")
    shown = page.evaluate(
        "[...document.querySelectorAll('.bad-card')].map((each) => each.innerText)"
    )
    for text, cure in zip(shown, CARDS.values(), strict=True):
        assert cure in text
        assert "Something went wrong" not in text


def test_a_server_without_a_cli_says_what_is_missing_and_looks_again(
    staged: Callable[..., Stage], opened: Opened
) -> None:
    stage = staged(CLAUDE_CLI_PATH="/nowhere/claude")
    page = opened(chat(stage, "no cli"))
    page.wait(".empty")
    page.ask("hello")
    page.wait(".bad-card")
    assert "cannot be started" in page.text(".card-title")
    page.click(".bad-card >> text=Check again")
    page.wait_until("document.querySelector('.bad-card [role=status]').textContent.length > 20")
    page.evaluate("location.hash = '#/health'")
    page.wait(".part .icon.bad")


def test_two_tabs_see_the_same_answer_live(stage: Stage, opened: Opened) -> None:
    first = opened(chat(stage, "both"))
    first.wait(".empty")
    second = opened(chat(stage, "both"), beside=first)
    second.wait("#question")
    first.ask("[[delay 30]] [[words 150]]")
    second.wait_until("document.querySelector('.turn .prose')?.textContent.includes('word3 ')")
    assert second.count(".turn .foot:not([hidden])") == 0
    first.answered()
    second.answered()
    assert first.answer() == second.answer()
    assert first.answer().endswith("word150")


def test_a_turn_is_forked_and_the_copy_goes_its_own_way(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "trunk"))
    page.wait(".empty")
    page.ask("[[say one]]")
    page.answered()
    page.click(".foot [aria-label='More about this turn']")
    page.click("text=Fork from here")
    page.fill("#ask-to", "branch")
    page.press("Enter")
    page.wait_until("location.hash.startsWith('#/chat/branch')")
    page.wait_until("document.querySelector('.prose')?.textContent.trim() === 'one'")
    page.ask("[[count]]")
    page.wait_until("document.querySelectorAll('.turn').length === 2")
    page.wait(".turn:last-child .foot:not([hidden])")
    assert stage.server.get("/sessions/trunk").json()["turns"] == 1


def test_words_for_the_running_answer_join_it(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "steered"))
    page.wait(".empty")
    page.ask(bash('python3 -c "import time; time.sleep(3)"'))
    page.wait(".dock:not([hidden])")
    page.click(".dock [data-primary]")
    page.wait_until("!document.querySelector('.composer').hidden")
    page.fill("#question", "use the other file")
    page.click(".how")
    page.click("text=Steer:")
    page.wait(".question.steer")
    page.answered()
    assert "use the other file" in page.text(".question.steer")
    assert "Your words joined the answer" in page.text(".turn .blocks")
    assert page.count(".turn") == 1


def test_a_rewind_takes_later_turns_out_of_the_conversation(stage: Stage, opened: Opened) -> None:
    page = opened(chat(stage, "rewound"))
    page.wait(".empty")
    page.ask("[[say one]]")
    page.answered(1)
    page.ask("[[say two]]")
    page.answered(2)
    page.click(".turn:first-child [aria-label='More about this turn']")
    page.click("text=Rewind to here")
    page.wait("dialog[open]")
    page.click("dialog .danger")
    page.wait_until("document.querySelectorAll('.turn').length === 1")
    page.ask("[[count]]")
    page.answered(2)
    said = stage.server.get("/sessions/rewound/messages").json()["messages"]
    assert [each["parts"][0]["text"] for each in said if each["role"] == "user"] == [
        "[[say one]]",
        "[[count]]",
    ]
