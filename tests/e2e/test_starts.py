"""What the user's own hooks and tool servers make of a start."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest

from tests.contract.replies import problem
from tests.e2e.environment import Stage
from tests.serving import wait_for

pytestmark = pytest.mark.e2e

# The CLI's own patience with a tool server that says nothing.
HANGS_S = 25


def hook(stage: Stage, seconds: float) -> None:
    command = {"type": "command", "command": f"sleep {seconds}; touch {stage.folder}/hooked"}
    hooks = {"SessionStart": [{"hooks": [command]}]}
    (stage.config / "settings.json").write_text(json.dumps({"hooks": hooks}))


def test_fault_t11_a_slow_hook_of_the_users_is_waited_for_as_long_as_is_set(
    staged: Callable[..., Stage],
) -> None:
    patient = staged(COWORK_START_TIMEOUT="60")
    hook(patient, 3)
    patient.answers_again()
    assert (patient.folder / "hooked").exists()


def test_fault_t11_the_refusal_names_the_setting(staged: Callable[..., Stage]) -> None:
    hasty = staged(COWORK_START_TIMEOUT="2")
    hook(hasty, 120)
    refusal = problem(hasty.server.ask("hi"), 503, "claude_unavailable")
    assert "within 2 s (COWORK_START_TIMEOUT" in refusal["error"]


@pytest.mark.parametrize("spares", ["0", "1"])
def test_fault_t11_a_tool_server_that_hangs_does_not_hold_a_first_turn(
    staged: Callable[..., Stage], spares: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody answers
        stage = staged(COWORK_TRUST_PROJECTS="true", COWORK_SPARE_PROCESSES=spares)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
        known = {"mcpServers": {"silent": {"type": "http", "url": url}}}
        (stage.config / ".claude.json").write_text(json.dumps(known))
        begun = time.monotonic()
        stage.answers_again("first")
        first = time.monotonic() - begun
        stage.answers_again("first")
        silent.settimeout(1)
        silent.accept()[0].close()  # it was tried
    assert first < HANGS_S


def test_the_cli_itself_says_at_the_start_how_it_is_logged_in(
    staged: Callable[..., Stage], real_claude: str
) -> None:
    """All other stages have a script that says so (`program.knowing_its_login`)."""
    log = staged(CLAUDE_CLI_PATH=real_claude).server.log
    wait_for(lambda: "method=api_key" in log.read_text(), what="what is known of the login")
