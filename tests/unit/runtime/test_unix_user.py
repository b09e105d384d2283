"""The account the CLI runs as: found, refused with a reason, and given no more than its own."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path

import pytest

from cowork.runtime import unix_user
from cowork.runtime.unix_user import UnixUser
from cowork.settings.settings import SettingsError, load

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = pwd.getpwnam("nobody")


def cli_user(home="/", *, uid=NOBODY.pw_uid, groups=(NOBODY.pw_gid,)):
    return UnixUser("nobody", uid, NOBODY.pw_gid, Path(home), "/bin/sh", frozenset(groups))


@pytest.mark.parametrize("name", ["no-such-user", "root", "0", "a b", "nobody\n x"])
def test_who_is_no_other_user_is_refused(name):
    with pytest.raises(ValueError, match="expected"):
        unix_user.lookup_cli_user(name)


@as_root
def test_a_user_is_found_with_what_the_cli_needs():
    found = unix_user.lookup_cli_user("nobody")
    assert (found.uid, found.gid, str(found.home)) == (NOBODY.pw_uid, NOBODY.pw_gid, NOBODY.pw_dir)
    assert NOBODY.pw_gid in found.groups


@as_root
def test_a_folder_is_made_for_its_user_alone(shared):
    path = shared / "a" / "b"
    unix_user.make_folder(path, cli_user())
    for folder in (path, path.parent):
        found = folder.stat()
        assert (found.st_uid, found.st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
        assert found.st_mode & 0o777 == 0o700
    assert shared.stat().st_uid == 0


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o751)
    unix_user.make_folder(tmp_path, None)
    assert tmp_path.stat().st_mode & 0o777 == 0o751


@as_root
def test_a_link_that_lies_where_a_folder_should_be_gives_nothing_away(shared):
    secret = shared / "secret"
    secret.mkdir(mode=0o700)
    (shared / "link").symlink_to(secret)
    unix_user.make_folder(shared / "link", cli_user())
    assert secret.stat().st_uid == 0


@pytest.fixture
def theirs(shared):
    """A folder of that user's."""
    folder = shared / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    return folder


@pytest.fixture
def roots(shared):
    """A folder of root's that others may look into."""
    folder = shared / "roots"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def as_before(folder):
    found = folder.stat()
    return (found.st_uid, found.st_mode & 0o777, list(folder.iterdir())) == (0, 0o755, [])


@as_root
@pytest.mark.parametrize("below", ["p", "p/q", "."])
@pytest.mark.parametrize("how", ["link", "relative", "chain", "inner", "moved"])
def test_fault_s6_nothing_is_made_in_roots_folders_by_way_of_the_users(theirs, roots, how, below):
    workspace = theirs / "workspace"
    if how == "moved":
        # A folder of root's within the user's own can be renamed by that user.
        roots = roots.rename(theirs / "workspace")
    elif how == "inner":
        workspace.mkdir()
        (workspace / "p").symlink_to(roots)
        below = f"p/{below}"
    elif how == "chain":
        (theirs / "one").symlink_to(roots)
        workspace.symlink_to("one")
    else:
        workspace.symlink_to(roots if how == "link" else "../roots")
    for path in theirs.rglob("*"):
        if path != roots:
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
    with contextlib.suppress(PermissionError):
        unix_user.make_folder(workspace / below, cli_user())
    assert as_before(roots)
    assert os.geteuid() == 0
    (roots / "ours again").mkdir()
    assert (roots / "ours again").stat().st_uid == 0


@pytest.fixture
def in_roots_group():
    """We are in root's group, as a service that is started as root is."""
    groups = os.getgroups()
    os.setgroups([0])
    yield
    assert os.getgroups() == [0]
    os.setgroups(groups)


@as_root
@pytest.mark.usefixtures("in_roots_group")
def test_fault_s6_nor_where_roots_group_may_write(theirs, roots):
    roots.chmod(0o775)
    (theirs / "workspace").symlink_to(roots)
    with contextlib.suppress(PermissionError):
        unix_user.make_folder(theirs / "workspace" / "p", cli_user())
    assert list(roots.iterdir()) == []


@as_root
@pytest.mark.usefixtures("in_roots_group")
def test_a_folder_is_made_where_a_group_of_the_users_may_write(shared):
    group = 54321
    os.chown(shared, 0, group)
    shared.chmod(0o775)
    unix_user.make_folder(shared / "p", cli_user(groups=(NOBODY.pw_gid, group)))
    assert (shared / "p").stat().st_uid == NOBODY.pw_uid


@as_root
def test_fault_s6_a_link_that_root_has_made_is_followed(shared, roots):
    """As where /home is a link to another disk."""
    (shared / "home").symlink_to("roots")
    (roots / "deep").symlink_to(shared / "home")
    unix_user.make_folder(shared / "home" / "deep" / "a" / "b", cli_user())
    for name in ("a", "a/b"):
        assert (roots / name).stat().st_uid == NOBODY.pw_uid


@as_root
def test_fault_s6_a_link_where_everybody_may_put_one_is_not(shared, roots):
    shared.chmod(0o1777)
    (shared / "link").symlink_to(roots)
    os.chown(shared / "link", NOBODY.pw_uid, -1, follow_symlinks=False)
    with pytest.raises(PermissionError):
        unix_user.make_folder(shared / "link" / "p", cli_user())
    assert as_before(roots)


@as_root
def test_a_folder_in_the_users_own_is_made_with_that_users_rights(theirs):
    unix_user.make_folder(theirs / "a" / "b", cli_user())
    assert {path.stat().st_uid for path in theirs.rglob("*")} == {NOBODY.pw_uid}
    assert {path.stat().st_gid for path in theirs.rglob("*")} == {NOBODY.pw_gid}


@as_root
@pytest.mark.parametrize(
    "case",
    [
        (0o700, NOBODY.pw_uid, 0, os.W_OK | os.X_OK, True),
        (0o500, NOBODY.pw_uid, 0, os.W_OK, False),
        (0o700, 0, 0, os.X_OK, False),
        (0o705, 0, 0, os.R_OK | os.X_OK, True),
        (0o750, 0, NOBODY.pw_gid, os.R_OK | os.X_OK, True),
        # The owner's and the group's bits count for them even where others have more.
        (0o077, NOBODY.pw_uid, 0, os.R_OK, False),
        (0o707, 0, NOBODY.pw_gid, os.R_OK, False),
    ],
)
def test_rights_are_the_owners_the_groups_or_everybodys(shared, case):
    mode, owner, group, wanted, may = case
    path = shared / "it"
    path.mkdir()
    os.chown(path, owner, group)
    path.chmod(mode)
    assert unix_user.can_access(cli_user(), path, wanted) is may


@as_root
def test_nobody_gets_past_a_closed_folder(shared):
    (shared / "closed").mkdir(mode=0o700)
    (shared / "closed" / "open").mkdir(mode=0o777)
    assert not unix_user.can_access(cli_user(), shared / "closed" / "open", os.X_OK)
    assert not unix_user.can_access(cli_user(), shared / "nothing", os.X_OK)


def faults(tmp_path, **environ):
    with pytest.raises(SettingsError) as fault:
        load(environ, dotenv=tmp_path / "none")
    return str(fault.value)


@as_root
def test_a_workspace_where_the_user_cannot_work_is_refused_at_start(shared):
    closed = shared / "closed"
    closed.mkdir(mode=0o700)
    for workspace in (closed, closed / "below"):
        said = faults(shared, COWORK_CLAUDE_USER="nobody", COWORK_WORKSPACE=str(workspace))
        assert "COWORK_WORKSPACE: nobody may not work in" in said
    settings = {"COWORK_CLAUDE_USER": "nobody", "COWORK_WORKSPACE": str(shared / "made")}
    assert load(settings, dotenv=shared / "none").workspace == shared / "made"


@as_root
def test_the_workspaces_default_is_in_the_users_own_home(tmp_path):
    assert "nobody has no home" in faults(tmp_path, COWORK_CLAUDE_USER="nobody")


def test_an_unknown_user_is_refused_at_start(tmp_path):
    said = faults(tmp_path, COWORK_CLAUDE_USER="no-such-user")
    assert "COWORK_CLAUDE_USER: expected a user of this machine" in said


@pytest.mark.parametrize(
    ("status", "sees"),
    [
        ("Name:\tx\nCapEff:\t000001ffffffffff\n", True),
        ("CapEff:\t0000000000080000\n", True),
        ("CapEff:\t00000000a80425fb\n", False),  # a container's root, as it usually is
        ("Name:\tx\n", False),
        (None, False),
    ],
)
def test_a_server_knows_whether_it_sees_another_users_processes(tmp_path, status, sees):
    file = tmp_path / "status"
    if status is not None:
        file.write_text(status)
    assert unix_user.can_read_foreign_environ(file) is sees
