"""What the CLI keeps of sessions in its own folder, and what a move changes in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from cowork.claude.session_files import PLACES
from cowork.claude.transcript import NAME_LIMIT, folder_name
from cowork.operations.errors import OperationFailed
from cowork.operations.sqlite_file import KeptSession
from cowork.operations.tree import LineEdit

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_CHARS = 36
_PROJECTS = "projects"
_PLACES = tuple(tuple(place.split("/")) for place in PLACES)


class SessionEntries:
    """The entries of some sessions below the CLI's folder; `wanted` says which paths lead there.

    `folders` are names in `projects/`; `ids` are the sessions', None for all of those folders'.
    """

    def __init__(self, folders: Iterable[str], ids: Iterable[str] | None) -> None:
        self._folders = frozenset(folders)
        self._ids = None if ids is None else frozenset(ids)

    def wanted(self, path: str) -> bool:
        """Whether a path is an entry of a session, in one, or on the way to one."""
        return any(self._is_within(path.split("/"), place) for place in _PLACES)

    def _is_within(self, parts: list[str], place: tuple[str, ...]) -> bool:
        for part, expected in zip(parts, place, strict=False):
            if part != expected and (expected != "*" or part not in self._folders):
                return False
        return len(parts) <= len(place) or self._is_named(parts[len(place)])

    def _is_named(self, name: str) -> bool:
        found = name[:_ID_CHARS]
        if name[_ID_CHARS : _ID_CHARS + 1] not in {"", ".", "-"}:
            return False
        return found in self._ids if self._ids is not None else bool(_ID.fullmatch(found))


def of_store(sessions: Iterable[KeptSession]) -> SessionEntries:
    """The entries of the sessions that a store names."""
    sessions = list(sessions)
    folders = {folder_name(each.cwd) for each in sessions}
    return SessionEntries(folders, {each for session in sessions for each in session.ids})


def of_workspace(workspace: Path, config: Path) -> SessionEntries:
    """The entries of all sessions that the CLI has in this workspace, whoever began them."""
    folders = {folder_name(str(workspace))}
    with suppress(OSError), os.scandir(workspace) as entries:
        folders |= {
            folder_name(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)
        }
    ids = set()
    for name in folders:
        with suppress(OSError):
            ids |= {each.name[:_ID_CHARS] for each in (config / _PROJECTS / name).iterdir()}
    return SessionEntries(folders, {each for each in ids if _ID.fullmatch(each)})


def found_in(config: Path) -> list[str]:
    """The paths of all sessions' entries in a backup of the CLI's folder."""
    found: list[str] = []
    for place in PLACES:
        for folder in config.glob(place):
            found += [str(each.relative_to(config)) for each in folder.iterdir()]
    return sorted(found)


class Move:
    """What another place of the workspace changes: names in `projects/`, and in transcripts.

    `olds` are the names that the workspace had, the first as its operator wrote it and the second
    with no link in it; `old_folder` is its name in `projects/`.
    """

    def __init__(self, olds: tuple[str, str], old_folder: str, new: Path) -> None:
        self._real = os.path.realpath(new)
        self._old_folder, self._new_folder = old_folder, folder_name(str(new))
        self.changed = self._old_folder != self._new_folder
        self._named = re.compile(
            rb'"(cwd|realParentDir)":"(?:'
            + b"|".join(re.escape(_json(each)) for each in olds)
            + rb')(?=["/])'
        )
        self.pairs = [(old, str(new)) for old in dict.fromkeys(olds) if old != str(new)]

    def check(self, paths: Iterable[str]) -> None:
        """Raise `OperationFailed` where the CLI would not find a transcript by its new name."""
        for path in paths:
            parts = self.renamed(path).split("/")
            if parts[0] == _PROJECTS and len(parts[1]) > NAME_LIMIT and self.changed:
                raise OperationFailed(
                    f"the workspace's new path is too long ({len(parts[1])} characters with a "
                    f"project's directory, {NAME_LIMIT} at most): choose a shorter one"
                )

    def renamed(self, path: str) -> str:
        """A path below the CLI's folder, by the workspace's new name."""
        head, _, rest = path.partition("/")
        name, slash, below = rest.partition("/")
        is_ours = name == self._old_folder or name.startswith(f"{self._old_folder}-")
        if head != _PROJECTS or not is_ours:
            return path
        return f"{head}/{self._new_folder}{name[len(self._old_folder) :]}{slash}{below}"

    def edit(self, path: str) -> LineEdit | None:
        """Transcripts name their directory in each row, and those of files that were backed up.

        The CLI restores a file where it was edited alone.
        """
        if not (self.changed and is_transcript(path)):
            return None
        new = _json(self._real)
        return lambda line: self._named.sub(lambda found: b'"%b":"%b' % (found[1], new), line)


def is_transcript(path: str) -> bool:
    """Whether a path below the CLI's folder is a session's or a sub-agent's transcript."""
    return path.startswith(f"{_PROJECTS}/") and path.endswith(".jsonl")


def whole_lines(path: str) -> LineEdit | None:
    """Of a transcript that is being written, the whole lines."""
    return _same if is_transcript(path) else None


_same: Callable[[bytes], bytes] = bytes


def _json(text: str) -> bytes:
    """As it stands in a string of JSON, which the CLI writes in UTF-8."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="surrogateescape")
