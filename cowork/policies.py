"""What the operator decided, in the form that the parts take it: settings in, policies out."""

from __future__ import annotations

from collections.abc import Callable

from cowork.claude import command
from cowork.claude.process.launcher import find_setpriv
from cowork.claude.workspace import Workspace
from cowork.errors import QueueFull
from cowork.runtime.quota import Quota
from cowork.settings.settings import Settings
from cowork.turns.approvals.approvals import ApprovalPolicy
from cowork.turns.policy import TurnPolicy

# So many bodies of the largest size may be held at least: in memory a text takes up to four times
# its bytes on the wire, and each of two owners may send the largest.
LARGEST_BODIES = 8
DEFAULT_QUOTA_BYTES = 256 * 2**20


def launch_config_of(settings: Settings) -> command.LaunchConfig:
    """How each process of the CLI is started."""
    return command.LaunchConfig(
        permission_mode=settings.permission_mode,
        trust_projects=settings.trust_projects,
        shared_workspace=not settings.project_dirs,
        retries=settings.cli_retries,
        setpriv=find_setpriv(),
        cli_user=settings.claude_user,
        passed=settings.cli_env,
        checkpoints=settings.checkpoints,
    )


def approval_policy_of(settings: Settings) -> ApprovalPolicy:
    """Who is asked for approvals, and who may answer."""
    return ApprovalPolicy(
        mode=settings.approvals,
        timeout=settings.approval_timeout,
        keys=frozenset(settings.approval_keys),
        permission_mode=settings.permission_mode,
    )


def turn_policy_of(settings: Settings) -> TurnPolicy:
    """What a turn may, and for how long."""
    return TurnPolicy(
        workspace=Workspace(
            settings.workspace,
            per_project=settings.project_dirs,
            cli_user=settings.claude_user,
        ),
        permission_mode=settings.permission_mode,
        slash_commands=settings.slash_commands,
        timeout=settings.claude_timeout,
        queue_limit=settings.queue_limit,
        disconnect_grace=settings.disconnect_grace,
        checkpoints=settings.checkpoints,
    )


def quotas_of(settings: Settings, owners: Callable[[], int]) -> tuple[Quota, Quota, Quota]:
    """The bounds on waiting questions, on bodies and on replies."""
    default = max(DEFAULT_QUOTA_BYTES, LARGEST_BODIES * settings.max_body)
    transfer = settings.transfer_bytes or default
    waiting = Quota(
        "waiting questions",
        max_count=settings.waiting_turns,
        max_bytes=settings.waiting_bytes or default,
        owners=owners,
        share_error=QueueFull,
    )
    bodies = Quota("bytes of bodies", max_bytes=transfer, owners=owners)
    return waiting, bodies, Quota("bytes of replies", max_bytes=transfer, owners=owners)
