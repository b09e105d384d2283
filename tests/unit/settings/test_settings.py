"""Settings are read whole, checked, and their faults told all at once, without a secret."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.settings import parsers, settings
from cowork.settings.settings import Settings, SettingsError, setting_fields

NO_FILE = Path("/nonexistent/.env")
KEY = "k" * 32


def load(**environ: str) -> Settings:
    return settings.load(environ, dotenv=NO_FILE)


def faults(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return caught.value.faults


def test_without_any_variable_everything_has_its_default():
    found = load()
    assert (found.host, found.port) == ("0.0.0.0", 5002)  # noqa: S104
    assert found.chat_api_base_url == "http://localhost:5001"
    assert found.claude_timeout == 300.0
    assert found.api_keys == {}
    assert found.workspace == Path("~/.xo-cowork/workspace").expanduser()
    assert found.store == "memory://"


def test_every_fault_is_told_at_once():
    wrong = {"PORT": "x", "CLAUDE_TIMEOUT": "-1", "COWORK_STORE": "what://", "COWORK_API_KEYS": "a"}
    found = faults(**wrong)
    assert sorted(line.partition(":")[0] for line in found) == sorted(wrong)
    with pytest.raises(SettingsError) as caught:
        load(**wrong)
    assert all(line in str(caught.value) for line in found)


def test_a_fault_names_what_was_expected_and_what_was_given():
    (line,) = faults(PORT="99999")
    assert line == "PORT: expected a whole number from 0 to 65535, got '99999'"


VARIABLES = {field.metadata["variable"]: field for field in setting_fields()}
SECRETS = [name for name, field in VARIABLES.items() if field.metadata["secret"]]


def test_what_is_secret_is_known():
    assert sorted(SECRETS) == [
        "CHAT_API_TOKEN",
        "COWORK_API_KEYS",
        "COWORK_MCP_CONFIG",
        "COWORK_STORE",
        "XO_AUTH_SESSION_ID",
        "XO_POLL_TOKEN",
    ]


@pytest.mark.parametrize(
    ("variable", "raw"),
    [
        ("CHAT_API_TOKEN", "canary with a space"),
        ("CHAT_API_TOKEN", "canary\nsecond"),
        ("COWORK_API_KEYS", "canary"),
        ("COWORK_API_KEYS", "me=canary"),
        ("COWORK_API_KEYS", f"canary{KEY}"),
        ("COWORK_API_KEYS", f"me=canary{KEY},me=canary{KEY}"),
        ("COWORK_API_KEYS", f"me=canary{KEY}é"),
        ("CHAT_API_BASE_URL", "http://user:canary@example.com"),
        ("CHAT_API_BASE_URL", "http://example.com?token=canary"),
    ],
)
def test_no_fault_shows_a_secret(variable, raw):
    (line,) = faults(**{variable: raw})
    assert "canary" not in line


def test_settings_shown_show_no_secret():
    given_all = {
        "CHAT_API_TOKEN": "canary-1",
        "XO_AUTH_SESSION_ID": "canary-2",
        "XO_POLL_TOKEN": "canary-3",
        "COWORK_API_KEYS": f"me=canary-4{KEY}",
    }
    found = load(**given_all)
    assert "canary" not in repr(found)
    assert "canary" not in str(found)
    assert found.secrets() == ("canary-1", "canary-2", "canary-3", f"canary-4{KEY}")


@pytest.mark.parametrize("variable", [name for name in VARIABLES if name != "CHAT_API_BASE_URL"])
def test_a_blank_variable_means_its_default(variable):
    for blank in ("", " ", "\t\n"):
        assert load(**{variable: blank}) == load()


def test_a_blank_chat_api_is_switched_off():
    assert load(CHAT_API_BASE_URL="").chat_api_base_url == ""


def test_every_default_is_one_that_an_operator_could_have_written():
    assert load(**{name: field.metadata["default"] for name, field in VARIABLES.items()}) == load()


def test_the_environment_goes_before_the_file(tmp_path):
    file = tmp_path / ".env"
    file.write_text("PORT=7001\nHOST=127.0.0.1\nUNKNOWN=x\n")
    found = settings.load({"PORT": "7002"}, dotenv=file)
    assert (found.port, found.host) == (7002, "127.0.0.1")


def test_a_faulty_file_is_told_like_the_environment(tmp_path):
    file = tmp_path / ".env"
    file.write_text("PORT=many\n")
    with pytest.raises(SettingsError, match="PORT"):
        settings.load({}, dotenv=file)


def test_a_file_is_read_as_it_is_written(tmp_path):
    file = tmp_path / ".env"
    file.write_text(f"CHAT_API_TOKEN=a${{HOME}}b\nCOWORK_API_KEYS='me={KEY}'\nXO_POLL_TOKEN\n")
    found = settings.load({"HOME": "/root"}, dotenv=file)
    assert found.chat_api_token == "a${HOME}b"
    assert found.api_keys == {"me": KEY}
    assert found.xo_poll_token is None


def test_nothing_in_the_file_is_exported(tmp_path, monkeypatch):
    monkeypatch.delenv("PORT", raising=False)
    file = tmp_path / ".env"
    file.write_text("PORT=7001\n")
    environ: dict[str, str] = {}
    settings.load(environ, dotenv=file)
    assert environ == {}
    assert settings.load(dotenv=NO_FILE).port == 5002


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().port = 1


TABLE = [
    (parsers.string, " a b ", "a b"),
    (parsers.optional_string, "  ", None),
    (parsers.optional_string, " x ", "x"),
    (parsers.token, " ", None),
    (parsers.token, " a!~b ", "a!~b"),
    *[(parsers.boolean, word, True) for word in ("1", "true", "YES", " On ")],
    *[(parsers.boolean, word, False) for word in ("0", "False", "no", "off")],
    (parsers.integer(0, 9), " 9 ", 9),
    (parsers.integer(-1, 9), "-1", -1),
    (parsers.seconds(0.1), "0.1", 0.1),
    (parsers.seconds(-1.0), "-1", -1.0),
    (parsers.seconds(0.0), "86400", 86400.0),
    (parsers.choice("a", "b"), " b ", "b"),
    (parsers.base_url, "", ""),
    (parsers.base_url, " https://x.example:8443/base// ", "https://x.example:8443/base"),
    (parsers.base_url, "http://[::1]:80", "http://[::1]:80"),
    (parsers.url_path, " /a/b ", "/a/b"),
    (parsers.comma_list, " a, b ,,c", ("a", "b", "c")),
    (parsers.comma_list, "", ()),
    (parsers.absolute_path, "/a/b", Path("/a/b")),
    (parsers.absolute_path, "~/x", Path("~/x").expanduser()),
    (parsers.store_url, "memory://", "memory://"),
    (parsers.api_keys, f"me={KEY}, you={KEY}x", {"me": KEY, "you": f"{KEY}x"}),
    (parsers.api_keys, f"me={KEY}=", {"me": f"{KEY}="}),
    (parsers.api_keys, "", {}),
]


@pytest.mark.parametrize(("parse", "raw", "value"), TABLE)
def test_what_can_be_used_is_read(parse, raw, value):
    assert parse(raw) == value


WRONG = [
    *[(parsers.token, raw) for raw in ("a b", "a\nb", "ü", "a\0", "\x7f")],
    *[(parsers.boolean, raw) for raw in ("", "2", "ja", "tru", "None")],
    *[
        (parsers.integer(0, 9), raw)
        for raw in ("", "10", "-1", "1.0", "1e0", "0x1", "9" * 400, "a")
    ],
    *[(parsers.seconds(0.1), raw) for raw in ("0", "0.09", "86401", "inf", "nan", "1e3", "", "1s")],
    *[(parsers.choice("a", "b"), raw) for raw in ("", "A", "a,b", "c")],
    *[(parsers.base_url, raw) for raw in ("x", "ftp://x", "//x", "http://", "http:///p", "x:80")],
    *[
        (parsers.base_url, raw)
        for raw in ("http://u@x", "http://u:p@x", "http://x?q", "http://x#f")
    ],
    *[
        (parsers.base_url, raw)
        for raw in ("http://x:0", "http://x:99999", "http://x:a", "http://[")
    ],
    *[
        (parsers.url_path, raw)
        for raw in ("", "a/b", "http://x/y", "/a b", "/a?b", "/a#b", "/a\nb")
    ],
    *[(parsers.absolute_path, raw) for raw in ("", "a/b", "./a", "../a")],
    *[(parsers.store_url, raw) for raw in ("memory", "memory:///x", "file:///x")],
    *[(parsers.api_keys, raw) for raw in (KEY, f"={KEY}", f"a b={KEY}", f"me={KEY[:-1]}", "me=")],
    *[(parsers.api_keys, raw) for raw in (f"me={KEY},me={KEY}y", f"ü={KEY}", f"{'n' * 65}={KEY}")],
]


@pytest.mark.parametrize(("parse", "raw"), WRONG)
def test_what_cannot_be_used_is_refused_in_words(parse, raw):
    with pytest.raises(ValueError, match="expected"):
        parse(raw)


@given(st.sampled_from(sorted(VARIABLES)), st.text(max_size=30))
def test_no_value_of_a_variable_breaks_the_reading(variable, raw):
    told = []
    try:
        load(**{variable: raw})
    except SettingsError as error:
        told = error.faults
    assert len(told) <= 1
    assert all(line.startswith(f"{variable}: expected") for line in told)


@pytest.mark.parametrize(
    ("variable", "good", "bad"),
    [
        (
            "COWORK_ALLOWED_HOSTS",
            ["cowork.example", "a.example, b.example", "[::1]", "10.0.0.1"],
            ["https://a.example", "a.example:80", "*", "*.example", "a b", "u@a"],
        ),
        (
            "COWORK_ALLOWED_ORIGINS",
            ["https://a.example", "http://localhost:3000/", "chrome-extension://abc"],
            ["a.example", "*", "null", "https://*.example", "https://a.example/x", "https://u@a"],
        ),
        (
            "COWORK_TRUSTED_PROXIES",
            ["127.0.0.1", "10.0.0.0/8, fd00::/8", "10.1.2.3/8"],
            ["localhost", "10.0.0.0/33", "10.0.0", "*"],
        ),
    ],
)
def test_who_may_call_is_said_exactly(variable, good, bad):
    for raw in good:
        assert load(**{variable: raw})
    for raw in bad:
        (line,) = faults(**{variable: raw})
        assert line.startswith(f"{variable}: expected")


def test_a_file_of_keys_has_to_be_one_and_its_content_is_no_ones_to_read(tmp_path):
    file = tmp_path / "keys"
    variable = {"COWORK_API_KEYS_FILE": str(file)}
    assert "can be read" in faults(**variable)[0]
    for content in ("", "# nobody\n", "me=canary", f"me=canary{KEY}\nme=canary{KEY}x"):
        file.write_text(content)
        (line,) = faults(**variable)
        assert re.match("COWORK_API_KEYS_FILE: (line 1: )?expected", line)
        assert "canary" not in line
    file.write_text(f"me={KEY}\n")
    assert load(**variable).api_keys_file == file
    assert faults(COWORK_API_KEYS_FILE="keys")
