"""Whether a question would be answered now, and why not: what `/health/ready` tells."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cowork.claude import command
from cowork.claude.disk_space import DiskSpace
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.history.outbox import Outbox
from cowork.runtime import unix_user
from cowork.turns.maintenance import StoreMaintenance


@dataclass(frozen=True, slots=True)
class Readiness:
    """Asks each part; `launch_problem` is why the CLI would not start with these settings."""

    cli: ClaudeCli
    pool: Pool
    maintenance: StoreMaintenance
    outbox: Outbox
    disk_space: DiskSpace
    workspace: Path
    stopping: threading.Event
    launch_problem: str | None

    def reasons(self) -> list[str]:
        """Why a question would not be answered now; empty when it would.  Never waits."""
        state = self.cli.state()
        unknown = None if state.is_known else "the Claude CLI is still being looked at"
        cli = [self.launch_problem, state.problem or unknown]
        counts = self.pool.counts()
        starting = self.pool.start_problem or self.pool.spares.problem
        found = [
            *cli,
            "the server is shutting down" if self.stopping.is_set() else None,
            "every Claude process is busy" if counts.busy >= counts.limit else None,
            starting if cli == [None, None] else None,
            None if self._has_workspace() else f"workspace unavailable: {self.workspace}",
            *self.disk_space.reasons(),
            *(self.outbox.reasons() if self.maintenance.ok else ["store unavailable"]),
        ]
        return [each for each in found if each is not None]

    def _has_workspace(self) -> bool:
        return os.path.isdir(self.workspace)  # noqa: PTH112 - unlike Path's it never raises


def find_launch_problem(
    launch_config: command.LaunchConfig, environ: Mapping[str, str]
) -> str | None:
    """Why the CLI refuses to start with these settings; None where it does not."""
    if launch_config.permission_mode != "bypassPermissions" or launch_config.cli_user is not None:
        return None
    given = command.environment(environ, marker="", launch_config=launch_config)
    sandboxed = given.get("IS_SANDBOX") == "1"
    if sandboxed or given.get("CLAUDE_CODE_BUBBLEWRAP") or os.geteuid() != unix_user.ROOT:
        return None
    return (
        "the Claude CLI refuses COWORK_PERMISSION_MODE=bypassPermissions as root: set "
        "COWORK_CLAUDE_USER, or, in a sandbox, IS_SANDBOX=1 and COWORK_CLI_ENV=IS_SANDBOX"
    )
