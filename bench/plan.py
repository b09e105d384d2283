"""What a load is told to do; it travels to `load.py` as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Streams:
    """`count` streams, each of its own project, from number `first` on.

    `question` has places for `{at}` and `{phase}`, if they are to begin together.

    They begin `lead_s` after the last was asked, spread over `spread_s`; `tokens` is what each
    must bring; `numbered` ones have ids.  What is measured begins when the last has begun and
    lasts `window_s`, or until the last has ended (0).
    """

    count: int
    question: str
    tokens: int
    lead_s: float = 1.0
    spread_s: float = 0.0
    window_s: float = 0.0
    first: int = 0
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests on `connections` that stay open, for `seconds`.

    With a `rate` (a second) each is due at its time, whether or not the one before has been
    answered (open loop); without, each connection asks again as soon as it has its answer.
    `{n}` in the body is the connection's number.
    """

    connections: int
    seconds: float
    path: str
    rate: float = 0.0
    body: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the server on `port`, whose worker is process `worker`; `limit_s` is all."""

    port: int
    worker: int
    limit_s: float
    streams: Streams | None = None
    requests: Requests | None = None


def parse(text: bytes) -> Plan:
    """A plan from the JSON of `asdict(plan)`."""
    said = json.loads(text)
    streams, requests = said.pop("streams"), said.pop("requests")
    return Plan(
        **said,
        streams=Streams(**streams) if streams else None,
        requests=Requests(**requests) if requests else None,
    )


def dump(plan: Plan) -> bytes:
    """A plan as JSON."""
    return json.dumps(asdict(plan)).encode()
