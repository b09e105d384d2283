"""Names of projects and of skills: which are valid, and what each comes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.replies import ASK_PATHS, delete, invalid, post_text
from tests.fakes import Fakes
from tests.serving import Served

VALID = [
    "p",
    " p",
    "a/b",
    "/lead",
    "a//b",
    "a/b/",
    "/",
    ".",
    "..",
    "../p",
    "x/messages",
    "x/../p",
    "a%2Fb",
    "%",
    "a?b=c#d",
    "naïve",  # one code point
    "nai\u0308ve",  # two
    "鍵",
    "😀",
    "a\u200bb",
    "a\u202eb",
    "-rf",
    "$HOME",
    "'; DROP TABLE p;--",
    "x" * 200,
    "x" * 199 + "y",
    "😀" * 200,
]
INVALID = ["x" * 201, "😀" * 201, *(f"a{mark}b" for mark in "\0\t\n\r\x1b\x1f\x7f\x85\x9f"), "b\n"]
COMMANDS = ["clear", "init", "compact", "context", "model", "usage", "Clear", " CLEAR "]
BAD_SKILLS = [
    "a b",
    "../x",
    "a/b",
    "deep-research x",
    "deep.research",
    "déep",
    "a\nb",
    "/clear",
    "x" * 999,
]
UNKNOWN_SKILLS = ["no-such-skill", "deep", "deep-research2"]


def test_t09_every_valid_name_is_a_project_of_its_own(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_MAX_PROCESSES="8")
    ids = {}
    for name in VALID:
        reply = served.ask("hi", name)
        assert reply.status_code == 200, (name, reply.text)
        assert reply.json()["project_id"] == name
        assert reply.json()["is_new_session"] is True, name
        ids[name] = reply.json()["session_id"]
    assert len(set(ids.values())) == len(VALID)
    listed = served.get("/sessions").json()
    assert listed == {"sessions": ids, "count": len(VALID)}
    for left, name in reversed(list(enumerate(VALID))):
        assert delete(served, name).json()["success"] is True, name
        assert served.get("/sessions").json()["count"] == left, name


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_name_that_is_too_long_or_holds_control_characters_is_422(
    served: Served, path: str
) -> None:
    for name in INVALID:
        body = {"project_name": name, "question": "q"}
        invalid(served.post(path, body), "body", "project_name")


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_lone_surrogate_in_a_name_is_422(served: Served, path: str) -> None:
    for escape in (r"\ud800", r"a\udfffb", r"\ude00\ud83d"):
        body = f'{{"project_name": "{escape}", "question": "q"}}'
        invalid(post_text(served, path, body), "body")


def test_a_pair_of_surrogates_is_one_character(served: Served) -> None:
    body = r'{"project_name": "\ud83d\ude00", "question": "q"}'
    assert post_text(served, "/ask_question", body).json()["project_id"] == "😀"


def test_a_lone_surrogate_elsewhere_breaks_nothing(served: Served) -> None:
    for field in ("user_id", "message_type", "agent_type", "other"):
        body = json.dumps({"project_name": "p", "question": "q", field: "\ud800"})
        reply = post_text(served, "/ask_question", body)
        assert reply.status_code in {200, 422}, (field, reply.text)
    assert served.ask("hi").status_code == 200


def own_skills(home: Path, *names: str) -> None:
    """Give the CLI's user skills of their own."""
    for name in names:
        folder = home / ".claude" / "skills" / name
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: d\n---\nDo it.\n")


def test_fault_s10_a_skill_that_the_cli_brings_along_is_refused(
    logged: Served, fakes: Fakes, home: Path
) -> None:
    own_skills(home, "mine", "verify")
    for name in ("update-config", "batch", "deep-research", "Update_Config"):
        reply = logged.ask("q", agent_type=name)
        invalid(reply, "body", "agent_type")
    # A name that both have is the user's, since the folder is there.
    for name in ("mine", "verify"):
        assert logged.ask("q", agent_type=name).status_code == 200
        assert fakes.asked[-1] == f"/{name} q"
    assert not [text for text in fakes.asked if "batch" in text or "config" in text]


def test_a_listed_skill_is_put_before_the_question(
    logged: Served, fakes: Fakes, home: Path
) -> None:
    served = logged
    own_skills(home, "code-writer")
    served.ask("warm up")
    for agent in ("code-writer", "Code_Writer", "  CODE_WRITER\n", "code_writer"):
        reply = served.ask("write it", agent_type=agent)
        assert reply.status_code == 200, reply.text
        assert fakes.asked[-1] == "/code-writer write it"
        assert reply.json()["message"].endswith("write it")


@pytest.mark.parametrize("agent", ["deep-research", "code-writer", "plugin:helper"])
def test_a_skill_is_known_from_the_first_question_on(
    serve: Callable[..., Served], fakes: Fakes, home: Path, agent: str
) -> None:
    own_skills(home, "code-writer", "plugin:helper")
    served = serve(COWORK_BUNDLED_SKILLS="true", **fakes.settings())
    reply = served.ask("write it", agent_type=agent)
    assert reply.status_code == 200, reply.text
    assert fakes.asked[-1] == f"/{agent} write it"


def test_a_skill_in_the_users_own_folder_is_known(logged: Served, fakes: Fakes, home: Path) -> None:
    own_skills(home, "own-skill")
    assert logged.ask("do it", agent_type="own_skill").status_code == 200
    assert fakes.asked[-1] == "/own-skill do it"


@pytest.mark.parametrize("path", ASK_PATHS)
def test_t06_what_is_not_a_listed_skill_is_422_and_never_reaches_the_cli(
    logged: Served, fakes: Fakes, path: str
) -> None:
    for agent in (*COMMANDS, *UNKNOWN_SKILLS, *BAD_SKILLS):
        body = {"project_name": "p", "question": "q", "agent_type": agent}
        invalid(logged.post(path, body), "body", "agent_type")
    assert not [text for text in fakes.asked if text.startswith("/")]
    assert "p" not in logged.get("/sessions").json()["sessions"]


def test_a_skill_gets_its_question_whole(logged: Served, fakes: Fakes, home: Path) -> None:
    own_skills(home, "deep-research")
    for question in ("/clear", "-x", "two\nlines"):
        assert logged.ask(question, agent_type="deep-research").status_code == 200
        assert fakes.asked[-1] == f"/deep-research {question}"
