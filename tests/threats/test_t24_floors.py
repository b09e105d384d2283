"""T24: no dependency is older than its last fault that matters here."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from cowork.claude.installation import OLDEST_VERSION
from tests.fakes import Fakes
from tests.serving import ROOT, Served

FLOORS = {
    "flask": (3, 1, 3),
    "werkzeug": (3, 1, 6),
    "gunicorn": (26, 1),
    "gevent": (24, 10, 1),
    "requests": (2, 32, 4),
    "urllib3": (2, 5),
}


def pinned() -> dict[str, tuple[int, ...]]:
    found = re.findall(r"(?m)^([a-z0-9-]+)==([0-9.]+)", (ROOT / "requirements.txt").read_text())
    return {name: tuple(map(int, version.strip(".").split("."))) for name, version in found}


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_t24_what_is_installed_is_new_enough(name: str, floor: tuple[int, ...]) -> None:
    assert pinned()[name] >= floor


def test_t24_everything_that_is_installed_has_its_hash() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-cli.txt"):
        text = (ROOT / name).read_text()
        for requirement in re.findall(r"(?m)^[a-z0-9-]+==.*(?:\n .*)*", text):
            assert "--hash=sha256:" in requirement, requirement


def test_t24_an_old_cli_is_warned_of(
    serve: Callable[..., Served], fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert OLDEST_VERSION == (2, 1, 319)
    served = serve(**fakes.settings(version="2.1.318"))
    assert served.services.cli.check().version == "2.1.318"
    said = capsys.readouterr().out
    assert said.count("the CLI is old") == 1
    assert "one session may read what was said in another" in said
    served.services.cli.check()
    fakes.settings(version="2.1.319")
    assert served.services.cli.check().version == "2.1.319"
    assert "the CLI is old" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["SECURITY.md", "README.md"])
def test_t24_the_documents_name_the_oldest_cli(name: str) -> None:
    oldest = ".".join(map(str, OLDEST_VERSION))
    assert f"{oldest} or newer" in (ROOT / name).read_text()


def test_fault_s10_a_cli_that_can_be_steered_from_elsewhere_is_warned_of_once(
    serve: Callable[..., Served], fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    served = serve(**fakes.settings(remote_control=True))
    for project in ("one", "two"):
        assert served.ask("hi", project).status_code == 200
    served.services.cli.check()
    assert served.get("/health").json()["claude"]["remote_control"] is True
    assert capsys.readouterr().out.count("(remote control)") == 1


def test_fault_s10_a_cli_that_cannot_be_is_not_warned_of(
    serve: Callable[..., Served], fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    served = serve(**fakes.settings())
    served.services.cli.check()
    assert served.get("/health").json()["claude"]["remote_control"] is None
    assert served.ask("hi").status_code == 200
    assert served.get("/health").json()["claude"]["remote_control"] is False
    assert "(remote control)" not in capsys.readouterr().out
