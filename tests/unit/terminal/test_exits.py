"""Exit statuses and commands are those that are written down."""

from __future__ import annotations

import re

import pytest

from cowork.client import errors
from cowork.terminal import COMMANDS, exits
from cowork.terminal.cli import group
from tests.serving import ROOT

DOCUMENT = (ROOT / "docs" / "cli.md").read_text()


def test_every_status_is_in_the_documents_table_and_no_other():
    statuses = {
        value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)
    }
    _, _, table = DOCUMENT.partition("## Exit statuses")
    assert {
        int(row) for row in re.findall(r"(?m)^\| (\d+) \|", table.partition("\n## ")[0])
    } == statuses


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_line_its_help_and_its_place_in_the_document(name):
    command = group.get_command(None, name)
    assert command is not None
    assert command.name == name
    assert command.short_help == COMMANDS[name]
    assert command.help
    assert f"xo-cowork {name}" in DOCUMENT
    options = {option for each in command.params for option in each.opts}
    assert {"--url", "--key"} <= options
    assert name == "chat" or "--json" in options


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (0, "unreachable", exits.UNREACHABLE),
        (502, "server_unreachable", exits.UNREACHABLE),
        (401, "unauthorized", exits.NOT_ALLOWED),
        (403, "forbidden", exits.NOT_ALLOWED),
        (409, "project_busy", exits.LATER),
        (429, "queue_full", exits.LATER),
        (503, "at_capacity", exits.LATER),
        (404, "session_not_found", exits.NOT_FOUND),
        (410, "turn_expired", exits.NOT_FOUND),
        (409, "session_exists", exits.FAILED),
        (409, "turn_interrupted", exits.INTERRUPTED),
        (422, "model_not_found", exits.FAILED),
        (500, "internal", exits.FAILED),
    ],
)
def test_an_error_has_its_status(status, code, said):
    body = {"detail": {"error": "a sentence", "code": code}}
    fault = (
        errors.unreachable("x")
        if status == 0
        else errors.refusal(status, body, retry_after=None, request_id=None)
    )
    assert exits.status_of(fault) == said


def test_what_helps_is_said_for_codes_that_there_are():
    known = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "api.md").read_text()))
    assert set(exits._CURES) - known <= {"unreachable", "bad_reply"}
