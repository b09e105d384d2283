"""Where a server keeps its state, by its settings or all of it in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from cowork.claude import command
from cowork.policies import launch_config_of
from cowork.runtime.unix_user import UnixUser
from cowork.settings.settings import Settings
from cowork.stores import sqlite_path


@dataclass(frozen=True, slots=True)
class Places:
    """The store's URL, and files and folders; `config` is the CLI's own folder.

    `cli_user` is whose the workspace and the CLI's folder are, where the CLI runs as another user.
    """

    store: str
    store_key: Path
    api_keys: Path | None
    workspace: Path
    config: Path
    cli_user: UnixUser | None

    @property
    def store_kind(self) -> str:
        """`memory`, `sqlite` or `redis`."""
        scheme = urlsplit(self.store).scheme
        return "redis" if scheme == "rediss" else scheme

    @property
    def store_file(self) -> Path | None:
        """The file of a SQLite store; raises `StoreUnusable` for a URL that names none."""
        return sqlite_path(self.store) if self.store_kind == "sqlite" else None

    def below(self, folder: Path) -> Places:
        """The same in one folder, with a store in a file."""
        return replace(
            self,
            store=f"sqlite://{quote(str(folder / 'state.db'))}",
            store_key=folder / "store.key",
            api_keys=folder / "api-keys",
            workspace=folder / "workspace",
            config=folder / "claude",
        )

    def variables(self) -> dict[str, str]:
        """The environment of a server that keeps its state here."""
        return {
            "COWORK_STORE": self.store,
            "COWORK_STORE_KEY_FILE": str(self.store_key),
            "COWORK_WORKSPACE": str(self.workspace),
            "CLAUDE_CONFIG_DIR": str(self.config),
        }


def places_of(settings: Settings, environ: Mapping[str, str]) -> Places:
    """Where the server with these settings and that environment keeps its state."""
    given = command.environment(environ, marker="", launch_config=launch_config_of(settings))
    return Places(
        store=settings.store,
        store_key=settings.store_key_file,
        api_keys=settings.api_keys_file,
        workspace=settings.workspace,
        config=Path(command.config_folder(given)),
        cli_user=settings.claude_user,
    )
