"""`wsgi:app` is made for who asks for it, once; to import its module does nothing."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

import pytest


def test_an_import_opens_no_store_and_starts_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COWORK_STORE", f"sqlite://{tmp_path}/state.db")
    before = threading.active_count()
    module = importlib.import_module("cowork.server.wsgi")
    assert not hasattr(module, "application")
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def test_a_fault_while_the_application_is_made_is_not_taken_for_a_missing_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("cowork.server.wsgi")

    def broken() -> None:
        raise AttributeError("of ours")

    monkeypatch.setattr(module, "make_app", broken)
    for served in (module, importlib.import_module("wsgi")):
        with pytest.raises(RuntimeError):
            _ = served.app
