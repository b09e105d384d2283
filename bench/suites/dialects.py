"""A client that sends its whole conversation each time, beside one that asks natively."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from bench.cli import Model, Timing, account
from bench.client import complete, serve, stream
from bench.figures import Measure, Spread
from bench.server import Server
from bench.setup import Report, Setup

# A history of a hundred words an answer; 50 turns of it have 30 KiB.
QUESTION = "[[words 100]]"
TURNS = 50
SHOWN = (2, 10, 25, 50)
# One turn says little: each figure is the median of as many before it and behind it, of all chats.
AROUND = 2
BAR = 1.3


@dataclass(slots=True)
class Chat:
    """What was measured of a chat and of a project, turn by turn."""

    name: str
    messages: list[dict[str, str]] = field(default_factory=list)
    chat: list[Timing] = field(default_factory=list)
    native: list[Timing] = field(default_factory=list)

    def ask(self, server: Server) -> None:
        """A turn of each."""
        self.native.append(stream(server, self.name, QUESTION))
        # A first word of its own, so that no two chats are alike.
        self.messages.append({"role": "user", "content": f"{QUESTION} {self.name}"})
        timing, answer = complete(server, self.messages)
        self.messages.append({"role": "assistant", "content": answer})
        self.chat.append(timing)


def run(setup: Setup) -> Report:
    """Some chats of 50 turns, each beside a project, turn by turn."""
    turns = setup.pick(TURNS, 10)
    chats = [Chat(f"chat {number}") for number in range(setup.pick(4, 1))]
    with (
        Model() as model,
        serve(setup, "dialects", setup.real(), **account(model)) as server,
    ):
        for chat in chats:
            for _ in range(turns):
                chat.ask(server)
            _check_one_process(server, chat)
    report = Report(details={"chats": chats})
    _tell(report, chats, turns)
    return report


def _check_one_process(server: Server, chat: Chat) -> None:
    """All turns of the chat were answered by one process, and all of the project's too."""
    processes = server.request("GET", "/processes")[1]["processes"]
    turns = sorted(each["turns"] for each in processes if each["turns"])[-2:]
    if turns != [len(chat.chat)] * 2:
        raise RuntimeError(f"the chat did not stay in its process: {processes}")


def _tell(report: Report, chats: list[Chat], turns: int) -> None:
    rows = [["turn", "chat, first token ms", "natively", "of that"]]
    for turn in [turn for turn in SHOWN if turn <= turns]:
        chat, native = (_around(chats, turn, kind) for kind in ("chat", "native"))
        ratio = f"{chat.median / native.median:.2f} x"
        rows.append([str(turn), str(chat), str(native), ratio])
    report.show(rows)
    later = [
        median(timing.first_ms for each in chats for timing in getattr(each, kind)[1:])
        for kind in ("chat", "native")
    ]
    last = [_around(chats, turns, kind).median for kind in ("chat", "native")]
    report.measures = [
        _measure(f"first token of a chat's turns 2 to {turns}, of the native endpoint's", later),
        _measure(f"first token of a chat's turn {turns}, of the native endpoint's", last),
    ]


def _around(chats: list[Chat], turn: int, kind: str) -> Spread:
    """The first tokens around that turn (from 1) but for the first, which starts a process."""
    begin = max(turn - 1 - AROUND, 1)
    found = [getattr(chat, kind)[begin : turn + AROUND] for chat in chats]
    return Spread.of([timing.first_ms for some in found for timing in some])


def _measure(name: str, first: list[float]) -> Measure:
    ratio = first[0] / first[1]
    return Measure(name, f"<= {BAR:g} x", f"{ratio:.2f} x", ratio <= BAR)
