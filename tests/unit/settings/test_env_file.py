"""What an operator gets wrong in the environment, in `.env` and in the file of keys is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cowork.settings import settings
from cowork.settings.settings import Settings, SettingsError, setting_fields

KEY = "k" * 32


@pytest.fixture
def load(tmp_path: Path):
    """Settings of a `.env` of this content, and of this environment."""

    def read(content: str | bytes = b"", **environ: str) -> Settings:
        file = tmp_path / ".env"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return settings.load(environ, dotenv=file)

    return read


def test_what_is_right_is_passed_over(load) -> None:
    names = "\n".join(
        f"{field.metadata['variable']}={field.metadata['default']}" for field in setting_fields()
    )
    found = load(f"# ours\nexport PORT='7000'\n\n{names}\nEDITOR=vi\nMY_APP_KEY=x\n")
    assert found.warnings == ()
    assert (
        load("", PATH="/bin", LANG="C", ANTHROPIC_API_KEY="sk", XDG_CONFIG_HOME="/x").warnings == ()
    )


def test_the_terminals_own_names_are_passed_over(load) -> None:
    assert load("", COWORK_URL="http://localhost:1", COWORK_KEY=KEY).warnings == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\n\nCOWORK_KEEPALVE=3\n", ".env, line 3) is no setting: did you mean COWORK_KEEPALIVE?"),
        ("PORT=1\nCLAUDE_TIMEOUTS=3\n", "line 2) is no setting: did you mean CLAUDE_TIMEOUT?"),
        ("COWORK_NOTHING_LIKE_IT=1", "COWORK_NOTHING_LIKE_IT (.env, line 1) is no setting"),
        ("# so\n\nthis is no line\n", ".env, line 3: not NAME=value, passed over"),
        ("CLAUDE_TIMEOUT\n", ".env, line 1: CLAUDE_TIMEOUT has no value, passed over"),
        ("ANTHROPIC_API_KEY=sk-1\n", "ANTHROPIC_API_KEY (.env, line 1) does not reach the CLI"),
        ("CLAUDE_CODE_USE_BEDROCK=1\n", "CLAUDE_CODE_USE_BEDROCK (.env, line 1) does not reach"),
        ("CODEX_CLI_PATH=/x\n", "CODEX_CLI_PATH (.env, line 1) is not used"),
    ],
)
def test_fault_n6_each_is_told_with_its_line_and_the_nearest_name(load, content, said) -> None:
    (warning,) = load(content).warnings
    assert said in warning
    assert "sk-1" not in warning


def test_fault_n6_a_misspelt_name_of_the_environment_is_told_too(load) -> None:
    (warning,) = load("", COWORK_API_KEY="x").warnings
    assert warning == (
        "COWORK_API_KEY (the environment) is no setting: did you mean COWORK_API_KEYS?"
    )


@pytest.mark.parametrize(
    ("content", "line"), [(b"PORT=1\nNAME=\xe9t\xe9\n", 2), ("PORT=1\n".encode("utf-16"), 1)]
)
def test_fault_n6_a_file_that_is_not_utf_8_is_one_line(load, content, line) -> None:
    with pytest.raises(SettingsError) as caught:
        load(content)
    assert caught.value.faults == [f".env, line {line}: not UTF-8 text; save it as UTF-8"]


def test_fault_n6_a_mark_before_a_file_is_passed_over(load) -> None:
    found = load(b"\xef\xbb\xbfPORT=7001\n")
    assert (found.port, found.warnings) == (7001, ())


def test_fault_n6_a_folder_in_its_place_is_one_line(tmp_path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        settings.load({}, dotenv=tmp_path / ".env")


@pytest.mark.parametrize("quoted", [f'web="{KEY}"', f"\n# ours\nweb='{KEY}'"])
def test_fault_n6_quotes_in_a_file_of_keys_are_no_part_of_a_key(load, tmp_path, quoted) -> None:
    keys = tmp_path / "keys"
    keys.write_text(quoted)
    with pytest.raises(SettingsError) as caught:
        load("", COWORK_API_KEYS_FILE=str(keys))
    line = 1 + quoted.count("\n")
    assert f"line {line}: expected keys without quotes" in caught.value.faults[0]
    assert KEY not in str(caught.value)


def test_fault_n7_names_of_the_later_fastapi_service_are_taken_for_ours(load) -> None:
    found = load(
        f"XO_API_KEY={KEY}\nAI_WORKSPACE_ROOT=/srv/work\nALLOWED_ORIGINS=https://a.example\n",
        CLAUDE_PERMISSION_MODE="acceptEdits",
    )
    assert found.api_keys == {"default": KEY}
    assert found.workspace == Path("/srv/work")
    assert found.allowed_origins == ("https://a.example",)
    assert found.permission_mode == "acceptEdits"
    assert "XO_API_KEY (.env, line 1) is taken for COWORK_API_KEYS=default=...: use that name" in (
        found.warnings
    )
    assert len(found.warnings) == 4
    assert KEY not in str(found.warnings)


def test_fault_n7_where_both_are_set_ours_counts_and_it_is_said(load) -> None:
    found = load("ALLOWED_ORIGINS=https://a.example\n", COWORK_ALLOWED_ORIGINS="https://b.example")
    assert found.allowed_origins == ("https://b.example",)
    assert found.warnings == (
        "ALLOWED_ORIGINS (.env, line 1) is not used: COWORK_ALLOWED_ORIGINS is set",
    )


def test_fault_n7_a_fault_names_what_the_operator_has_written(load) -> None:
    with pytest.raises(SettingsError) as caught:
        load("XO_API_KEY=short\nALLOWED_ORIGINS=*\n")
    assert caught.value.faults == [
        "XO_API_KEY: expected keys of at least 32 characters",
        "ALLOWED_ORIGINS: expected scheme://name[:port], without * or a path, comma-separated, got '*'",
    ]
