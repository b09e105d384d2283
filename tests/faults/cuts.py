"""Streams that are cut anywhere, in the middle of a frame too, and resumed."""

from __future__ import annotations

import json
from random import Random

import requests

from tests.faults.environment import Ground, fresh
from tests.faults.report import Row
from tests.serving import Client, Frame, frames, joined

SETTINGS = {"COWORK_DISCONNECT_GRACE": "10"}
CUTS = 4
LONGEST_CUT = 4000


def run(ground: Ground, row: Row, count: int) -> None:
    """Each stream is read to its end by one or two readers that are cut up to four times."""

    def cut(number: int) -> None:
        dice = ground.dice("cut", number)
        words = dice.randrange(5, 120)
        client = fresh(ground.server)
        text = f"[[words {words}]] [[delay {dice.randrange(0, 12)}]] {number}"
        with client.stream(text, f"c{number % 12}") as reply:
            turn_id = reply.headers["X-Turn-ID"]
            first = _cut_off(reply, dice.randrange(1, LONGEST_CUT))
        readers = [_resume(client, turn_id, first, dice)]
        if number % 2:
            readers.append(_resume(client, turn_id, [], ground.dice("second", number)))
        with client.get(f"/turns/{turn_id}/events", stream=True) as whole:
            uncut = list(frames(whole))
        said = " ".join(f"w{n}" for n in range(1, words + 1))
        row.check(joined(uncut) == said, f"stream {number}: the uncut text is another")
        for seen in readers:
            row.saw("whole again" if seen == uncut else "not whole")
            row.check(seen == uncut, f"stream {number}: {_difference(seen, uncut)}")
        row.did()
        client.close()

    ground.each(cut, count)
    left = ground.settled()
    row.check(left is None, f"after all cuts: {left}")


def _resume(client: Client, turn_id: str, seen: list[Frame], dice: Random) -> list[Frame]:
    """Come back for the rest, be cut again a few times, then read to the end."""
    for left in reversed(range(dice.randrange(1, CUTS + 1))):
        headers = {"Last-Event-ID": str(seen[-1].id)} if seen else {}
        path = f"/turns/{turn_id}/events"
        with client.get(path, headers=headers, stream=True) as reply:
            if reply.status_code == 204:
                return seen
            size = dice.randrange(1, LONGEST_CUT) if left else None
            seen = seen + _cut_off(reply, size)
    return seen


def _cut_off(reply: requests.Response, size: int | None) -> list[Frame]:
    """The whole frames among the first `size` bytes, or all there are; then the line is cut."""
    data = b""
    for block in reply.iter_content(None):
        data += block
        if size is not None and len(data) >= size:
            data = data[:size]
            break
    whole = data.rpartition(b"\n\n")[0].decode()
    return [_parse(part) for part in whole.split("\n\n") if "data: " in part]


def _parse(text: str) -> Frame:
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    return Frame(fields.get("id"), json.loads(fields["data"]))


def _difference(seen: list[Frame], uncut: list[Frame]) -> str:
    ids, whole = [frame.id for frame in seen], [frame.id for frame in uncut]
    missing = [each for each in whole if each not in ids]
    twice = [each for each in set(ids) if ids.count(each) > 1]
    return f"{len(missing)} frames missing, {len(twice)} twice, of {len(whole)}"
