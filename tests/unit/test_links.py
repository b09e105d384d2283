"""The documents lead somewhere: the links, paths, names and commands in them are there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench/README.md"]
)
# These say where something is; the changelog says where it was.
GUIDES = [name for name in DOCUMENTS if name != "CHANGELOG.md"]
# These name classes of ours.
INSIDE = ["CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md"]
INSIDE += [name for name in GUIDES if name.startswith("docs/decisions/")]
README_LINES = 200

# What a path of ours begins with; from `web` on relative to `cowork/`, as the architecture has it.
FOLDERS = "cowork|tests|docs|bench|deploy|\\.ci|\\.github|"
FOLDERS += "web|turns|history|xo|claude|stores|upstream|settings|server|runtime"
PATH = re.compile(
    rf"(?<![\w./<~-])((?:{FOLDERS})/(?:[\w.-]+/)*(?:[\w-]+(?:\.\w+)+)?(?![\w*<{{])"
    r"|(?<=`)[\w-]+(?:\.\w+)?\.(?:py|toml)(?=`))"
)
CLASS = re.compile(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)(?:\.(\w+))?`")
# Words of the language and of HTTP that look like classes of ours.
FOREIGN = {"Host", "Origin", "Popen"}
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def prose(name: str) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", text_of(name))


def commands(name: str) -> str:
    """What its blocks have one type into a shell, without the remarks beside it."""
    blocks = re.findall(r"(?ms)^ *```bash\n(.*?)^ *```$", text_of(name))
    return re.sub(r"(?m) #.*$", "", "".join(blocks))


def links(name: str) -> list[str]:
    return [target for target in LINK.findall(prose(name)) if "://" not in target]


def led_to(name: str, target: str) -> Path:
    """The file that a link of this document means."""
    file = target.partition("#")[0]
    return ((ROOT / name).parent / file).resolve() if file else ROOT / name


@cache
def anchors(name: str) -> list[str]:
    """What `#...` may stand behind the document's name: as GitHub makes it of the headings."""
    found: list[str] = []
    for heading in re.findall(r"(?m)^#+ +(.+)$", prose(name)):
        anchor = re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")
        again = sum(re.sub(r"-\d+$", "", each) == anchor for each in found)
        found.append(f"{anchor}-{again}" if again else anchor)
    return found


def leads_somewhere(name: str, target: str) -> bool:
    file, anchor = led_to(name, target), target.partition("#")[2]
    if not file.exists():
        return False
    return not anchor or anchor in anchors(file.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_leads_somewhere(name):
    assert [target for target in links(name) if not leads_somewhere(name, target)] == []


def test_every_document_can_be_reached_from_the_readme():
    seen, found = set(), ["README.md"]
    while found:
        name = found.pop()
        if name in DOCUMENTS and name not in seen:
            seen.add(name)
            found += [led_to(name, each).relative_to(ROOT).as_posix() for each in links(name)]
    assert seen == set(DOCUMENTS)


def test_the_readme_stays_short():
    assert len(text_of("README.md").splitlines()) <= README_LINES


def is_there(path: str, name: str) -> bool:
    bases = (ROOT, ROOT / "cowork", (ROOT / name).parent)
    return any((base / path).exists() for base in bases)


@pytest.mark.parametrize("name", GUIDES)
def test_every_path_that_a_document_names_is_there(name):
    text = re.sub(r"https?://\S+", "", text_of(name))
    assert sorted({path for path in PATH.findall(text) if not is_there(path, name)}) == []


@cache
def classes() -> dict[str, str]:
    """The classes of the product and its tests, with the text of the file that has each."""
    found = {}
    for path in [*ROOT.glob("tests/**/*.py"), *ROOT.glob("cowork/**/*.py")]:
        text = path.read_text()
        found |= dict.fromkeys(re.findall(r"(?m)^class (\w+)", text), text)
    return found


@pytest.mark.parametrize("name", INSIDE)
def test_every_class_that_a_document_names_is_there(name):
    gone = {
        f"{kind}.{member}"
        for kind, member in CLASS.findall(prose(name))
        if kind not in FOREIGN and not re.search(rf"\b{member}\b", classes().get(kind, ""))
    }
    assert gone == set()


@pytest.mark.parametrize("name", GUIDES)
def test_every_make_target_that_a_document_names_is_there(name):
    targets = set(re.findall(r"(?m)^([a-z-]+):", text_of("Makefile")))
    named = re.findall(r"`make ([a-z-]+)", prose(name))
    named += re.findall(r"\bmake ([a-z-]+)", commands(name))
    assert set(named) <= targets


def test_the_lint_hooks_are_those_of_make_lint():
    recipe = re.search(r"(?m)^lint:.*\n((?:\t.*\n)+)", text_of("Makefile"))
    assert recipe is not None
    wanted = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    assert re.findall(r"(?m)^ +entry: (.+)$", text_of(".pre-commit-config.yaml")) == wanted


def test_ci_runs_one_script_and_nothing_else():
    assert re.findall(r"\brun: (.+)", text_of(".github/workflows/ci.yml")) == [".ci/run"]
