"""`xo-cowork doctor`: what would keep this server from answering, and the cure of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from cowork.operations import claude_checks, machine_checks, store_checks
from cowork.operations.checks import FAIL, OK, WARN, Check
from cowork.operations.places import places_of
from cowork.settings.settings import Settings, SettingsError, load
from cowork.stores.protocol import StoreUnusable


def examine(environ: Mapping[str, str], dotenv: Path) -> list[Check]:
    """Look at everything with the settings that a server would have here; changes nothing."""
    try:
        settings = load(environ, dotenv)
    except SettingsError as fault:
        return [Check("settings", FAIL, each, "mend it") for each in fault.faults]
    return [*_settings(settings), *_all(settings, environ, dotenv)]


def _settings(settings: Settings) -> Iterator[Check]:
    for sentence in settings.warnings:
        yield Check("settings", WARN, sentence)
    if not settings.warnings:
        yield Check("settings", OK, "every variable can be used")


def _all(settings: Settings, environ: Mapping[str, str], dotenv: Path) -> Iterator[Check]:
    yield from machine_checks.check_versions()
    yield from claude_checks.check_claude(settings, environ)
    yield from claude_checks.check_workspace(settings, environ)
    yield from store_checks.check_store(settings)
    yield from machine_checks.check_permissions(settings, dotenv)
    yield from machine_checks.check_port(settings)
    yield from machine_checks.check_limits(settings)
    with suppress(StoreUnusable):  # the look at the store has said so
        yield from machine_checks.check_disks(places_of(settings, environ))
    yield from machine_checks.check_proxies(settings, environ)
