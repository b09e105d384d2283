"""`xo-cowork restore`: put a backup where the settings say, so that its sessions go on."""

from __future__ import annotations

import filecmp
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cowork.operations import manifest as manifests
from cowork.operations import session_entries, sqlite_file
from cowork.operations.backup import (
    API_KEYS,
    CLAUDE,
    KEYS,
    STORE,
    STORE_FILE,
    STORE_KEY,
    WORKSPACE,
)
from cowork.operations.disk import check_room
from cowork.operations.errors import OperationFailed
from cowork.operations.manifest import Manifest
from cowork.operations.places import Places
from cowork.operations.session_entries import Move
from cowork.operations.tree import TreeCopy
from cowork.runtime.unix_user import PRIVATE_MODE, make_folder, rights_of
from cowork.server.store_lock import StoreLock

_BESIDE = ("", "-wal", "-shm", "-journal")
_MAX_TOLD = 5


@dataclass(slots=True)
class Restored:
    """What was restored: how many files were checked, and what the operator should know."""

    manifest: Manifest
    files: int
    moved_aside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def restore(folder: Path, places: Places, *, force: bool = False) -> Restored:
    """Check the backup in `folder` and put it to `places`.

    What is there already is refused, or with `force` moved aside, never deleted.  Where the
    workspace is another than it was, the store and the transcripts are told so.  No server may use
    the store meanwhile.  Raises `OperationFailed`, OSError.
    """
    manifest = manifests.read(folder)
    if manifest.store["included"] and places.store_kind != "sqlite":
        raise OperationFailed(
            "the backup has a SQLite store: set COWORK_STORE=sqlite:///path, or use --into"
        )
    done = Restored(manifest, manifests.verify(folder, manifest))
    lock = StoreLock()
    fault = lock.acquire(places.store)
    if fault is not None:
        raise OperationFailed(fault)
    try:
        _Restore(folder, places, done).run(force=force)
    finally:
        lock.release()
    return done


class _Restore:
    def __init__(self, folder: Path, places: Places, done: Restored) -> None:
        self._folder = folder
        self._places = places
        self._done = done
        paths = done.manifest.paths
        olds = paths["workspace"], paths["workspace_real"]
        self._move = Move(olds, paths["workspace_folder"], places.workspace)
        self._aside = f"before-restore-{time.strftime('%Y%m%dT%H%M%S')}"
        self._has_store = bool(done.manifest.store["included"])

    def run(self, *, force: bool) -> None:
        if self._has_store:
            sqlite_file.look_at(self._folder / STORE / STORE_FILE)
        entries = self._entries()
        self._move.check(entries)
        found = self._conflicts(entries)
        if found and not force:
            told = ", ".join(path for path, _ in found[:_MAX_TOLD])
            more = f" and {len(found) - _MAX_TOLD} more" if len(found) > _MAX_TOLD else ""
            raise OperationFailed(
                f"there already: {told}{more}; --force moves them aside, and deletes nothing"
            )
        check_room(self._sizes())
        for path, move_aside in found:
            move_aside()
            self._done.moved_aside.append(path)
        self._keys()
        self._workspace()
        self._claude()
        # What a server would begin with comes last.
        self._store()

    def _entries(self) -> list[str]:
        source = self._folder / CLAUDE
        return session_entries.found_in(source) if source.is_dir() else []

    def _sizes(self) -> dict[Path, int]:
        contents = self._done.manifest.contents
        sizes = {
            self._places.workspace: contents.get(WORKSPACE, {}).get("bytes", 0),
            self._places.config: contents.get(CLAUDE, {}).get("bytes", 0),
        }
        if (file := self._places.store_file) is not None and self._has_store:
            sizes[file] = (self._folder / STORE / STORE_FILE).stat().st_size
        return sizes

    # -- what is there already

    def _conflicts(self, entries: list[str]) -> list[tuple[str, Callable[[], None]]]:
        """What is there already, each with what moves it aside."""
        found: list[tuple[str, Callable[[], None]]] = []
        file = self._places.store_file if self._has_store else None
        # A log that lies beside no file would be read into the one that comes.
        if file is not None and any(each.exists() for each in _with_beside(file)):
            found.append((str(file), partial(self._rename_all, file)))
        for source, target in self._key_files():
            if target.exists() and not filecmp.cmp(source, target, shallow=False):
                found.append((str(target), partial(self._rename, target)))
        workspace = self._places.workspace
        if (self._folder / WORKSPACE).is_dir() and workspace.is_dir() and any(workspace.iterdir()):
            found.append((str(workspace), partial(self._rename, workspace)))
        for entry in map(self._move.renamed, entries):
            if os.path.lexists(self._places.config / entry):
                path = str(self._places.config / entry)
                found.append((path, partial(self._rename_entry, entry)))
        return found

    def _rename_all(self, file: Path) -> None:
        aside = file.with_name(f"{file.name}.{self._aside}")
        for old, new in zip(_with_beside(file), _with_beside(aside), strict=True):
            if old.exists():
                old.rename(new)

    def _rename(self, path: Path) -> None:
        try:
            path.rename(path.with_name(f"{path.name}.{self._aside}"))
        except OSError as fault:
            raise OperationFailed(
                f"{path} cannot be moved aside ({fault.strerror}): move what is in it away"
            ) from fault

    def _rename_entry(self, entry: str) -> None:
        """Out of the folders in which the CLI looks for sessions."""
        with rights_of(self._places.cli_user):
            target = self._places.config / self._aside / entry
            target.parent.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
            (self._places.config / entry).rename(target)

    # -- what is put there

    def _key_files(self) -> list[tuple[Path, Path]]:
        """The backup's key files, with where the settings want them."""
        wanted = ((STORE_KEY, self._places.store_key), (API_KEYS, self._places.api_keys))
        pairs = [(self._folder / KEYS / name, target) for name, target in wanted]
        return [
            (source, target) for source, target in pairs if source.exists() and target is not None
        ]

    def _keys(self) -> None:
        for source, target in self._key_files():
            if not target.exists():
                target.parent.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                target.chmod(0o600)
        if (self._folder / KEYS / API_KEYS).exists() and self._places.api_keys is None:
            said = "the file of API keys stays in the backup: set COWORK_API_KEYS_FILE"
            self._done.notes.append(said)
        has_token = self._done.manifest.store.get("counts", {}).get("token")
        if has_token and not self._places.store_key.exists():
            self._done.notes.append("without the store's key the XO login is gone: log in again")

    def _workspace(self) -> None:
        make_folder(self._places.workspace, self._places.cli_user)
        source = self._folder / WORKSPACE
        if source.is_dir():
            TreeCopy(write_as=self._places.cli_user).copy(source, self._places.workspace)

    def _claude(self) -> None:
        source = self._folder / CLAUDE
        if not source.is_dir():
            return
        make_folder(self._places.config, self._places.cli_user)
        TreeCopy(
            write_as=self._places.cli_user,
            renamed=self._move.renamed,
            edit=self._move.edit,
        ).copy(source, self._places.config)

    def _store(self) -> None:
        file = self._places.store_file
        if file is None or not self._has_store:
            if self._move.pairs:
                self._done.notes.append(
                    "the store is not in the backup: its sessions look for their files in "
                    f"{self._done.manifest.paths['workspace']}"
                )
            return
        draft = file.with_name(f"{file.name}.restoring")
        draft.unlink(missing_ok=True)
        sqlite_file.copy(self._folder / STORE / STORE_FILE, draft)
        sqlite_file.prepare(draft, self._places.store_key, self._move.pairs)
        draft.rename(file)


def _with_beside(file: Path) -> list[Path]:
    """A SQLite file and what SQLite keeps beside it."""
    return [file.with_name(file.name + end) for end in _BESIDE]
