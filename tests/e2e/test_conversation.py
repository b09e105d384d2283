"""What is read of a real session's transcript, beside what the model was sent of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cowork.claude.command import prompt
from cowork.claude.conversation import (
    ConversationMessage,
    last_assistant_row,
    read_conversation,
)
from cowork.demo.model import Model, serve
from tests import program
from tests.fake_claude.driver import ARGUMENTS, Cli, Event
from tests.serving import wait_for

pytestmark = pytest.mark.e2e

# Works until there is a file that tells it to end.
UNTIL = "python3 -c \"import pathlib, time; [time.sleep(.05) for _ in iter(pathlib.Path('{}').exists, True)]\""


def bash(command: str) -> str:
    return f"[[tool Bash {json.dumps({'command': command})}]]"


def png() -> str:
    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff\0\0" * 4) * 4))
    image = b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
    return base64.b64encode(image).decode()


@dataclass(slots=True)
class Session:
    """One session over several processes; what was asked is known by a name."""

    claude: str
    folder: Path
    model: Model
    asked: dict[str, str] = field(default_factory=dict)
    sent: dict[str, list[Event]] = field(default_factory=dict)
    """The messages that the model was sent last, when a name was kept."""
    kept: dict[str, list[bytes]] = field(default_factory=dict)
    """The transcript as it was then."""
    id: str | None = None

    def start(self, *more: str) -> Cli:
        environment = {
            "PATH": os.environ["PATH"],
            "ANTHROPIC_BASE_URL": self.model.url,
            "ANTHROPIC_API_KEY": "sk-dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **program.QUIET,
        }
        arguments = (*ARGUMENTS, "--allowedTools=Bash", *more)
        cli = Cli(
            Path(self.claude),
            self.folder,
            resume=self.id,
            environment=environment,
            arguments=arguments,
        )
        self.id = cli.session
        return cli

    def ask(self, cli: Cli, name: str, content: object) -> int:
        """Ask; the number of the first event that comes after it."""
        first = len(cli.events)
        self.asked[name] = f"00000000-0000-4000-8000-{len(self.asked):012}"
        body = {"role": "user", "content": content}
        row = {"type": "user", "message": body, "uuid": self.asked[name]}
        cli.send(json.dumps(row).encode() + b"\n")
        return first

    def answered(self, cli: Cli, name: str, content: object) -> None:
        ended(cli, self.ask(cli, name, content))

    def lines(self) -> list[bytes]:
        (path,) = self.folder.glob(f"home/.claude/projects/*/{self.id}.jsonl")
        return path.read_bytes().splitlines(keepends=True)

    def keep(self, name: str) -> None:
        self.sent[name] = self.model.requests[-1]["messages"]
        self.kept[name] = self.lines()

    def read(self, name: str) -> list[ConversationMessage]:
        return read_conversation(self.kept[name])


def ended(cli: Cli, first: int) -> None:
    cli.wait_for(lambda event: event.get("state") == "idle", after=first)


def interrupt(cli: Cli, first: int, when: Callable[[Event], bool]) -> None:
    cli.wait_for(when, after=first)
    cli.control("interrupt")
    ended(cli, first)


def is_fifth_word(event: Event) -> bool:
    delta = (event.get("event") or {}).get("delta") or {}
    return "word5" in delta.get("text", "")


def is_call(event: Event) -> bool:
    content = (event.get("message") or {}).get("content") or [{}]
    return event["type"] == "assistant" and content[-1].get("type") == "tool_use"


def is_queued(event: Event) -> bool:
    return event["type"] == "command_lifecycle" and event["state"] == "queued"


def close(cli: Cli) -> None:
    cli.close_stdin()
    cli.wait()


@pytest.fixture(scope="module")
def session(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session in which everything has happened once."""
    folder = tmp_path_factory.mktemp("conversation")
    skill = folder / "home/.claude/skills/greet/SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: greet\ndescription: greets\n---\nGreet: $ARGUMENTS\n")
    with serve(delay=0.001) as model, ExitStack() as stack:
        made = Session(real_claude, folder, model)
        with made.start() as cli:
            before_compaction(made, cli)
            compaction(made, cli)
            made.ask(cli, "killed", bash(UNTIL.format("never")))
            wait_for(lambda: has_called(made), what="a call in the transcript")
        (folder / "never").touch()  # its CLI was killed: nobody else ends it
        with made.start() as cli:
            made.answered(cli, "resumed", "[[say I am back]]")
            close(cli)
        made.keep("resumed")
        cut = last_assistant_row(made.kept["resumed"], made.asked["after"])
        with made.start(f"--resume-session-at={cut}") as cli:
            made.answered(cli, "rewound", "[[say another way]]")
            close(cli)
        made.keep("rewound")
        with made.start() as cli:
            made.answered(cli, "on", "[[say and on]]")
            close(cli)
        made.keep("on")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield made


def before_compaction(made: Session, cli: Cli) -> None:
    tools = f"[[think 3]] {bash('echo one')} {bash('echo two')} [[say both]]"
    made.answered(cli, "tools", tools)
    source = {"type": "base64", "media_type": "image/png", "data": png()}
    paper = {"type": "text", "media_type": "text/plain", "data": "words"}
    made.answered(
        cli,
        "image",
        [
            {"type": "text", "text": "look"},
            {"type": "image", "source": source},
            {"type": "document", "title": "a.txt", "source": paper},
        ],
    )
    earlier = [("a question", "an answer")]
    sent = prompt("/config [[say as text]]", None, slash_commands=False, earlier=earlier)
    made.answered(cli, "slash", sent)
    first = made.ask(cli, "steered", f"{bash(UNTIL.format('go'))} [[say this]]")
    cli.wait_for(is_call, after=first)
    before = len(cli.events)
    made.ask(cli, "steer", "slip in [[say this]]")
    cli.wait_for(is_queued, after=before)
    (made.folder / "go").touch()
    ended(cli, first)
    interrupt(cli, made.ask(cli, "cut", "[[words 500]] [[delay 20]]"), is_fifth_word)
    interrupt(cli, made.ask(cli, "stopped", bash(UNTIL.format("never"))), is_call)
    sent = prompt("you <b>", "greet", slash_commands=False, earlier=earlier)
    made.answered(
        cli, "skill", [{"type": "image", "source": source}, {"type": "text", "text": sent}]
    )
    made.answered(cli, "failed", "[[status 400]] x")
    made.answered(cli, "last", "[[say the last]]")
    made.keep("whole")


def compaction(made: Session, cli: Cli) -> None:
    cli.control("set_model", model="haiku")
    made.answered(cli, "compact", "/compact")
    cli.control("rename_session", title="A title")
    wait_for(lambda: any("of-rename_session" in json.dumps(e) for e in cli.events), what="a title")
    made.answered(cli, "after", f"{bash('echo later')} [[say after it]]")


def has_called(made: Session) -> bool:
    """Whether the last call is in the transcript: a kill just before would lose its turn."""
    return any(part["type"] == "tool_use" for part in read_conversation(made.lines())[-1].parts)


def outline(messages: list[ConversationMessage]) -> list[str]:
    """Each message in a line: role, state where it is not complete, and its parts."""
    lines = []
    for message in messages:
        parts = [
            f"{part['type']} {part.get('text', part.get('content', ''))[:8]!r}"
            for part in message.parts
        ]
        state = "" if message.state == "complete" else f" {message.state}"
        lines.append(f"{message.role}{state}: {', '.join(parts)}")
    return lines


SAID = "tools, image, slash, steered, steer, cut, stopped, skill, failed, last"
BEFORE = """
user: text '[[think '
assistant: thinking 'thought1', text 'I will u', tool_use '', tool_result 'one', tool_use '', \
tool_result 'two'
assistant: text 'both'
user: text 'look', image '', document ''
assistant: text 'You sent'
user: text '/config '
assistant: text 'as text'
user: text '[[tool B'
assistant: text 'I will u', tool_use '', tool_result '(Bash co'
user: text 'slip in '
assistant: text 'this'
user: text '[[words '
assistant interrupted: text 'word1 wo'
user: text '[[tool B'
assistant interrupted: text 'I will u', tool_use '', tool_result 'The user'
user: text 'you <b>', image ''
assistant: text 'You sent'
user: text '[[status'
user: text '[[say th'
assistant: text 'the last'
""".strip().split("\n")
AFTER = """
assistant: summary 'The user'
user: text '[[tool B'
assistant: text 'I will u', tool_use '', tool_result 'later'
assistant: text 'after it'
""".strip().split("\n")
RESUMED = """
user: text '[[tool B'
assistant interrupted: text 'I will u', tool_use '', tool_result '[Tool ca'
user: text '[[say I '
assistant: text 'I am bac'
""".strip().split("\n")
REWOUND = """
user: text '[[say an'
assistant: text 'another '
""".strip().split("\n")
ON = """
user: text '[[say an'
assistant: text 'and on'
""".strip().split("\n")


def test_the_conversation_is_what_was_said_and_nothing_else(session: Session) -> None:
    assert outline(session.read("whole")) == BEFORE
    assert outline(session.read("resumed")) == [*BEFORE, *AFTER, *RESUMED]


def test_each_message_has_the_uuid_that_it_was_sent_with_and_its_turns(session: Session) -> None:
    messages = session.read("whole")
    names = {uuid: name for name, uuid in session.asked.items()}
    assert [names[each.id] for each in messages if each.role == "user"] == SAID.split(", ")
    for each in messages:
        turn = names[each.question_id or ""]
        assert each.role == "assistant" or turn == {"steer": "steered"}.get(
            names[each.id], names[each.id]
        )
        assert each.usage if each.role == "assistant" else each.usage is None
    summary = session.read("resumed")[len(BEFORE)]
    assert names[summary.question_id or ""] == "compact"


def test_it_is_what_the_model_was_sent(session: Session) -> None:
    ours, sent = session.read("whole"), session.sent["whole"]
    # It was asked before the last answer was there.
    assert spoken(ours)[:-1] == sent_as_the_models(sent)
    words = json.dumps([each for each in sent if each["role"] != "assistant"])
    parts = [part for each in ours for part in each.parts]
    for part in (part for each in ours if each.role == "user" for part in each.parts):
        assert json.dumps(part.get("text", ""))[1:-1] in words
    results = {part["id"]: part["content"] for part in parts if part["type"] == "tool_result"}
    assert results == results_sent(sent)


def test_after_a_rewind_it_is_the_branch_that_the_model_goes_on_with(session: Session) -> None:
    assert outline(session.read("rewound")) == [*BEFORE, *AFTER, *REWOUND]
    assert outline(session.read("on")) == [*BEFORE, *AFTER, *REWOUND, *ON]
    after = session.read("on")[len(BEFORE) + 1 :]
    sent = sent_as_the_models(session.sent["on"])
    # A compaction keeps the last answer before it.
    assert sent == [("text", "the last"), *spoken(after)[:-1]]


def test_a_summary_is_without_the_clis_words_and_paths(session: Session) -> None:
    (summary,) = [
        part["text"]
        for each in session.read("resumed")
        for part in each.parts
        if part["type"] == "summary"
    ]
    for hidden in ("continued from a previous", "<system-reminder>", ".jsonl", "Resume directly"):
        assert hidden not in summary


def test_no_row_from_before_a_compaction_is_offered_to_cut_at(session: Session) -> None:
    lines = session.kept["on"]
    assert last_assistant_row(lines, session.asked["last"]) is None
    assert last_assistant_row(lines, session.asked["killed"]) is None
    assert last_assistant_row(lines, session.asked["rewound"]) is not None


def test_a_transcript_that_is_cut_at_any_line_is_read_as_far(session: Session) -> None:
    lines = session.kept["whole"]
    whole = session.read("whole")
    for end in range(len(lines)):
        part = read_conversation([*lines[:end], lines[end][: len(lines[end]) // 2]])
        assert [each.id for each in part] == [each.id for each in whole[: len(part)]]


def test_the_sdks_reader_finds_the_same(session: Session) -> None:
    sessions = pytest.importorskip(
        "claude_agent_sdk._internal.sessions",
        reason="the SDK's own requirements are not installed",
        exc_type=ImportError,
    )
    for name in ("whole", "rewound"):
        entries = sessions._parse_transcript_entries(b"".join(session.kept[name]).decode())
        theirs = sessions._entries_to_session_messages(entries, None, 0)
        bodies = [each.message for each in theirs if each.type == "assistant"]
        words = sent_as_the_models([each for each in bodies if each["model"] != "<synthetic>"])
        # It begins with the last compaction, or where that is passed by, with all before.
        assert len(words) >= len(spoken(session.read(name)[len(BEFORE) :]))
        assert words == spoken(session.read(name))[-len(words) :]


def spoken(messages: list[ConversationMessage]) -> list[tuple[str, str]]:
    """What the model said, in order: texts, thoughts and the ids of calls."""
    parts = [part for each in messages if each.role == "assistant" for part in each.parts]
    return [
        (part["type"], part.get("text") or part["id"])
        for part in parts
        if part["type"] in ("text", "thinking", "tool_use")
    ]


def sent_as_the_models(messages: list[Event]) -> list[tuple[str, str]]:
    blocks = [
        block
        for each in messages
        if each["role"] == "assistant"
        for block in blocks_of(each["content"])
    ]
    return [
        (block["type"], block.get("text") or block.get("thinking") or block["id"])
        for block in blocks
        if block["type"] in ("text", "thinking", "tool_use")
    ]


def results_sent(messages: list[Event]) -> dict[str, str]:
    blocks = [block for each in messages for block in blocks_of(each["content"])]
    return {
        block["tool_use_id"]: block["content"] for block in blocks if block["type"] == "tool_result"
    }


def blocks_of(content: Any) -> list[Event]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
