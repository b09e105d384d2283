"""No package and no module is outside the contracts that say who may import whom."""

from __future__ import annotations

import tomllib

import pytest

from tests.serving import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
PACKAGE = ROOT / "cowork"


def children():
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    return files | {path.parent.name for path in PACKAGE.glob("*/*.py")}


def test_every_child_of_the_package_has_a_floor():
    (floors,) = [each for each in CONTRACTS if each.get("containers") == ["cowork"]]
    placed = [name for floor in floors["layers"] for name in floor.replace(":", "|").split("|")]
    assert sorted(name.strip() for name in placed) == sorted(children())
    assert floors["exhaustive"], "import-linter itself shall see what is new"


def test_every_folder_is_a_package():
    """Else import-linter does not see what is in it."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [each for each in folders if not (each / "__init__.py").exists()] == []


def test_the_terminal_and_the_client_know_nothing_of_the_server():
    (contract,) = [
        each for each in CONTRACTS if "cowork.terminal" in each.get("source_modules", ())
    ]
    assert contract["type"] == "forbidden"
    ours = {f"cowork.{name}" for name in children() - {"client", "terminal"}}
    assert set(contract["forbidden_modules"]) == ours


@pytest.mark.parametrize(
    "library",
    ["click", "flask", "httpx", "marshmallow", "requests", "rich", "subprocess"],
)
def test_a_library_is_forbidden_to_all_but_its_own_folder(library):
    (contract,) = [each for each in CONTRACTS if library in each.get("forbidden_modules", ())]
    assert contract["source_modules"] == ["cowork"], "a list of names forgets the next one"
