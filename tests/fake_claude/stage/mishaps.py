"""What the real CLI cannot be made to do on demand: hang, die, rave, flood."""

from __future__ import annotations

import _signal as signal
import itertools
import os
import time

from . import scenes
from .wire import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .performer import Performer
    from .process import Process

Reason = tuple[int | None, str]
NOT_REACHED: Reason = (None, "unknown")
_OVERLOADED: Reason = (529, "overloaded")
_REASONS: dict[str, Reason] = {
    "401": (401, "authentication_failed"),
    "429_key": (429, "rate_limit"),
    "500": (500, "server_error"),
    "unreachable": NOT_REACHED,
}
_RETRY_MS = 50
_MAX_RETRIES = 10
_FLOOD_TOKENS = 256
_STDERR_BLOCK = 1 << 16
_GARBAGE = (
    b"not json at all\n",
    b"\0\0\0\n",
    b'{"type":"stream_event","event":{"type":"content_block_del\n',
    b'{"type":"assistant","message":{"content":[{"type":"text","text":"\xff\xfe\xc3"}]\n',
    b'\xef\xbb\xbf{"type":"keep_alive"}\n',
    b"\n",
    b"   \t \r\n",
    b"5\n",
    b'"a string"\n',
    b"null\n",
    b"true\n",
    b"[1,2,3]\n",
    b"NaN\n",
    b"{}\n",
    b'{"no":"type"}\n',
    b'{"type":null}\n',
    b'{"type":{"a":1}}\n',
    b'{"type":"something_new","text":"never shown"}\n',
    b'{"type":"system"}\n',
    b'{"type":"system","subtype":"something_new"}\n',
    b'{"type":"stream_event"}\n',
    b'{"type":"stream_event","event":null}\n',
    b'{"type":"stream_event","event":{"type":"something_new"}}\n',
    b'{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":null}}\n',
    b'{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"new_delta"}}}\n',
    b'{"type":"assistant","message":null}\n',
    b'{"type":"user","message":{"role":"user","content":5}}\n',
    b'{"type":"control_response"}\n',
    b"[" * 5000 + b"]" * 5000 + b"\n",
)
_litter = itertools.cycle(_GARBAGE)


def play_silent(turn: Performer) -> None:
    """The mishaps that leave no event at all."""
    if "deaf" in turn.script:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        turn.process.config.log.add("deaf")
        while True:
            time.sleep(turn.process.config.lifetime_s)
    if "nonsense" in turn.script:
        turn.process.wire.write(b"".join(_GARBAGE))
        turn.process.leave(0)


def play_before_answer(turn: Performer) -> None:
    """What comes between the turn's opening and its answer, in the order it was asked for."""
    for name, argument in turn.script.directions.items():
        if name in _BEFORE_ANSWER:
            _BEFORE_ANSWER[name](turn, argument)
        elif name in _AFTER_TOKENS:
            turn.after_tokens = _AFTER_TOKENS[name]


def retry(turn: Performer, attempt: int, seconds: float, reason: Reason) -> None:
    """One api_retry and the wait it tells of."""
    status, error = reason
    turn.blanks.tell(
        attempt=attempt,
        retries=_MAX_RETRIES,
        retry_ms=int(seconds * 1000),
        retry_status=status,
        retry_error=error,
    )
    turn.scene("api_retry")
    turn.process.wait(seconds)


def flood(turn: Performer, count: int) -> None:
    """Deltas in blocks made once, so that their UUIDs repeat from block to block."""
    lines: list[bytes] = []
    tokens = [f"{number:02x} " for number in range(_FLOOD_TOKENS)]
    for token in tokens:
        turn.blanks.tell(token=token)
        lines += [
            f"{line.fill(turn.blanks.value)}\n".encode()
            for line in scenes.load("token")
            if isinstance(line, scenes.Line)
        ]
    blocks, rest = divmod(count, _FLOOD_TOKENS)
    block = b"".join(lines)
    for _ in range(blocks):
        turn.blanks.say("".join(tokens))
        turn.process.send(block)
        turn.process.wait(0)
    turn.blanks.say("".join(tokens[:rest]))
    turn.process.send(b"".join(lines[:rest]))


def litter(process: Process) -> None:
    """One line that is no event, a different one each time."""
    process.send(next(_litter))


def _pause(turn: Performer, argument: str) -> None:
    turn.process.wait(float(argument) / 1000)


def _retries(turn: Performer, argument: str) -> None:
    count, _, milliseconds = argument.partition(" ")
    reason = _REASONS.get(turn.script.directions.get("fail", ""), _OVERLOADED)
    for attempt in range(1, int(count or 1) + 1):
        retry(turn, attempt, float(milliseconds or _RETRY_MS) / 1000, reason)


def _shout(_: Performer, argument: str) -> None:
    left = int(argument)
    while left > 0:
        complain("e" * (min(left, _STDERR_BLOCK) - 1))
        left -= _STDERR_BLOCK


def _compact(turn: Performer, _: str) -> None:
    turn.scene("compaction")


def _litter_on(turn: Performer, _: str) -> None:
    turn.littering = True


def _hang(turn: Performer, _: str = "") -> None:
    while True:
        turn.process.wait(turn.process.config.lifetime_s)


def _die(turn: Performer) -> None:
    complain("Error: the fake was told to die")
    turn.process.leave(int(turn.script.number("die", 1)))


def _kill(turn: Performer) -> None:
    turn.process.wire.drain(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _close(turn: Performer) -> None:
    turn.process.wire.drain(1)
    turn.process.wire.close()


def _break_off(turn: Performer) -> None:
    turn.process.wire.write(b'{"type":"stream_event","event":{"type":"content_block_delta","ind')
    turn.process.leave(0)


_BEFORE_ANSWER: dict[str, Callable[[Performer, str], None]] = {
    "pause": _pause,
    "retry": _retries,
    "stderr": _shout,
    "compact": _compact,
    "garbage": _litter_on,
    "hang": _hang,
}
_AFTER_TOKENS: dict[str, Callable[[Performer], None]] = {
    "stall": _hang,
    "die": _die,
    "kill": _kill,
    "close": _close,
    "partial": _break_off,
}
