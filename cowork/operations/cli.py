"""The words `backup`, `restore` and `doctor` of the command `xo-cowork`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cowork import log
from cowork.operations import doctor
from cowork.operations.backup import backup
from cowork.operations.checks import FAIL, worst_of
from cowork.operations.errors import OperationFailed
from cowork.operations.places import places_of
from cowork.operations.restore import restore
from cowork.settings.settings import SettingsError, load
from cowork.stores.protocol import StoreUnusable

_FAILED = 1


def main(arguments: Sequence[str]) -> int:
    """Do what the first word says; the exit status."""
    asked = _parser().parse_args(arguments)
    log.configure(level="error", form="text")
    os.umask(0o077)
    try:
        if asked.word == "doctor":
            return _doctor(asked)
        return _backup(asked) if asked.word == "backup" else _restore(asked)
    except (OperationFailed, SettingsError, StoreUnusable) as fault:
        _tell(str(fault))
    except OSError as fault:
        _tell(f"{fault.filename or asked.word}: {fault.strerror or fault}")
    return _FAILED


def _backup(asked: argparse.Namespace) -> int:
    made = backup(
        places_of(load(), os.environ),
        asked.folder.absolute(),
        store=not asked.without_store,
        keys=not asked.without_keys,
        workspace=not asked.without_workspace,
    )
    if made.store["included"]:
        print("store:", _listed(made.store["counts"]))
    for part, counts in made.contents.items():
        print(f"{part}:", _listed(counts))
    for each in made.left_out:
        _tell(f"left out: {_shown(each)}")
    if made.unreadable:
        _tell(f"{asked.folder} was made without {made.unreadable} files that cannot be read")
        return _FAILED
    print(f"made with xo-cowork {made.server}, Python {made.python}")
    print(f"{asked.folder} holds it; it is as secret as the server: chat texts, files, keys")
    return 0


def _restore(asked: argparse.Namespace) -> int:
    places = places_of(load(), os.environ)
    if asked.into is not None:
        places = places.below(asked.into.absolute())
    done = restore(asked.folder, places, force=asked.force)
    for path in done.moved_aside:
        print("moved aside:", _shown(path))
    for note in done.notes:
        print("note:", note)
    print(f"restored {done.files} files of {done.manifest.made_at}")
    if asked.into is not None:
        print("start a server on it with")
        for name, value in places.variables().items():
            print(f"{name}={shlex.quote(value)}")
    return 0


def _doctor(asked: argparse.Namespace) -> int:
    found = doctor.examine(os.environ, Path(".env"))
    worst = worst_of(found)
    if asked.json:
        print(json.dumps({"status": worst, "checks": [each.as_json() for each in found]}, indent=2))
    else:
        for each in found:
            print(_shown(each.line()))
    return _FAILED if worst == FAIL else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xo-cowork",
        epilog="Settings are the server's: environment variables, or lines of `.env` here. "
        "Run it as the server's user.",
    )
    words = parser.add_subparsers(dest="word", required=True)
    made = words.add_parser("backup", help="copy everything to a folder, of a running server too")
    made.add_argument("folder", type=Path, metavar="DIR", help="a folder that is not there yet")
    made.add_argument("--without-store", action="store_true", help="Redis is backed up by itself")
    made.add_argument("--without-keys", action="store_true", help="leave out the key files")
    made.add_argument("--without-workspace", action="store_true", help="leave out the workspace")
    put = words.add_parser("restore", help="put a backup where the settings say")
    put.add_argument("folder", type=Path, metavar="DIR", help="the folder of the backup")
    put.add_argument("--into", type=Path, metavar="FOLDER", help="all of it below this folder")
    put.add_argument("--force", action="store_true", help="move aside what is there already")
    looked = words.add_parser("doctor", help="say what is wrong with this set-up, and the cure")
    looked.add_argument("--json", action="store_true", help="for a program")
    return parser


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _shown(text: str) -> str:
    """For a terminal: a name of a file may hold anything."""
    plain = text.encode(errors="backslashreplace").decode()
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in plain)


def _tell(sentence: str) -> None:
    print(f"xo-cowork: {sentence}", file=sys.stderr)
