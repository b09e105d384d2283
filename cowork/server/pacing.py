"""Leaves time for streams while requests come flat out.

gevent looks at the clock after fifty greenlets only: where as many requests are ready at once, what
CLIs write meanwhile would wait for all of them.
"""

from __future__ import annotations

import re
import time
from collections import deque

import gevent
from gevent.event import Event

# Of a round of the event loop requests may take so long.
ROUND_S = 0.005
# The paths that are answered by a stream; those of other APIs are, unless the request says no.
_STREAM_PATH = re.compile(
    r".*/(ask_question_streaming|events)"
    r"|/v1/(chat/completions|messages|responses(/[^/]+)?)"
    r"|/api/chat(/[^/]+/stream)?"
)
# A timer that is due at once is looked at in the next round.
NEXT_ROUND_S = 1e-6


def is_stream_path(path: str) -> bool:
    """Whether requests of this path are answered by a stream, as a rule."""
    return _STREAM_PATH.fullmatch(path) is not None


class RequestPacer:
    """Lets requests go on in the order in which they came, so many a round as there is time for.

    For the greenlets of one event loop; as many wait at most as there are connections.  While no
    stream is open (`streams`) nobody waits: it costs a sixth of what whole answers can be had.
    """

    def __init__(self) -> None:
        self.streams = 0
        self._round = -1
        self._began = 0.0
        self._waiting: deque[Event] = deque()
        self._is_pacing = False

    def wait(self) -> None:
        """Wait for this request's place in a round; nearly always there is time in this one."""
        if not self.streams or (not self._waiting and self._has_time()):
            return
        place = Event()
        self._waiting.append(place)
        if not self._is_pacing:
            self._is_pacing = True
            gevent.spawn(self._pace)
        place.wait()

    def _has_time(self) -> bool:
        now, current = time.monotonic(), gevent.get_hub().loop.iteration
        if current != self._round:
            self._round, self._began = current, now
        return now - self._began < ROUND_S

    def _pace(self) -> None:
        try:
            while self._waiting:
                if self._has_time():
                    self._waiting.popleft().set()
                    gevent.sleep(0)  # to whose turn it is
                else:
                    gevent.sleep(NEXT_ROUND_S)
        finally:
            self._is_pacing = False
