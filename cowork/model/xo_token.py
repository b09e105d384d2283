"""The XO token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class XoToken:
    """The XO token we hold; `expires_at` is None where upstream named no end."""

    access_token: str
    refresh_token: str | None
    expires_at: datetime | None
    user_id: str | None
    auth_session_id: str | None

    def __repr__(self) -> str:
        """Say whose it is, never what it is."""
        return f"XoToken(user_id={self.user_id!r}, expires_at={self.expires_at!r})"
