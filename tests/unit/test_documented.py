"""What code cannot state: every setting, error and route is written down where people look."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cowork import errors
from cowork.app import create_app
from cowork.composition import open_services
from cowork.errors import CoworkError
from cowork.settings.env_file import ALIASES, TERMINAL
from cowork.settings.settings import load, setting_fields
from cowork.web import problems
from tests.console import pictures

ROOT = Path(__file__).parents[2]
SETTINGS = {field.metadata["variable"]: field.metadata["default"] for field in setting_fields()}
CODES = sorted(
    {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, CoworkError)
    }
)
KEY = "k" * 32
# Set by the server in the environment of its CLIs.
MADE = {"COWORK_PROCESS"}


CONFIGURATION = "docs/configuration.md"
API = "docs/api.md"
OPERATING = "docs/operating.md"
# Where a reason not to be ready is said.
REASONS = (
    "cowork/readiness.py",
    "cowork/claude/disk_space.py",
    "cowork/claude/installation.py",
    "cowork/history/outbox.py",
)
# The changelog may name a setting that there is no more.
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if path.name != "CHANGELOG.md"
)


def written(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize(("variable", "default"), SETTINGS.items())
def test_every_setting_is_in_the_example_with_its_default(variable, default):
    assert re.findall(rf"(?m)^#? ?{variable}=(.*)$", written(".env.example")) == [default]


@pytest.mark.parametrize(("variable", "default"), SETTINGS.items())
def test_every_setting_is_in_the_documented_table_with_its_default(variable, default):
    rows = re.findall(rf"(?m)^\| `{variable}` \|.*\| ([^|]*) \|$", written(CONFIGURATION))
    assert rows == [f"`{default}`" if default else "unset"]


@pytest.mark.parametrize("name", [".env.example", *DOCUMENTS])
def test_nothing_is_documented_that_is_no_setting(name):
    named = set(re.findall(r"\b(?:COWORK|XO|CHAT_API)_[A-Z_]+[A-Z]\b", written(name)))
    terminals = TERMINAL if name not in {CONFIGURATION, ".env.example"} else set()
    assert named - MADE - ALIASES.keys() - terminals <= SETTINGS.keys()


def test_the_example_is_one_that_can_be_used(tmp_path):
    example = tmp_path / ".env"
    example.write_text((ROOT / ".env.example").read_text())
    assert load({}, dotenv=example) == load({}, dotenv=tmp_path / "none")


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_is_documented(code):
    assert f"`{code}`" in written(API)


@pytest.mark.parametrize("kind", problems.STATUS)
def test_every_error_is_documented_beside_its_status(kind):
    if kind is errors.WorkerLost:
        return  # seen as the state of a turn, not as a reply
    _, _, errors_table = written(API).partition("\n## Errors\n")
    row = next(row for row in errors_table.splitlines() if re.search(rf"^\|.*`{kind.code}`", row))
    assert str(problems.STATUS[kind]) in row.split("|")[1]


@pytest.fixture
def guarded(fake_environ, tmp_path):
    """The application with keys configured."""
    environ = {**fake_environ, "COWORK_API_KEYS": f"me={KEY}"}
    services = open_services(load(environ, dotenv=tmp_path / "none"), environ)
    yield create_app(services)
    services.close()


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def targets(app):
    """A path of every route, and two of none."""
    for rule in app.url_map.iter_rules():
        yield re.sub(r"<[^>]+>", "x", rule.rule)
    yield from ("/no-such-route", "/health/live/more")


def test_no_route_is_open_but_those_that_say_so(guarded):
    client, opened = guarded.test_client(), set()
    for number, path in enumerate(targets(guarded)):
        # An address of its own: wrong keys from one are soon too many.
        client.environ_base["REMOTE_ADDR"] = f"10.0.0.{number}"
        for method in METHODS:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": KEY[:-1]}):
                reply = client.open(path, method=method, headers=headers, query_string={"key": KEY})
                if reply.status_code != 401:
                    opened.add((path, method in {"GET", "HEAD"}))
                reply.close()
    read = {path for path, is_read in opened if is_read}
    assert read - {each for each in read if each.startswith("/docs/assets/")} == {
        "/",
        "/client.d.ts",
        "/client.js",
        "/console/x",
        "/console/vendor/x",
        "/docs",
        "/health/live",
        "/health/ready",
        "/openapi.json",
    }
    assert opened - {(path, True) for path in read} == {("/health/live", False)}


def test_a_key_opens_every_route(guarded):
    client = guarded.test_client()
    for path in targets(guarded):
        reply = client.open(path, method="OPTIONS", headers={"X-API-Key": KEY})
        assert reply.status_code != 401, path
        reply.close()


def test_liveness_says_nothing_but_that_it_lives(guarded):
    reply = guarded.test_client().get("/health/live")
    assert reply.status_code == 200
    assert len(reply.data) < 100


def test_every_route_that_may_be_called_is_documented(guarded):
    # Only what a client calls: files of the two pages are their own business.
    for rule in guarded.url_map.iter_rules():
        if "docs" not in rule.rule and "console" not in rule.rule:
            shown = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            assert re.search(re.sub(r"\\{\w+\\}", "[^/ ]+", re.escape(shown)), written(API)), shown


def test_the_table_of_endpoints_has_every_route_and_no_other(guarded):
    table, _, _ = written(API).partition("\n## ")
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", table))
    routes = set()
    for rule in guarded.url_map.iter_rules():
        shown = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        routes |= {f"{method} {shown}" for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert named == {route for route in routes if not re.search(" /(docs|console)/", route)}


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_has_what_an_operator_can_do(code):
    assert re.search(rf"(?m)^\\|.*`{code}`.*\\|", written(OPERATING))


def test_every_reason_not_to_be_ready_has_what_an_operator_can_do():
    table = re.search(r"(?ms)^## Not ready.*?(?=^## )", written(OPERATING))[0]
    said = [
        text
        for name in REASONS
        for node in ast.walk(ast.parse(written(name)))
        if isinstance(node, ast.FunctionDef) and node.name in {"reasons", "_fault", "_judged"}
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
        for text in [part.value.strip(" :")]
        # A sentence, neither a docstring nor a field's name.
        if " " in text and part is not getattr(node.body[0], "value", None)
    ]
    assert len(said) > 8
    assert [text for text in said if text not in table] == []


def test_every_picture_is_there_small_and_shown():
    files = {file.name for file in pictures.FOLDER.iterdir()}
    assert files == set(pictures.PICTURES)
    shown = "".join(written(name) for name in ("README.md", "docs/console.md"))
    for name in files:
        assert f"pictures/{name}" in shown
        file = pictures.FOLDER / name
        assert 10_000 < file.stat().st_size < pictures.LIMIT_BYTES
        assert file.read_bytes().startswith(b"\x89PNG")
