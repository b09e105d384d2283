"""What can be asked of the demo model in plain words."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

from cowork.demo import images
from cowork.demo.directives import ALWAYS, TABLE, Wanted
from cowork.demo.plain_words import ASKED, HELP, understood
from cowork.demo.script import direct
from tests.serving import ROOT

USER = "user"


def asked(question: str) -> Wanted:
    return understood(Wanted(rest=question))


def body(*questions: str, tools: tuple[str, ...] = (), shown: tuple[dict, ...] = ()) -> dict:
    messages: list[dict] = []
    for question in questions:
        messages += [
            {"role": USER, "content": [{"type": "text", "text": question}]},
            {"role": "assistant", "content": [{"type": "text", "text": "ok"}]},
        ]
    del messages[-1]
    messages[-1]["content"] = [*shown, *messages[-1]["content"]]
    return {"messages": messages, "tools": [{"name": name} for name in tools]}


def said(*questions: str, **more) -> str:
    return "".join(direct(body(*questions, **more)).text)


@pytest.mark.parametrize(
    "question", ["help", "Help!", "What can you do?", "what can I ask you?", "please help me"]
)
def test_it_says_what_it_can_be_asked(question: str) -> None:
    assert said(question) == HELP


@pytest.mark.parametrize("line", [line[2:] for line in HELP.splitlines() if line.startswith("- ")])
def test_every_line_of_its_help_is_understood(line: str) -> None:
    examples = line.partition("   (")[0]
    for example in examples.replace(" - and later: ", " / ").replace(", or: ", " / ").split(" / "):
        if "image" in example:
            continue
        scene = direct(body("my name is Ada", example.strip()))
        assert "I cannot think" not in "".join(scene.text), example
        assert scene.text or scene.tools or scene.failure


@pytest.mark.parametrize(
    ("question", "command"),
    [
        ("list the files", "ls -la"),
        ("Please show me all files.", "ls -la"),
        ("read the file src/notes.txt", "cat src/notes.txt"),
        ("run `date -u`", "date -u"),
    ],
)
def test_tools_are_called(question: str, command: str) -> None:
    (call,) = direct(body(question)).tools
    assert (call.name, call.arguments["command"]) == ("Bash", command)


@pytest.mark.parametrize("question", ["read the file a; rm b", "read the file $(x)", "run"])
def test_what_is_no_name_of_a_file_is_no_command(question: str) -> None:
    assert asked(question).tools == ()


def test_thoughts_lengths_silence_and_errors() -> None:
    assert asked("think about the sea").think > 0
    assert "the sea" in said("think about the sea")
    assert len(said("write 300 words").split()) == 300
    assert len(said("tell me a long story about a fox").split()) == 200
    assert asked("be silent for 10 seconds").stall_s == 10
    (tool,) = asked("Please work for 20 seconds.").tools
    assert tool.arguments["command"] == "python3 -c 'import time; time.sleep(20)'"
    assert "sleep(60)" in asked("work for 9999 s").tools[0].arguments["command"]
    assert asked("wait 7 s").stall_s == 5 or asked("wait for 7 s").stall_s == 7
    assert (asked("fail").status, asked("fail").status_times) == (500, ALWAYS)
    limited = asked("fail with 429")
    assert (limited.status, limited.retry_after_s) == (429, 5)


def test_files_a_list_a_sub_agent_and_a_plan_are_tool_calls() -> None:
    assert [call.name for call in asked("write a file").tools] == ["Write"]
    change = asked("Please change the file.")
    assert [call.name for call in (*change.tools, *change.then)] == ["Read", "Edit"]
    assert (
        change.then[0].arguments["old_string"]
        in asked("write a file").tools[0].arguments["content"]
    )
    listed = asked("work through a list")
    states = [
        [each["status"] for each in call.arguments["todos"]]
        for call in (*listed.tools, *listed.then)
    ]
    assert states[0] == ["completed", "in_progress", "pending", "pending"]
    assert states[1] == ["completed", "completed", "in_progress", "pending"]
    (task,) = asked("ask a sub-agent").tools
    assert (task.name, task.arguments["prompt"]) == ("Task", "list the files")


def test_a_plan_is_written_to_the_file_that_the_cli_has_named() -> None:
    (first,) = direct(body("make a plan")).tools
    assert first.name == "EnterPlanMode"
    request = body("make a plan")
    call = {"type": "tool_use", "id": "t", "name": "EnterPlanMode", "input": {}}
    told = "Write it to /home/me/.claude/plans/calm-fox.md"
    result = {"type": "tool_result", "tool_use_id": "t", "content": told}
    request["messages"] += [
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    written, asking = direct(request).tools
    assert (written.name, asking.name) == ("Write", "ExitPlanMode")
    assert written.arguments["file_path"] == "/home/me/.claude/plans/calm-fox.md"


def test_a_question_to_the_user_is_a_tool_where_there_is_one_and_else_words() -> None:
    assert said("ask me a question") == ASKED
    (call,) = direct(body("ask me a question", tools=("Bash", "AskUserQuestion"))).tools
    assert call.name == "AskUserQuestion"
    assert call.arguments["questions"][0]["options"][2]["label"] == "Blue"
    assert said("ask me a question", "blue") == 'You answered: "blue". A good choice.'


def test_it_keeps_the_thread() -> None:
    assert said("one", "two", "what did I ask before?").splitlines() == [
        "In this session you asked:",
        '1. "one"',
        '2. "two"',
    ]
    assert said("what did we talk about?") == "This is your first question in this session."
    many = said(*[f"q{n}" for n in range(1, 31)], "what did I say?").splitlines()
    assert many[0] == "In this session you asked: The last 10 of 30:"
    assert (many[1], many[-1]) == ('21. "q21"', '30. "q30"')


@pytest.mark.parametrize(
    "question",
    [
        "Write a function that adds.",
        "Why did it fail with 500?",
        "I think about it",
        "run!",
        "files",
    ],
)
def test_an_ordinary_question_is_left_alone(question: str) -> None:
    wanted = Wanted(rest=question)
    assert understood(wanted) == wanted


def test_a_directive_says_all_that_is_meant() -> None:
    wanted = Wanted(rest="fail", words=3)
    assert understood(wanted) == wanted


def png(
    colour: tuple[int, ...], *, kind: int, size=(9, 7), filtered: int = 0, palette=b""
) -> bytes:
    """A PNG of one colour; each line with this filter."""
    width, height = size
    channels = len(colour)
    line = bytes(colour) * width
    above = bytes(len(line))
    raw = b""
    for _ in range(height):
        packed = bytearray()
        for at in range(len(line)):
            left = line[at - channels] if at >= channels else 0
            corner = above[at - channels] if at >= channels else 0
            packed.append((line[at] - images._predicted(filtered, left, above[at], corner)) & 0xFF)
        raw += bytes([filtered]) + bytes(packed)
        above = line
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    chunks += [(b"PLTE", palette)] if palette else []
    chunks += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def block(data: bytes) -> dict:
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data)},
    }


def shown(data: bytes) -> str:
    found = block(data)
    found["source"]["data"] = found["source"]["data"].decode()
    return images.describe(found)


@pytest.mark.parametrize("filtered", range(5))
def test_a_pngs_size_and_colour_are_told_whatever_its_filter(filtered: int) -> None:
    told = shown(png((40, 80, 220), kind=2, filtered=filtered))
    assert told == "a PNG image of 9 x 7 pixels, mostly blue"


def test_every_kind_of_png_is_read_or_told_by_its_size() -> None:
    assert shown(png((255,), kind=0)).endswith("mostly white")
    assert shown(png((1,), kind=3, palette=b"\0\0\0\xf0\xdc\x28")).endswith("mostly yellow")
    assert shown(png((0, 255), kind=4)).endswith("mostly black")
    assert shown(png((220, 30, 30, 255), kind=6)).endswith("mostly red")
    cut = png((220, 30, 30), kind=2)[:60]
    assert shown(cut).startswith("a PNG image of 9 x 7 pixels")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GIF89a" + struct.pack("<HH", 640, 480), "a GIF image of 640 x 480 pixels"),
        (
            b"\xff\xd8\xff\xe0" + struct.pack(">H", 4) + b"xx"
            b"\xff\xc2" + struct.pack(">HBHH", 11, 8, 480, 640),
            "a JPEG image of 640 x 480 pixels",
        ),
        (
            b"RIFF\0\0\0\0WEBPVP8X"
            + bytes(8)
            + (639).to_bytes(3, "little")
            + (479).to_bytes(3, "little"),
            "a WebP image of 640 x 480 pixels",
        ),
        (
            b"RIFF\0\0\0\0WEBPVP8L" + bytes(5) + struct.pack("<I", 639 | 479 << 14),
            "a WebP image of 640 x 480 pixels",
        ),
        (
            b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 640, 480),
            "a WebP image of 640 x 480 pixels",
        ),
        (b"BM whatever", "an image of 11 bytes whose kind I do not know"),
        (b"\x89PNG\r\n\x1a\n", "an image of 8 bytes whose kind I do not know"),
        (b"\xff\xd8\xff", "an image of 3 bytes whose kind I do not know"),
    ],
)
def test_other_kinds_are_told_by_their_size(data: bytes, told: str) -> None:
    assert shown(data) == told


def test_what_is_no_base64_is_told() -> None:
    assert images.describe({"source": {"data": "!"}}) == "an image that is no base64"
    assert images.describe({}) == "an image of 0 bytes whose kind I do not know"


def test_an_image_is_part_of_the_answer() -> None:
    picture = block(png((220, 30, 30), kind=2))
    picture["source"]["data"] = picture["source"]["data"].decode()
    answer = said("What is this?", shown=(picture,))
    assert answer == "You sent me a PNG image of 9 x 7 pixels, mostly red."


def test_every_directive_is_documented() -> None:
    text = (ROOT / "docs" / "demo.md").read_text()
    for name, directive in TABLE.items():
        written = f"[[{name} {directive.argument}".rstrip() + "]]"
        assert f"| `{written}` | {directive.meaning} |" in text
