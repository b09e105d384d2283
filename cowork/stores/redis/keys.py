"""How the keys of Redis are laid out, and how what is in them is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cowork.model import Project

# Of the layout; a newer one is refused.
VERSION = 2
PREFIX = "cowork:"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def project_key(project: Project) -> str:
    """A project as the scripts know it."""
    return f"{project.owner}\0{project.name}"


def project_of(key: bytes) -> Project:
    """The reverse of `project_key`."""
    owner, _, name = key.decode().partition("\0")
    return Project(owner, name)


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly; a double holds it for two centuries."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """The reverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def too_new(version: bytes) -> str:
    """What to tell of a Redis that a newer server has laid out."""
    return (
        f"redis holds state of version {version.decode()}, this server knows {VERSION}: "
        "update the server, or use another database"
    )
