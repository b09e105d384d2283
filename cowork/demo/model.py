"""The demo model, run as a program or inside a test.

    python -m cowork.demo.model --port 0

In a test::

    with serve(delay=0.05) as model:
        ...  # a CLI with ANTHROPIC_BASE_URL=model.url
        assert model.questions == ["What is 2+2?"]
        assert model.exchanges[0].words[4].at > first_token_at
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from cowork.demo.app import create_app
from cowork.demo.directives import TABLE
from cowork.demo.record import Record, RecordedRequest, Word
from cowork.demo.server import Server


class Model:
    """A running demo model and what it was asked."""

    def __init__(self, server: Server, record: Record) -> None:
        self._server, self._record = server, record

    @property
    def url(self) -> str:
        """What the CLI gets as ``ANTHROPIC_BASE_URL``."""
        return self._server.url

    @property
    def exchanges(self) -> list[RecordedRequest]:
        """The latest requests for an answer, oldest first, side requests included."""
        return self._record.exchanges()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of those requests."""
        return [exchange.body for exchange in self.exchanges]

    @property
    def questions(self) -> list[str]:
        """Every question of a user, once, however many requests its answer took."""
        asked = {
            (e.session, e.number, e.question): e.question
            for e in self.exchanges
            if e.kind == "question"
        }
        return list(asked.values())

    @property
    def words_written(self) -> list[list[Word]]:
        """For each request the pieces of text that went out, with their times."""
        return [list(exchange.words) for exchange in self.exchanges]

    def wait_until(self, true: Callable[[Model], bool], timeout: float = 10.0) -> bool:
        """Wait until something is true of the model; whether it came true in time (seconds)."""
        return self._record.wait_until(lambda: true(self), timeout)

    def close(self) -> None:
        """Cut every connection, stop listening, leave no thread behind."""
        self._server.close()


@contextlib.contextmanager
def serve(
    *,
    delay: float = 0.05,
    host: str = "127.0.0.1",
    port: int = 0,
    log: Path | None = None,
    keep: int = 1000,
) -> Iterator[Model]:
    """Run a demo model in threads of this process.

    ``delay`` is in seconds between words; port 0 takes a free one; ``log`` gets a line of JSON
    for each request when it ends; ``keep`` is how many exchanges are remembered.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(log.open("ab", buffering=0)) if log else None
        record = Record(keep, _logger(file) if file else None)
        server = Server(host, port, create_app(record, delay))
        server.start()
        model = Model(server, record)
        stack.callback(model.close)
        yield model


def _logger(file: IO[bytes]) -> Callable[[RecordedRequest], None]:
    def write(exchange: RecordedRequest) -> None:
        line = {
            "time": time.time(),
            "kind": exchange.kind,
            "session": exchange.session,
            "question": exchange.question,
            "status": exchange.status,
            "ending": exchange.ending,
            "words": len(exchange.words),
            "seconds": round((exchange.ended_at or exchange.at) - exchange.at, 4),
        }
        file.write(orjson.dumps(line) + b"\n")

    return write


def main(arguments: list[str] | None = None) -> None:
    """Run the demo model until SIGINT or SIGTERM."""
    chosen = _arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        serve(
            delay=chosen.delay_ms / 1000,
            host=chosen.host,
            port=chosen.port,
            log=chosen.log,
            keep=50,
        ) as model,
    ):
        sys.stdout.write(f"demo model listening on {model.url}\n")
        sys.stdout.flush()
        signal.pause()


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m cowork.demo.model",
        description="A stand-in for the Anthropic Messages API that needs no account.",
        epilog="in a question:\n" + "\n".join(_directives()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--delay-ms", type=float, default=50.0, help="between words (50)")
    parser.add_argument("--log", type=Path, help="a file that gets a line for each request")
    return parser.parse_args(arguments)


def _directives() -> Iterator[str]:
    """A line of help for each directive."""
    for name, directive in TABLE.items():
        written = f"[[{name} {directive.argument}".rstrip() + "]]"
        yield f"  {written:26}{directive.meaning}"


if __name__ == "__main__":
    main()
