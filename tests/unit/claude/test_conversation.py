"""What of a transcript's rows is shown, as whose words, and on which branch.

The rows are those of 2.1.332, with what nobody reads left out.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from cowork.claude.command import prompt
from cowork.claude.conversation import (
    ConversationMessage,
    following_turn,
    last_assistant_row,
    read_conversation,
)

Rows = list[dict[str, Any]]


def said(uuid: str, content: object, after: str | None = None, **more: object) -> dict[str, Any]:
    """A row of the user's: a person's, unless `more` says otherwise."""
    marks = {"promptSource": "sdk", "turnOrigin": "sdk", "rowSource": "local"}
    return _row(uuid, "user", after, {"role": "user", "content": content}, {**marks, **more})


def note(uuid: str, content: object, after: str | None = None, **more: object) -> dict[str, Any]:
    """A row that the CLI wrote in the user's name."""
    return _row(uuid, "user", after, {"role": "user", "content": content}, more)


def answer(
    uuid: str, block: object, after: str, message: str = "msg_1", **more: object
) -> dict[str, Any]:
    body = {"id": message, "model": "claude-opus-5-5", "content": [block]}
    usage = more.pop("usage", {"input_tokens": 1, "output_tokens": 2})
    return _row(uuid, "assistant", after, {**body, "usage": usage}, {"madeBy": "model", **more})


def synthetic(uuid: str, words: str, after: str) -> dict[str, Any]:
    body = {"id": f"id of {uuid}", "model": "<synthetic>", "content": [text(words)]}
    return _row(uuid, "assistant", after, body, {"isApiErrorMessage": True})


def steer(uuid: str, content: object, after: str, **more: object) -> dict[str, Any]:
    slipped = {"type": "queued_command", "prompt": content, "source_uuid": f"{uuid}-sent"}
    slipped |= {"commandMode": "prompt", "rowSource": "local", **more}
    return {**_row(uuid, "attachment", after, None, {}), "attachment": slipped}


def boundary(uuid: str, after: str) -> dict[str, Any]:
    more = {"subtype": "compact_boundary", "logicalParentUuid": after}
    return _row(uuid, "system", None, None, more)


def _row(
    uuid: str, kind: str, after: str | None, message: object, more: dict[str, object]
) -> dict[str, Any]:
    row = {"parentUuid": after, "isSidechain": False, "type": kind, "uuid": uuid}
    if message is not None:
        row["message"] = message
    return {**row, "timestamp": "2026-11-27T04:06:09.039Z", "sessionId": "s", **more}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(tool: str, name: str = "Bash") -> dict[str, Any]:
    return {"type": "tool_use", "id": tool, "name": name, "input": {"command": tool}}


def result(tool: str, content: object, **more: object) -> list[dict[str, Any]]:
    return [{"type": "tool_result", "tool_use_id": tool, "content": content, **more}]


def lines(rows: Rows) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows]


def read(rows: Rows) -> list[ConversationMessage]:
    return read_conversation(lines(rows))


def told(rows: Rows) -> list[tuple[str, ...]]:
    """Role and texts of each message."""
    return [(each.role, *(part.get("text", "") for part in each.parts)) for each in read(rows)]


QUESTION = said("q1", "hi")
TURN: Rows = [QUESTION, answer("a1", text("hello"), "q1")]


# -- what is shown


def test_a_question_has_the_uuid_that_it_was_sent_with_and_an_answer_the_apis_id():
    question, reply = read(TURN)
    at = datetime(2026, 11, 27, 4, 6, 9, 39000, tzinfo=UTC)
    assert question == ConversationMessage("q1", "q1", "user", at, (text("hi"),))
    usage = {"input_tokens": 1, "output_tokens": 2}
    assert reply == ConversationMessage(
        "msg_1", "q1", "assistant", at, (text("hello"),), usage=usage
    )


def test_rows_of_one_message_are_one_message_with_the_last_rows_usage():
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    rows = [
        QUESTION,
        answer("a1", thought, "q1", usage={"output_tokens": 1}),
        answer("a2", text("so"), "a1", usage={"output_tokens": 7}),
        answer("a3", text("next"), "a2", "msg_2"),
    ]
    _, first, second = read(rows)
    assert first.parts == ({"type": "thinking", "text": "hm"}, text("so"))
    assert first.usage == {"output_tokens": 7}
    assert (second.id, second.parts) == ("msg_2", (text("next"),))


def test_a_tools_result_stands_behind_its_call():
    rows = [
        QUESTION,
        answer("a1", use("t1"), "q1"),
        note("r1", result("t1", [text("one"), text("two")], is_error=True), "a1"),
        answer("a2", text("done"), "r1", "msg_2"),
    ]
    _, calling, last = read(rows)
    assert calling.parts == (
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "t1"}},
        {"type": "tool_result", "id": "t1", "content": "one\ntwo", "is_error": True},
    )
    assert calling.state == "complete"
    assert last.parts == (text("done"),)


def test_a_long_result_is_cut_and_says_so():
    rows = [QUESTION, answer("a1", use("t1"), "q1"), note("r1", result("t1", "x" * 70_000), "a1")]
    part = read(rows)[1].parts[1]
    assert (len(part["content"]), part["truncated"]) == (65_536, True)


def test_an_image_that_a_tool_gave_back_stands_behind_its_result():
    image = {"type": "image", "source": {"type": "base64", "data": "AA", "media_type": "image/png"}}
    rows = [QUESTION, answer("a1", use("t1"), "q1"), note("r1", result("t1", [image]), "a1")]
    assert read(rows)[1].parts[2:] == ({"type": "image", "media_type": "image/png"},)


def test_parallel_tools_are_all_there_though_the_branch_goes_on_from_one_of_them():
    rows = [
        QUESTION,
        answer("a1", use("t1"), "q1"),
        answer("a2", use("t2"), "a1"),
        answer("a3", use("t3"), "a2"),
        note("r2", result("t2", "second"), "a2"),
        note("r3", result("t3", "third"), "a3"),
        note("r1", result("t1", "first"), "a1"),
        answer("a4", text("done"), "r1", "msg_2"),
    ]
    _, calling, _ = read(rows)
    seen = [part.get("content", part["id"]) for part in calling.parts]
    assert seen == ["t1", "first", "t2", "second", "t3", "third"]


def test_images_and_documents_are_named_and_their_bytes_left_out():
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    document = {"type": "document", "title": "a.pdf", "source": {"media_type": "application/pdf"}}
    nameless = {"type": "document", "source": {"type": "url", "url": "http://x/y"}}
    blocks = [text("look"), {"type": "image", "source": source}, document, nameless]
    (message,) = read([said("q1", blocks)])
    assert message.parts == (
        text("look"),
        {"type": "image", "media_type": "image/png"},
        {"type": "document", "media_type": "application/pdf", "name": "a.pdf"},
        {"type": "document", "media_type": None},
    )


def test_an_image_that_the_cli_could_not_read_is_an_image_and_not_its_words():
    lost = "[Image could not be processed: Unable to resize image]"
    (message,) = read([said("q1", [text("look"), text(lost)])])
    assert message.parts == (text("look"), {"type": "image", "media_type": None})


def test_what_was_slipped_into_a_turn_is_there_with_its_own_uuid_and_that_turn():
    rows = [
        QUESTION,
        answer("a1", use("t1"), "q1"),
        note("r1", result("t1", "ok"), "a1"),
        steer("s1", "and quickly", "r1"),
        steer("s2", [text("look"), {"type": "image", "source": {}}], "s1"),
        answer("a2", text("done"), "s2", "msg_2"),
    ]
    _, calling, first, second, last = read(rows)
    assert [part["type"] for part in calling.parts] == ["tool_use", "tool_result"]
    assert (first.id, first.question_id, first.role) == ("s1-sent", "q1", "user")
    assert first.parts == (text("and quickly"),)
    assert second.parts == (text("look"), {"type": "image", "media_type": None})
    assert (last.question_id, last.parts) == ("q1", (text("done"),))


def test_messages_that_the_cli_made_one_of_are_one_that_knows_all_their_uuids():
    row = said("q3", "two\nthree", mergedSendUuids=["q2"])
    (message,) = read([row])
    assert (message.id, message.merged_ids) == ("q3", ("q2",))
    rows = [row, answer("a1", text("yes"), "q3")]
    assert last_assistant_row(lines(rows), "q2") == "a1"
    assert last_assistant_row(lines(rows), "q3") == "a1"
    rows.append(said("q4", "next", "a1"))
    assert following_turn(lines(rows), "q2") == following_turn(lines(rows), "q3") == "q4"


def test_a_question_to_a_skill_is_what_was_said_to_it():
    call = (
        "<command-message>greet</command-message>\n<command-name>/greet</command-name>\n"
        "<command-args>a <b> </command-args> c</command-args>"
    )
    bare = "<command-message>greet</command-message>\n<command-name>/greet</command-name>"
    marks = {"turnOrigin": "sdk", "rowSource": "local"}
    rows = [
        note("q1", call, **marks),
        note("m1", [text("Base directory for this skill: /x")], "q1", isMeta=True),
        answer("a1", text("hello"), "m1"),
        note("q2", bare, "a1", **marks),
    ]
    first, reply, second = read(rows)
    assert first.parts == ({"type": "text", "text": "a <b> </command-args> c", "skill": "greet"},)
    assert reply.question_id == "q1"
    assert second.parts == ({"type": "text", "text": "/greet", "skill": "greet"},)


def test_an_image_that_came_with_a_question_to_a_skill_is_there():
    call = "<command-message>greet</command-message>\n<command-name>/greet</command-name>"
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png"}}
    companion = {"isMeta": True, "turnCompanion": True}
    rows = [
        note("q1", call, turnOrigin="sdk"),
        note("m1", [image, text("Base directory for this skill: /x")], "q1", **companion),
        answer("a1", text("hello"), "m1"),
        said("q2", "and", "a1"),
        note("m2", [image, text("[Image: source: /tmp/1.png]")], "q2", **companion),
    ]
    first, _, second = read(rows)
    assert first.parts[1:] == ({"type": "image", "media_type": "image/png"},)
    assert second.parts == (text("and"),)


# -- what is hidden


@pytest.mark.parametrize(
    "row",
    [
        note(
            "x", "<local-command-caveat>The command below", "q1", isMeta=True, rowSource="harness"
        ),
        note("x", "<command-name>/model</command-name>\n  <command-args>", "q1", rowSource="local"),
        note("x", "<local-command-stdout>Set model to `h`</local-command-stdout>", "q1"),
        note("x", [text("[Image: source: /tmp/1.png]")], "q1", isMeta=True, turnCompanion=True),
        note("x", [text("[Request interrupted by user]")], "q1", rowSource="harness"),
        note("x", "Continue from where you left off.", "q1", isMeta=True),
        note("x", "<system-reminder>\nbe good\n</system-reminder>", "q1"),
        note("x", "Output token limit hit. Resume directly", "q1", isMeta=True, ownNote=True),
        said("x", "hi", "q1", isMeta=True),
        said("x", "hi", "q1", origin={"kind": "peer"}),
        said("x", "hi", "q1", promptSource="system"),
        said("x", "hi", "q1", turnOrigin="peer"),
        said("x", "do this", "q1", isSidechain=True),
        note("x", "<task-notification>", "q1", turnOrigin="task_notification"),
        answer("x", text("of a sub-agent"), "q1", isSidechain=True),
        synthetic("x", "No response requested.", "q1"),
        synthetic("x", "API Error: 400 check your gateway (127.0.0.1:1)", "q1"),
        steer("x", "<task-notification>", "q1", commandMode="task-notification"),
        steer("x", "of a peer", "q1", origin={"kind": "peer"}),
        steer("x", "of a peer", "q1", rowSource="recorded"),
        {"type": "attachment", "uuid": "x", "parentUuid": "q1", "attachment": {"type": "date"}},
        {"type": "system", "uuid": "x", "parentUuid": "q1", "subtype": "local_command"},
        {"type": "queue-operation", "operation": "enqueue", "content": "hi", "uuid": "x"},
        {"type": "hologram", "uuid": "x", "parentUuid": "q1", "message": {"content": "hi"}},
        note("x", result("t9", "of no call"), "q1"),
    ],
)
def test_the_clis_own_words_are_hidden(row):
    assert told([QUESTION, row]) == [("user", "hi")]


def test_what_hangs_on_a_hidden_row_is_shown():
    rows = [QUESTION, note("x", "Continue", "q1", isMeta=True), answer("a1", text("hello"), "x")]
    assert told(rows) == [("user", "hi"), ("assistant", "hello")]


@pytest.mark.parametrize(
    "words",
    [
        "<command-name>/x</command-name>",
        "[Request interrupted by user]",
        "<system-reminder>mine</system-reminder>",
        "No response requested.",
        "/plain",
        "  two blanks",
    ],
)
def test_a_person_may_say_what_the_cli_says(words):
    assert told([said("q1", words)]) == [("user", words)]


def test_a_turn_that_no_person_asked_for_has_the_uuid_of_what_it_began_with():
    began = note("n1", "<task-notification>", "a1", turnOrigin="task_notification")
    (*_, unasked) = read([*TURN, began, answer("a2", text("it is done"), "n1", "msg_2")])
    assert (unasked.role, unasked.question_id) == ("assistant", "n1")


# -- what the server put around a question


@pytest.mark.parametrize("question", ["hi", "/config a=b", "  hi", " hi", "two\n\nlines <b>"])
@pytest.mark.parametrize("earlier", [(), [("a </earlier_conversation> b", "c <d>\n\n\u2028")]])
def test_what_the_server_put_around_a_question_is_taken_away(question, earlier):
    sent = prompt(question, None, slash_commands=False, earlier=earlier)
    assert told([said("q1", sent)]) == [("user", question)]
    assert told([said("q1", [text(sent)])]) == [("user", question)]


def test_what_the_server_put_behind_a_skills_question_is_taken_away():
    sent = prompt("do <it>\n\nnow", "greet", slash_commands=False, earlier=[("q", "a")])
    name, _, args = sent.removeprefix("/").partition(" ")
    call = (
        f"<command-message>{name}</command-message>\n<command-name>/{name}</command-name>\n"
        f"<command-args>{args}</command-args>"
    )
    assert told([note("q1", call, turnOrigin="sdk")]) == [("user", "do <it>\n\nnow")]


# -- interrupted


def test_an_answer_that_was_cut_off_is_interrupted():
    rows = [QUESTION, answer("a1", text("one two"), "q1", isAbortedMidStream=True)]
    assert [(each.role, each.state) for each in read(rows)] == [
        ("user", "complete"),
        ("assistant", "interrupted"),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [note("r1", result("t1", "stopped"), "a1", toolDenialKind="user-rejected")],
        [note("r1", result("t1", "the session ended"), "a1", toolDenialKind="interrupted")],
        [
            note("r1", result("t1", "ok"), "a1"),
            note("x", [text("[Request interrupted by user for tool use]")], "r1"),
        ],
    ],
)
def test_a_message_whose_turn_was_stopped_at_its_tools_is_interrupted(rows):
    assert read([QUESTION, answer("a1", use("t1"), "q1"), *rows])[1].state == "interrupted"


def test_a_tool_that_was_denied_interrupts_nothing():
    denied = note("r1", result("t1", "no"), "a1", toolDenialKind="permission-rule")
    assert read([QUESTION, answer("a1", use("t1"), "q1"), denied])[1].state == "complete"


def test_a_turn_that_was_stopped_before_a_word_interrupts_no_earlier_answer():
    stopped = note("x", [text("[Request interrupted by user]")], "q2")
    messages = read([*TURN, said("q2", "and", "a1"), stopped])
    assert [each.state for each in messages] == ["complete"] * 3


# -- the branch


def test_after_a_rewind_the_branch_that_was_left_is_not_shown():
    rows = [
        *TURN,
        said("q2", "old", "a1"),
        answer("a2", text("old answer"), "q2", "msg_2"),
        said("q3", "new", "a1"),
        answer("a3", text("new answer"), "q3", "msg_3"),
    ]
    assert told(rows)[2:] == [("user", "new"), ("assistant", "new answer")]
    assert last_assistant_row(lines(rows), "q2") is None
    # What was asked next is what is asked now, and not what was left.
    assert following_turn(lines(rows), "q1") == "q3"
    assert following_turn(lines(rows), "q2") is None
    assert following_turn(lines(rows), "q3") is None


def test_two_branches_whose_answers_have_one_id_are_not_mixed():
    rows = [
        *TURN,
        said("q2", "old", "a1"),
        answer("a2", text("old answer"), "q2"),
        said("q3", "new", "a1"),
        answer("a3", text("new answer"), "q3"),
    ]
    assert told(rows)[1:] == [("assistant", "hello"), ("user", "new"), ("assistant", "new answer")]


COMPACTED: Rows = [
    *TURN,
    boundary("b1", "a1"),
    note(
        "s1",
        "This session is being continued from a previous conversation.\n\n"
        "<system-reminder>\n<tools-used-before-summary>Bash</tools-used-before-summary>\n"
        "</system-reminder>\nSummary:\nThey said hello.\n\nIf you need specific details from before"
        " compaction (like code), read the full transcript at: /srv/x.jsonl\n"
        "Continue the conversation from where it left off without asking.",
        "b1",
        isCompactSummary=True,
        isVisibleInTranscriptOnly=True,
    ),
    note("c0", "<local-command-caveat>", "s1", isMeta=True),
    note("c1", "<command-name>/compact</command-name>\n  <command-args>", "c0"),
    note("c2", "<local-command-stdout>Compacted </local-command-stdout>", "c1"),
    said("q2", "and now", "c2"),
    answer("a2", text("well"), "q2", "msg_2"),
]


def test_what_came_before_a_compaction_is_there_and_its_summary_is_the_models_words_alone():
    assert told(COMPACTED) == [
        ("user", "hi"),
        ("assistant", "hello"),
        ("assistant", "They said hello."),
        ("user", "and now"),
        ("assistant", "well"),
    ]
    summary = read(COMPACTED)[2]
    assert summary.parts == ({"type": "summary", "text": "They said hello."},)
    assert (summary.id, summary.question_id) == ("s1", "c1")


def test_a_compaction_from_whose_summary_nothing_goes_on_is_there():
    model = [
        note("m0", "<local-command-caveat>", "a1", isMeta=True),
        note("m1", "<command-name>/model</command-name>", "m0"),
    ]
    date = {"type": "attachment", "uuid": "d1", "parentUuid": "b1", "attachment": {"type": "date"}}
    summary = {**COMPACTED[3], "parentUuid": "d1"}
    behind = {**COMPACTED[4], "parentUuid": "m1"}
    rows = [*TURN, *model, boundary("b1", "m1"), date, summary, behind, *COMPACTED[5:]]
    assert told(rows) == told(COMPACTED)
    assert read(rows)[2].question_id == "c1"
    assert last_assistant_row(lines(rows), "q1") is None


def test_a_turn_that_is_compacted_in_its_middle_goes_on_behind_the_summary():
    rows = [
        QUESTION,
        answer("a1", use("t1"), "q1"),
        note("r1", result("t1", "ok"), "a1"),
        boundary("b1", "r1"),
        note("s1", "Summary:\nso far", "b1", isCompactSummary=True, turnOrigin="sdk"),
        answer("a2", text("done"), "s1", "msg_2"),
    ]
    assert [each.question_id for each in read(rows)] == ["q1"] * 4
    assert last_assistant_row(lines(rows), "q1") == "a2"


def test_a_fork_of_what_was_compacted_begins_with_the_summary():
    first, *rest = COMPACTED[2:]
    rows = [first, rest[0], answer("a1", text("hello"), "s1"), *rest[1:]]
    assert told(rows)[:2] == [("assistant", "They said hello."), ("assistant", "hello")]
    assert read(rows)[1].question_id is None


# -- where to cut


def test_a_turn_is_cut_behind_its_last_row():
    rows = [
        QUESTION,
        answer("a1", use("t1"), "q1"),
        answer("a2", use("t2"), "a1"),
        note("r2", result("t2", "two"), "a2"),
        note("r1", result("t1", "one"), "a1"),
    ]
    assert last_assistant_row(lines(rows), "q1") == "a2"
    rows += [answer("a3", text("done"), "r1", "msg_2"), said("q2", "more", "a3")]
    assert last_assistant_row(lines(rows), "q1") == "a3"
    assert last_assistant_row(lines(rows), "q2") is None
    assert last_assistant_row(lines(rows), "nobody's") is None


def test_a_turn_that_failed_is_cut_behind_the_clis_own_answer():
    rows = [QUESTION, synthetic("a1", "API Error", "q1"), said("q2", "again", "a1")]
    assert last_assistant_row(lines(rows), "q1") == "a1"


def test_nothing_is_cut_before_the_last_compaction():
    assert last_assistant_row(lines(COMPACTED), "q1") is None
    assert last_assistant_row(lines(COMPACTED), "q2") == "a2"


# -- titles


# -- whatever the file holds

EVERYTHING: Rows = [
    said("q0", [text("look"), {"type": "image", "source": {"media_type": "image/png"}}]),
    answer("e1", {"type": "thinking", "thinking": "hm"}, "q0", "msg_0"),
    answer("e2", use("t1"), "e1", "msg_0"),
    answer("e3", use("t2"), "e2", "msg_0"),
    note("r2", result("t2", [text("two")]), "e3"),
    note("r1", result("t1", "one", is_error=True), "e2"),
    steer("s0", "quickly", "r1"),
    answer("e4", text("done"), "s0", "msg_9", isAbortedMidStream=True),
    said("q1", "hi", "e4"),
    *COMPACTED[1:],
    {"type": "custom-title", "customTitle": "A title", "sessionId": "s"},
]


def all_of(given: list[bytes]) -> list[ConversationMessage]:
    last_assistant_row(given, "q1")
    return read_conversation(given)


def test_a_line_that_is_cut_anywhere_costs_no_more_than_its_row():
    whole = lines(EVERYTHING)
    known = {repr(part) for each in all_of(whole) for part in each.parts}
    for number, line in enumerate(whole):
        for cut in range(len(line) - 1):
            messages = all_of([*whole[:number], line[:cut], *whole[number + 1 :]])
            assert {repr(part) for each in messages for part in each.parts} <= known


WRONG: list[object] = [None, True, 7, 1.5, "x", [], {}, [None], [[1]], {"a": 1}, [{"type": 7}]]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_value_of_another_kind_anywhere_raises_nothing(wrong):
    def changed(value: object) -> list[object]:
        """The value with each thing in it replaced, one at a time."""
        if isinstance(value, dict):
            inner = [(key, each) for key in value for each in changed(value[key])]
            return [wrong, *({**value, key: each} for key, each in inner)]
        if isinstance(value, list):
            return [
                wrong,
                *(
                    [*value[:at], each, *value[at + 1 :]]
                    for at in range(len(value))
                    for each in changed(value[at])
                ),
            ]
        return [wrong]

    for number, row in enumerate(EVERYTHING):
        for each in changed(row):
            line = json.dumps(each).encode()
            for message in all_of(
                [*lines(EVERYTHING[:number]), line, *lines(EVERYTHING[number + 1 :])]
            ):
                assert message.created_at.tzinfo is UTC
                assert isinstance(message.id, str)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        b"null",
        b'"uuid"',
        b"{" * 5000 + b'"uuid"',
        b'{"uuid":"x"}',
        b"\0" * 99,
    ],
)
def test_a_line_that_is_no_row_is_passed_over(line):
    assert len(all_of([line, *lines(TURN), line])) == 2


def test_half_a_character_is_shown_as_unknown():
    row = json.dumps(said("q1", "a \ud83d b")).encode()
    assert read_conversation([row])[0].parts == (text("a \ufffd b"),)


def test_rows_that_hang_on_each_other_end():
    rows = [said("q1", "one", "a1"), answer("a1", text("two"), "q1")]
    assert told(rows) == [("user", "one"), ("assistant", "two")]
    assert told([said("q1", "self", "q1")]) == [("user", "self")]


def test_what_hangs_on_a_row_that_is_missing_begins_there():
    rows = [*TURN, said("q2", "later", "lost"), answer("a2", text("yes"), "q2", "msg_2")]
    assert told(rows) == [("user", "later"), ("assistant", "yes")]


@pytest.mark.parametrize("at", ["", "yesterday", "0001-01-01T00:00:00+23:00", None, 7])
def test_a_row_without_a_time_is_as_old_as_the_one_before_it(at):
    rows = [QUESTION, {**answer("a1", text("hello"), "q1"), "timestamp": at}]
    question, reply = read(rows)
    assert reply.created_at == question.created_at
    assert read([{**QUESTION, "timestamp": at}])[0].created_at == datetime.fromtimestamp(0, UTC)


def test_a_long_conversation_takes_time_in_proportion_to_its_length():
    def seconds(turns: int) -> float:
        rows: Rows = []
        after = None
        for number in range(turns):
            last = f"r{number}-0"
            rows.append(said(f"q{number}", "hi", after))
            calls = [f"q{number}", *(f"a{number}-{call}" for call in range(8))]
            rows += [
                answer(calls[call + 1], use(f"t{number}-{call}"), calls[call], f"msg_{number}")
                for call in range(8)
            ]
            rows += [
                note(f"r{number}-{call}", result(f"t{number}-{call}", "ok"), calls[call + 1])
                for call in reversed(range(8))
            ]
            after = last
        given = lines(rows)
        began = time.process_time()
        messages = read_conversation(given)
        taken = time.process_time() - began
        assert len(messages) == 2 * turns
        assert all(len(each.parts) in (1, 16) for each in messages)
        return taken

    short, long = seconds(200), seconds(4000)
    # Twenty times as long; one that looks through all rows for each would take 400 times.
    assert long < 100 * max(short, 0.005)


@pytest.mark.parametrize(
    "words",
    [
        "<earlier_conversation>\n" * 20_000,
        "\n\n<earlier_conversation>\n" * 20_000,
        "<command-message></command-message>\n<command-name>/" * 20_000,
        "</command-args>" * 20_000,
        "<system-reminder>" * 20_000,
        "Summary:\n" * 20_000,
    ],
    ids=lambda words: words[:24],
)
def test_words_that_only_begin_like_the_servers_cost_no_more_than_others(words):
    call = f"<command-message>a</command-message>\n<command-name>/a</command-name>\n<command-args>{words}"
    rows = [
        said("q1", words),
        note("q2", f"{call}</command-args>", "q1", turnOrigin="sdk"),
        note("q3", call, "q2", turnOrigin="sdk"),
        note("s1", words, "q3", isCompactSummary=True),
    ]
    began = time.process_time()
    assert read(rows)[0].parts == (text(words),)
    assert time.process_time() - began < 5


GONE_ON = [
    said("u", "hi"),
    answer("a", use("t"), "u"),
    note("r", result("t", "done"), "a"),
    note(
        "c",
        [text("Continue from where you left off.")],
        "r",
        isMeta=True,
        promptSource="system",
        rowSource="harness",
    ),
    answer("b", text("so it was"), "c", "msg_2"),
]


def test_a_turn_that_another_process_went_on_with_is_one_turn():
    found = read(GONE_ON)
    assert [each.question_id for each in found] == ["u", "u", "u"]
    assert last_assistant_row(lines(GONE_ON), "u") == "b"


NOT_ASKED = "Tool permission request failed: AbortError: the stream was closed"
ABANDONED = [
    said("u", "hi"),
    answer("a", use("t"), "u"),
    note("r", result("t", NOT_ASKED, is_error=True), "a"),
    answer("b", text("I could not ask."), "r", "msg_2"),
]


def test_how_a_cli_ended_that_nobody_listened_to_any_more_is_not_shown():
    (_, called) = read(ABANDONED)
    assert [part["type"] for part in called.parts] == ["tool_use"]


def test_what_a_later_question_goes_on_from_is_shown_whatever_it_was():
    found = read([*ABANDONED, said("v", "and now", "b"), answer("c", text("well"), "v", "msg_3")])
    assert [part["type"] for part in found[1].parts] == ["tool_use", "tool_result"]
    assert [each.parts[0].get("text") for each in found[2:]] == [
        "I could not ask.",
        "and now",
        "well",
    ]


def test_a_turn_that_the_models_service_failed_says_so_unless_it_was_answered_after_all():
    def failed(uuid: str, after: str, words: str, kind: str | None) -> dict[str, Any]:
        return {**synthetic(uuid, words, after), "error": kind, "apiErrorStatus": None}

    overloaded = failed("x1", "q1", "API Error: Overloaded", "overloaded")
    found = read([said("q1", "one"), overloaded])
    assert [each.error.code if each.error else None for each in found] == ["claude_overloaded"]
    found = read([said("q1", "one"), overloaded, answer("a1", text("here"), "x1")])
    assert [each.error for each in found] == [None, None]
    limited = failed("x2", "a1", "You have hit your limit", "rate_limit")
    found = read([said("q1", "one"), answer("a1", text("partly"), "q1"), limited])
    assert [each.error.code if each.error else None for each in found] == [
        None,
        "claude_rate_limited",
    ]
    note = {**synthetic("x1", "No response requested.", "q1"), "isApiErrorMessage": False}
    assert [each.error for each in read([said("q1", "one"), note])] == [None]
