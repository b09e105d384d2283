"""Restores what a session's edit tools changed, by the checkpoints that the CLI keeps of files.

It restores to before a message, and what it changes is what its own tools had changed: no file
that a link leads to, none that another session changed, and nothing that Bash did.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cowork.claude.pool.pool import Pool
from cowork.claude.process.control_requests import ControlRefused
from cowork.errors import ClaudeFailed, CoworkError, FilesNotRestored
from cowork.log import logger
from cowork.model import Session
from cowork.turns.running.attempt import Attempts
from cowork.turns.running.result_wait import TurnRun

log = logger(__name__)

# The CLI reads every file that it has a backup of.
TIMEOUT_S = 60.0
# A process that died while it was idle, then another one.
ATTEMPTS = 2
# Of the files that are named, and of their names in all.
MAX_NAMED = 1000
MAX_NAMES_BYTES = 128 * 1024
_SENTENCE = 300
NO_CHECKPOINT = (
    "there is no checkpoint of the turn behind it: it was asked while COWORK_CHECKPOINTS was off"
)


@dataclass(frozen=True, slots=True)
class FileChanges:
    """What a restore changes, or would; `changed` are paths, relative below the directory.

    `count` is how many there are in all, `reason` why it cannot be.  `unrestored` are those that
    are still otherwise afterwards, of which `skipped_links` are reached by a link now, and others
    have lost their backup (None where that could not be seen); both are None in a preview.
    """

    can_restore: bool = True
    changed: Sequence[str] = ()
    count: int = 0
    insertions: int = 0
    deletions: int = 0
    skipped_links: int | None = None
    unrestored: Sequence[str] | None = None
    reason: str | None = None

    def told(self) -> Mapping[str, Any]:
        """What is told and kept of it."""
        return {
            "can_restore": self.can_restore,
            "reason": self.reason,
            "changed": list(self.changed),
            "count": self.count,
            "insertions": self.insertions,
            "deletions": self.deletions,
            "skipped_links": self.skipped_links,
            "unrestored": None if self.unrestored is None else list(self.unrestored),
        }


class Checkpoints:
    """Asks a process of the session, which is leased as for a turn."""

    def __init__(self, attempts: Attempts, pool: Pool) -> None:
        self._attempts = attempts
        self._pool = pool

    def preview(self, run: TurnRun, session: Session, message_id: str) -> FileChanges:
        """What `restore` would change; nothing is changed.

        Raises `ClaudeFailed` and what the lease of a process does.
        """
        try:
            answer = self._call(run, session, message_id, dry_run=True)
        except ControlRefused as refused:
            return FileChanges(can_restore=False, reason=_reason(refused.said))
        if answer.get("canRewind") is not True:
            return FileChanges(can_restore=False, reason=_reason(str(answer.get("error") or "")))
        paths = [each for each in answer.get("filesChanged") or () if isinstance(each, str)]
        return FileChanges(
            changed=_named(paths, session.cwd),
            count=len(paths),
            insertions=_number(answer.get("insertions")),
            deletions=_number(answer.get("deletions")),
        )

    def restore(
        self, run: TurnRun, session: Session, message_id: str, found: FileChanges
    ) -> FileChanges:
        """Have files be as they were before that message: `found`, with what became of it.

        Not to be stopped any more once the CLI was told.  Raises `FilesNotRestored`,
        `ClaudeFailed`, after which some may have been, and what the lease of a process does.
        """
        try:
            answer = self._call(run, session, message_id, dry_run=False)
        except ControlRefused as refused:
            raise FilesNotRestored(_reason(refused.said)) from refused
        if answer.get("canRewind") is not True:
            raise FilesNotRestored(_reason(str(answer.get("error") or "")))
        # Where only some backups are gone, the CLI says nothing of it.
        left = self._left(run, session, message_id)
        return replace(found, skipped_links=_number(answer.get("skippedLinks")), unrestored=left)

    def _left(self, run: TurnRun, session: Session, message_id: str) -> Sequence[str] | None:
        """What is still otherwise; None where that cannot be seen, as of a turn that is stopped."""
        try:
            return self.preview(run, session, message_id).changed
        except CoworkError as fault:
            log.warning("could not look at restored files", session_id=session.id, why=str(fault))
            return None

    def _call(
        self, run: TurnRun, session: Session, message_id: str, *, dry_run: bool
    ) -> Mapping[str, Any]:
        for attempt in range(1, ATTEMPTS + 1):
            process = self._attempts.processes.lease(run, session)
            fit = False
            try:
                process.wait_idle()
                if not dry_run:
                    run.turn.on_stop(None)
                run.turn.check_not_stopped()
                found = process.requests.call(
                    "rewind_files", TIMEOUT_S, user_message_id=message_id, dry_run=dry_run
                )
            except ControlRefused:
                fit = True
                raise
            except ClaudeFailed:
                if process.alive or attempt == ATTEMPTS:
                    raise
            else:
                fit = True
                return found
            finally:
                if fit:
                    self._pool.give_back(process)
                else:
                    self._pool.discard(process)
        raise AssertionError  # the last attempt returns or raises


def _reason(said: str) -> str:
    """The CLI's sentence, in ours where it is known."""
    if said.startswith("No file checkpoint"):
        return NO_CHECKPOINT
    return f"the Claude CLI cannot restore the files: {said[:_SENTENCE] or 'it does not say why'}"


def _named(paths: Sequence[str], cwd: str) -> list[str]:
    """The first of them, relative below the directory, as far as they are not too long in all."""
    named: list[str] = []
    left = MAX_NAMES_BYTES
    for path in paths[:MAX_NAMED]:
        named.append(_relative(path, cwd))
        left -= len(named[-1].encode(errors="replace"))
        if left < 0:
            return named[:-1]
    return named


def _relative(path: str, cwd: str) -> str:
    for folder in (cwd, os.path.realpath(cwd)):
        if path.startswith(f"{folder.rstrip('/')}/"):
            return path[len(folder.rstrip("/")) + 1 :]
    return path


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
