"""argv, checked as the real CLI checks it."""

# ruff: noqa: SIM905

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_VALUED = frozenset(
    "--input-format --output-format --setting-sources --permission-mode --session-id --resume "
    "--model --fallback-model --system-prompt --append-system-prompt --tools --allowedTools "
    "--disallowedTools --max-turns --max-budget-usd --json-schema --effort --settings "
    "--mcp-config --agents --add-dir --permission-prompt-tool --resume-session-at "
    "--max-thinking-tokens --thinking --betas --prompt-suggestions".split()
)
_SWITCHES = frozenset(
    "--print --verbose --include-partial-messages --strict-mcp-config --replay-user-messages "
    "--fork-session --no-session-persistence --dangerously-skip-permissions "
    "--allow-dangerously-skip-permissions --disable-slash-commands --bare --safe-mode".split()
)
_ALIASES = {"-p": "--print", "-r": "--resume"}
_UUID_PARTS = (8, 4, 4, 4, 12)


class BadArguments(Exception):
    """argv that the CLI refuses; the message is its line on stderr."""


def parse(argv: list[str]) -> dict[str, str]:
    """The flags of a resident process, each with its value ("" for a switch)."""
    flags: dict[str, str] = {}
    rest = iter(argv)
    for item in rest:
        name, equals, value = item.partition("=")
        name = _ALIASES.get(name, name)
        if name in _SWITCHES:
            flags[name] = ""
        elif name in _VALUED:
            flags[name] = value if equals else next(rest, "")
        elif name.startswith("-"):
            raise BadArguments(f"error: unknown option '{name}'")
    _check(flags)
    return flags


def _check(flags: dict[str, str]) -> None:
    if flags.get("--output-format") != "stream-json":
        if flags.get("--input-format") == "stream-json":
            _refuse("Error: --input-format=stream-json requires output-format=stream-json.")
        _refuse("Error: the fake plays --output-format stream-json only")
    if "--verbose" not in flags:
        _refuse("Error: When using --print, --output-format=stream-json requires --verbose")
    if flags.get("--input-format") != "stream-json":
        _refuse("Error: the fake plays --input-format stream-json only")
    if "--session-id" in flags and not _is_uuid(flags["--session-id"]):
        _refuse("Error: Invalid session ID. Must be a valid UUID.")


def _refuse(message: str) -> NoReturn:
    raise BadArguments(message)


def _is_uuid(text: str) -> bool:
    parts = text.split("-")
    return tuple(map(len, parts)) == _UUID_PARTS and all(
        char in "0123456789abcdefABCDEF" for part in parts for char in part
    )
