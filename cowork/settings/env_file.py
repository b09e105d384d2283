"""What the operator has set: the environment over `.env`, and what looks wrong in either.

Nothing is refused here: a name that is no setting, a line that cannot be read.  It is told when the
server starts, with the place and the nearest name.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import parse_stream

MAX_FILE_BYTES = 2**20
# Names of the FastAPI service's later versions, and ours for the same.
ALIASES = {
    "AI_WORKSPACE_ROOT": "COWORK_WORKSPACE",
    "ALLOWED_ORIGINS": "COWORK_ALLOWED_ORIGINS",
    "CLAUDE_PERMISSION_MODE": "COWORK_PERMISSION_MODE",
    "XO_API_KEY": "COWORK_API_KEYS",
}
# Not the server's: the terminal's (docs/cli.md), whose user may run both from one shell.
TERMINAL = frozenset({"COWORK_KEY", "COWORK_URL"})
# The name that the one key has.
ALIAS_KEY_NAME = "default"
_CLIS_OWN = ("ANTHROPIC_", "CLAUDE_CODE_", "AWS_", "GOOGLE_", "HTTP_PROXY", "HTTPS_PROXY")
_OURS = ("COWORK_", "XO_", "CHAT_API_")
_ALIKE = 0.8


class DotenvError(ValueError):
    """A `.env` that cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that are set, and `warnings`, a sentence each.

    `source` of a variable is the name that the operator has used: an alias stands for ours.
    """

    values: dict[str, str]
    warnings: tuple[str, ...]
    source: dict[str, str]


def read(environ: Mapping[str, str], dotenv: Path, known: Iterable[str]) -> Environment:
    """`environ` over the file, which may be absent; `known` are the names of all settings.

    Raises `DotenvError`.
    """
    lines, warnings = _read_file(dotenv)
    values = {name: value for name, (value, _) in lines.items()}
    values.update(environ)
    places = {
        name: "the environment" if name in environ else f"{dotenv.name}, line {lines[name][1]}"
        for name in values
    }
    known = frozenset(known)
    for name, place in places.items():
        warnings += _unknown(name, place, known, is_in_file=name not in environ)
    source: dict[str, str] = {}
    for alias, ours in ALIASES.items():
        given = values.get(alias, "").strip()
        if not given:
            continue
        if values.get(ours, "").strip():
            warnings.append(f"{alias} ({places[alias]}) is not used: {ours} is set")
            continue
        values[ours] = given if alias != "XO_API_KEY" else f"{ALIAS_KEY_NAME}={given}"
        source[ours] = alias
        said = ours if alias != "XO_API_KEY" else f"{ours}={ALIAS_KEY_NAME}=..."
        warnings.append(f"{alias} ({places[alias]}) is taken for {said}: use that name")
    if values.get("CODEX_CLI_PATH", "").strip():
        warnings.append(f"CODEX_CLI_PATH ({places['CODEX_CLI_PATH']}) is not used: Claude answers")
    return Environment(values, tuple(warnings), source)


def _read_file(dotenv: Path) -> tuple[dict[str, tuple[str, int]], list[str]]:
    """Each name's value and line, and what is wrong with other lines."""
    try:
        with dotenv.open("rb") as source:
            content = source.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}, []
    except OSError as fault:
        raise DotenvError(f"{dotenv.name} cannot be read: {fault.strerror}") from fault
    if len(content) > MAX_FILE_BYTES:
        raise DotenvError(f"{dotenv.name} is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise DotenvError(f"{dotenv.name}, line {line}: not UTF-8 text; save it as UTF-8") from None
    found, warnings = {}, []
    for binding in parse_stream(io.StringIO(text)):
        # A binding begins behind the one before, blank lines first.
        original = binding.original
        blank = len(original.string) - len(original.string.lstrip())
        line = original.line + original.string.count("\n", 0, blank)
        if binding.error:
            warnings.append(f"{dotenv.name}, line {line}: not NAME=value, passed over")
        elif binding.key is not None and binding.value is None:
            warnings.append(f"{dotenv.name}, line {line}: {binding.key} has no value, passed over")
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value, line
    return found, warnings


def _unknown(name: str, place: str, known: frozenset[str], *, is_in_file: bool) -> list[str]:
    """What is wrong with a name, if anything."""
    if name in known or name in ALIASES or name in TERMINAL or name == "CODEX_CLI_PATH":
        return []
    if is_in_file and name.startswith(_CLIS_OWN):
        return [
            f"{name} ({place}) does not reach the CLI: export it in the server's own environment"
        ]
    near = difflib.get_close_matches(name, known, 1, _ALIKE)
    if near and (is_in_file or name.startswith(_OURS)):
        return [f"{name} ({place}) is no setting: did you mean {near[0]}?"]
    return [f"{name} ({place}) is no setting"] if name.startswith("COWORK_") else []
