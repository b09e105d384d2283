"""`xo-cowork backup`: a consistent copy of all that a server keeps, of a running one too."""

from __future__ import annotations

import os
import platform
import shutil
from datetime import UTC, datetime
from pathlib import Path

from cowork import __version__
from cowork.claude.transcript import folder_name
from cowork.operations import manifest as manifests
from cowork.operations import session_entries, sqlite_file
from cowork.operations.disk import check_room, existing
from cowork.operations.errors import OperationFailed
from cowork.operations.manifest import Manifest
from cowork.operations.places import Places
from cowork.operations.session_entries import SessionEntries
from cowork.operations.tree import Copied, TreeCopy
from cowork.runtime.unix_user import PRIVATE_MODE

STORE, KEYS, CLAUDE, WORKSPACE = "store", "keys", "claude", "workspace"
STORE_FILE, STORE_KEY, API_KEYS = "state.db", "store.key", "api-keys"


def backup(
    places: Places, folder: Path, *, store: bool = True, keys: bool = True, workspace: bool = True
) -> Manifest:
    """Copy everything to `folder`, which must be empty or not there; what was copied.

    The store first, then the transcripts and the workspace: what is newer than the store is
    nothing that it misses.  `store`, `keys` and `workspace` say whether they are part of it.
    Nothing is left where it fails.  Raises `OperationFailed`, OSError.
    """
    _check(places, folder, store=store)
    draft = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    folder.parent.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
    draft.mkdir(mode=PRIVATE_MODE)
    try:
        made = _Backup(places, draft).make(store=store, keys=keys, workspace=workspace)
        draft.rename(folder)
    except BaseException:
        _remove(draft)
        raise
    return made


class _Backup:
    def __init__(self, places: Places, draft: Path) -> None:
        self._places = places
        self._draft = draft
        self._parts: dict[str, Copied] = {}

    def make(self, *, store: bool, keys: bool, workspace: bool) -> Manifest:
        places = self._places
        trees = TreeCopy(read_as=places.cli_user)
        rooms = [] if not workspace else [trees.measure(places.workspace)[1]]
        file = places.store_file if store else None
        rooms += [] if file is None else [file.stat().st_size]
        check_room({self._draft: sum(rooms)})
        kept = None if file is None else self._store(file)
        entries = (
            session_entries.of_workspace(places.workspace, places.config)
            if kept is None
            else session_entries.of_store(kept.sessions)
        )
        if keys:
            self._keys()
        self._claude(entries)
        if workspace:
            copied = trees.copy(places.workspace, self._draft / WORKSPACE)
            self._parts[WORKSPACE] = copied
        described = {"kind": places.store_kind, "included": kept is not None}
        if kept is not None:
            described |= {"schema": kept.version, "counts": kept.counts}
        return self._write(described)

    def _store(self, file: Path) -> sqlite_file.StoreFile:
        (self._draft / STORE).mkdir(mode=PRIVATE_MODE)
        return sqlite_file.copy(file, self._draft / STORE / STORE_FILE)

    def _keys(self) -> None:
        target = self._draft / KEYS
        target.mkdir(mode=PRIVATE_MODE)
        for name, file in ((STORE_KEY, self._places.store_key), (API_KEYS, self._places.api_keys)):
            if file is not None and file.exists():
                shutil.copyfile(file, target / name)
                (target / name).chmod(0o600)

    def _claude(self, entries: SessionEntries) -> None:
        if not self._places.config.is_dir():
            return
        trees = TreeCopy(
            read_as=self._places.cli_user,
            keep_links=False,
            wanted=entries.wanted,
            edit=session_entries.whole_lines,
        )
        check_room({self._draft: trees.measure(self._places.config)[1]})
        self._parts[CLAUDE] = trees.copy(self._places.config, self._draft / CLAUDE)

    def _write(self, store: dict[str, object]) -> Manifest:
        sums = [
            (f"{part}/{path}", digest)
            for part, copied in self._parts.items()
            for path, digest in copied.sums
        ]
        for part in (STORE, KEYS):
            sums += [
                (f"{part}/{file.name}", manifests.digest_of(file))
                for file in sorted((self._draft / part).glob("*"))
            ]
        workspace = self._places.workspace
        made = Manifest(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            server=__version__,
            python=platform.python_version(),
            store=store,
            paths={
                "workspace": str(workspace),
                "workspace_real": os.path.realpath(workspace),
                "workspace_folder": folder_name(str(workspace)),
                "config": str(self._places.config),
            },
            contents={
                part: {"files": copied.files, "links": copied.links, "bytes": copied.size}
                for part, copied in self._parts.items()
            },
            left_out=[
                f"{part}/{each}" for part, copied in self._parts.items() for each in copied.left_out
            ],
            unreadable=sum(copied.unreadable for copied in self._parts.values()),
        )
        manifests.write(self._draft, made, sums)
        return made


def _check(places: Places, folder: Path, *, store: bool) -> None:
    """Refuse what would be no backup, before anything is written."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise OperationFailed(f"{folder} is there already: name a folder that is not")
    real = existing(folder).resolve() if not folder.exists() else folder.resolve()
    for kept in (places.workspace, places.config):
        if real.is_relative_to(kept.resolve()):
            raise OperationFailed(f"{folder} is in {kept}, which is to be backed up")
    if not places.workspace.is_dir():
        raise OperationFailed(f"the workspace {places.workspace} is not there")
    if store and places.store_kind == "memory":
        raise OperationFailed(
            "COWORK_STORE=memory:// keeps nothing that could be backed up: --without-store backs "
            "up the rest"
        )
    if store and places.store_kind == "redis":
        raise OperationFailed(
            "Redis is backed up by its own means: `redis-cli -u <url> --rdb FILE`, or a copy of "
            "its folder; then --without-store backs up the rest, in this order"
        )
    file = places.store_file if store else None
    if file is not None and not file.is_file():
        raise OperationFailed(f"the store {file} is not there")


def _remove(draft: Path) -> None:
    """Remove what was made of a backup, folders that nobody may write to among it."""
    for root, folders, _ in os.walk(draft):
        for name in folders:
            path = os.path.join(root, name)  # noqa: PTH118
            if not os.path.islink(path):  # noqa: PTH114
                os.chmod(path, PRIVATE_MODE)  # noqa: PTH101
    shutil.rmtree(draft)
