"""T19: another user of this machine can open nothing of the server's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.serving import Gunicorn


def test_t19_what_the_server_makes_is_its_users_alone_and_no_socket_has_a_name(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    # As loose as a login can be.
    before = os.umask(0)
    try:
        server = gunicorn(COWORK_PROJECT_DIRS="true", COWORK_WORKSPACE=str(tmp_path / "a" / "b"))
    finally:
        os.umask(before)
    assert server.ask("hi").status_code == 200
    made = [tmp_path / "a", *(tmp_path / "a").rglob("*"), *(tmp_path / "home").rglob("*")]
    assert len(made) >= 3
    for path in made:
        assert path.lstat().st_mode & 0o077 == 0, f"{path} {path.lstat().st_mode:o}"
    for pid in (server.child.pid, *server.workers()):
        held = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        inodes = {
            name.removeprefix("socket:[").rstrip("]") for name in held if name.startswith("socket:")
        }
        # Of those that have a name: what another user could connect to.
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        named = [line[7] for line in lines if line[6] in inodes and len(line) > 7]
        assert named == []
    assert not list(Path(server.environ["HOME"]).rglob("*.ctl"))
