"""A `WorkerStore` in memory, shared by the workers of a test."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace

from cowork.errors import StoreUnavailable
from cowork.model import TranscriptState


class Hub:
    """What all of them share."""

    def __init__(self):
        self.changed = threading.Condition()
        self.inboxes = defaultdict(list)
        self.gone = set()
        self.away = False
        self.workers = []
        self.assigned = {}
        self.accepted = set()
        self.withdrawn = set()
        self.events = defaultdict(list)
        self.transcripts = {}
        self.states = {}
        self.numbers = iter(range(1, 10**9))

    def join(self, holder):
        self.inboxes[holder] = []
        return Others(self, holder)


class Others:
    """One worker's view."""

    def __init__(self, hub, holder):
        self.hub, self.holder = hub, holder

    def _check(self):
        if self.hub.away:
            raise StoreUnavailable("away")

    def workers(self):
        self._check()
        return self.hub.workers

    def deregister(self):
        self.hub.workers = [each for each in self.hub.workers if each.holder != self.holder]

    def assign(self, project, candidate):
        self._check()
        found = self.hub.assigned.get(project)
        if found is None or found in self.hub.gone:
            found = self.hub.assigned[project] = candidate
        return found

    def find_workers(self, project):
        return [self.hub.assigned[project]] if project in self.hub.assigned else []

    def send(self, worker, message, ttl_s=0.0):
        self._check()
        del ttl_s
        with self.hub.changed:
            if worker in self.hub.gone or worker not in self.hub.inboxes:
                return None
            entry = f"{next(self.hub.numbers):012}"
            self.hub.inboxes[worker].append(replace(message, id=entry))
            self.hub.changed.notify_all()
            return entry

    def take(self, messages):
        self._check()
        with self.hub.changed:
            mine = self.hub.inboxes[self.holder]
            found = [each for each in messages if each in mine]
            self.hub.inboxes[self.holder] = [each for each in mine if each not in found]
            return found

    def withdraw(self, worker, message_id, turn_id=""):
        self._check()
        with self.hub.changed:
            mine = self.hub.inboxes[worker]
            self.hub.inboxes[worker] = [each for each in mine if each.id != message_id]
            if turn_id in self.hub.accepted:
                return True
            self.hub.withdrawn.add(turn_id)
            return False

    def publish(self, turn_id, events):
        self._check()
        with self.hub.changed:
            entry = f"{next(self.hub.numbers):012}"
            self.hub.events[turn_id].append(replace(events, id=entry))
            self.hub.changed.notify_all()

    def published(self, turn_id, after="0"):
        self._check()
        return [each for each in self.hub.events[turn_id] if each.id > after]

    def receive(self, after, followed, timeout_s):
        def found():
            messages = [each for each in self.hub.inboxes[self.holder] if each.id > after]
            events = {
                turn_id: [each for each in self.hub.events[turn_id] if each.id > place]
                for turn_id, place in followed.items()
            }
            return messages, {turn_id: each for turn_id, each in events.items() if each}

        self._check()
        with self.hub.changed:
            self.hub.changed.wait_for(lambda: any(found()) or self.hub.away, timeout_s)
        self._check()
        return found()

    def transcript_state(self, session_id):
        self._check()
        return self.hub.states.get(session_id, TranscriptState())

    def put_transcript(self, session, claim, known, new, data):
        self._check()
        del claim
        if self.transcript_state(session.id) != known:
            return False
        before = self.hub.transcripts.get(session.id, b"")
        grows = new.size == known.size + len(data)
        self.hub.transcripts[session.id] = before + data if grows else data
        self.hub.states[session.id] = new
        return True

    def transcript(self, session_id):
        self._check()
        return self.hub.transcripts.get(session_id)
