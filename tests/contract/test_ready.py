"""`/health/ready` is true while a question would be answered: not longer, not less long."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cowork.runtime.unix_user import ROOT
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.serving import Client, Served, wait_for

Serve = Callable[..., Served]

as_root = pytest.mark.skipif(os.geteuid() != ROOT, reason="the CLI refuses only root")


def reasons(served: Client) -> list[str]:
    found: list[str] = served.get("/health/ready").json()["reasons"]
    return found


def test_fault_t12_a_cli_that_was_removed_is_told_at_once(
    serve: Serve, fakes: Fakes, fake_environ: dict[str, str], tmp_path: Path
) -> None:
    served = serve(**fakes.settings())
    served.services.cli.check()
    assert reasons(served) == []
    served.ask("hi")
    cli = Path(fake_environ["CLAUDE_CLI_PATH"])
    cli.rename(tmp_path / "away")
    assert "CLAUDE_CLI_PATH" in " ".join(reasons(served))
    # Who has a process goes on.
    assert served.ask("[[say still here]]").json()["message"] == "still here"
    (tmp_path / "away").rename(cli)
    wait_for(lambda: reasons(served) == [], PATIENCE_S, "readiness")


@pytest.mark.parametrize("own_folders", ["true", "false"])
def test_fault_t12_a_start_that_failed_is_told_until_one_goes_well(
    serve: Serve, fakes: Fakes, own_folders: str
) -> None:
    served = serve(COWORK_PROJECT_DIRS=own_folders, **fakes.settings())
    served.services.cli.check()
    fakes.settings(start="exit")
    assert served.ask("hi").status_code == 503
    # In a directory of a project's own it is a try beside that shows it, a moment later.
    wait_for(lambda: reasons(served), PATIENCE_S, "what the start has shown")
    for _ in range(2):
        (reason,) = reasons(served)
        assert "failed" in reason
    fakes.settings()
    assert served.ask("hi").status_code == 200
    assert reasons(served) == []


def test_fault_t12_where_no_turn_comes_the_start_is_tried_beside(
    serve: Serve, fakes: Fakes
) -> None:
    """A balancer sends none to a server that is not ready."""
    served = serve(COWORK_PROJECT_DIRS="true", **fakes.settings())
    served.services.cli.check()
    fakes.settings(start="exit")
    assert served.ask("hi").status_code == 503
    wait_for(lambda: reasons(served), PATIENCE_S, "what the try has shown")
    fakes.settings()
    wait_for(lambda: reasons(served) == [], PATIENCE_S, "readiness")
    wait_for(lambda: served.services.pool.counts().busy == 0, what="the end of the try")


def test_a_turn_that_was_stopped_while_its_process_started_tells_nothing(
    serve: Serve, fakes: Fakes
) -> None:
    served = serve(**fakes.settings(start="hang"))
    served.services.cli.check()
    assert served.ask("hi", timeout=0.3).status_code == 504
    assert reasons(served) == []


@as_root
def test_fault_t12_root_without_permissions_to_ask_for_is_refused_by_the_cli_and_told(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    served = serve(COWORK_PERMISSION_MODE="bypassPermissions")
    served.services.cli.check()
    (reason,) = reasons(served)
    assert "COWORK_CLAUDE_USER" in reason
    assert reason in capsys.readouterr().out
    allowed = serve(
        COWORK_PERMISSION_MODE="bypassPermissions",
        COWORK_CLI_ENV="FAKE_CLAUDE_CONFIG,FAKE_CLAUDE_LIFELINE,IS_SANDBOX",
        IS_SANDBOX="1",
    )
    allowed.services.cli.check()
    assert reasons(allowed) == []


@as_root
def test_fault_t15_a_home_in_which_the_clis_user_keeps_nothing_is_told_at_start(
    serve: Serve, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, workspace = shared / "config", shared / "workspace"
    for folder in (config, workspace):
        folder.mkdir()
    workspace.chmod(0o777)
    settings = {"COWORK_CLAUDE_USER": "nobody", "COWORK_WORKSPACE": str(workspace)}
    serve(CLAUDE_CONFIG_DIR=str(config / "made-later"), **settings)
    said = capsys.readouterr().out
    assert "no session outlives its process" in said
    assert str(config / "made-later") in said
    config.chmod(0o777)
    serve(CLAUDE_CONFIG_DIR=str(config / "made-later"), **settings)
    assert "no session outlives its process" not in capsys.readouterr().out
