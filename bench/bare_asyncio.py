"""The least that a relay on asyncio can be, to compare with: plain frames, answers, `/health`.

What a server in Python costs that keeps nothing, checks nothing and ends nothing well: blocks of a
pipe, one regular expression, a socket; a resident process for each project.

`python -m bench.bare_asyncio FAKE` prints its port and serves until its stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from bench.bare import Bare, serving
from bench.fake import MESSAGE

BLOCK = 64 * 1024
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n"
)
_TOKEN = b'data: {"type": "token", "token": '
_NEXT = b"}\n\n" + _TOKEN
_END = b'data: {"done": true, "success": true}\n\n'
_LENGTH = re.compile(rb"(?i)content-length: ([0-9]+)")
_TEXT = re.compile(rb'"text_delta","text":("[^"\\]*(?:\\.[^"\\]*)*")')
_IDLE = b'"state":"idle"'


class Cli:
    """A resident process, which answers one question at a time."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.lock = asyncio.Lock()

    async def ask(self, question: str) -> AsyncIterator[list[bytes]]:
        """The tokens of its answer as JSON strings, as they come."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(MESSAGE % (question.encode(), b"bare-1"))
        rest = b""
        while True:
            block = await self._child.stdout.read(BLOCK)
            lines, end, rest = (rest + block).rpartition(b"\n")
            if found := _TEXT.findall(lines + end):
                yield found
            if _IDLE in lines or not block:
                return


class Relay:
    """Serves connections, one request after the other."""

    def __init__(self, fake: str) -> None:
        self._fake = fake
        self._clis: dict[str, Cli] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b"{}"
                if path == b"/ask_question_streaming":
                    await self._stream(json.loads(body), writer)
                    break
                reply = await self._answer(json.loads(body)) if length else b'{"status":"live"}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(reply), reply)
                )
                await writer.drain()
        writer.close()

    async def _cli(self, project: str) -> Cli:
        if project not in self._clis:
            child = await asyncio.create_subprocess_exec(
                self._fake,
                "--session-id=bare",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={},
            )
            self._clis[project] = Cli(child)
        return self._clis[project]

    async def _answer(self, asked: dict[str, str]) -> bytes:
        cli = await self._cli(asked["project_name"])
        async with cli.lock:
            said = [text async for some in cli.ask(asked["question"]) for text in some]
        return json.dumps({"message": "".join(map(json.loads, said))}).encode()

    async def _stream(self, asked: dict[str, str], writer: asyncio.StreamWriter) -> None:
        cli = await self._cli(asked["project_name"])
        writer.write(_HEAD)
        async with cli.lock:
            async for some in cli.ask(asked["question"]):
                frames = _TOKEN + _NEXT.join(some) + b"}\n\n"
                writer.write(b"%x\r\n%b\r\n" % (len(frames), frames))
                await writer.drain()
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(_END), _END))
        await writer.drain()


def in_asyncio(fake: Path) -> AbstractContextManager[Bare]:
    """A bare relay on asyncio over that fake CLI."""
    return serving([sys.executable, "-m", "bench.bare_asyncio", str(fake)])


async def _main(fake: str) -> None:
    relay = Relay(fake)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
