"""Every project gets a directory under the workspace, and no two share one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cowork.claude.workspace import Workspace, directory_name
from cowork.model import Project

NAMES = st.text(min_size=1, max_size=200) | st.sampled_from(
    ["..", ".", "/", "a/b", "a//b", "/etc", "~", "-rf", "a" * 200, "A", "a", "é", "e\u0301"]
)
PROJECTS = st.builds(Project, owner=st.sampled_from(["", "web", "w"]), name=NAMES)
ROOT = Path("/srv/workspace")


@given(project=PROJECTS)
def test_t09_a_projects_directory_is_right_under_the_root(project):
    place = Path(Workspace(ROOT, per_project=True).cwd(project))
    assert place.parent == ROOT
    assert place.resolve() == place
    assert len(place.name.encode()) < 100


@given(one=PROJECTS, other=PROJECTS)
def test_t09_no_two_projects_share_a_directory(one, other):
    assert (directory_name(one) == directory_name(other)) == (one == other)


def test_a_directory_shows_whose_it_is():
    assert directory_name(Project("", "My App!")).startswith("my-app-")


def test_one_directory_serves_all_projects_unless_it_is_asked_for():
    assert Workspace(ROOT).cwd(Project("", "a")) == str(ROOT)
