"""Other APIs' own client libraries against the real CLI, each set in an environment of its own.

One program plays every scene of a set (`tests/clients/sdks/scenes.py`): to import some of these
libraries takes longer than to ask.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from typing import Any

import pytest

from tests.clients.node import HERE
from tests.conftest import missing
from tests.e2e.environment import Stage

# The first test of a set plays all its scenes.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORDS = "word1 word2 word3"
PIECES = ["word1 ", "word2 ", "word3"]
VALUE = {"a": 5}
# What each client has to get; an error is its kind.
EXPECTED: dict[tuple[str, str], Any] = {
    ("openai", "text"): WORDS,
    ("openai", "structured"): VALUE,
    ("openai", "error"): "NotFoundError",
    ("openai", "response"): WORDS,
    ("openai", "response structured"): VALUE,
    ("openai", "response error"): "NotFoundError",
    ("anthropic", "text"): WORDS,
    ("anthropic", "structured"): VALUE,
    ("anthropic", "error"): "NotFoundError",
    ("anthropic", "tokens"): 14,
    ("langchain_openai", "text"): WORDS,
    ("langchain_openai", "structured"): VALUE,
    ("langchain_openai", "error"): "OpenAIModelNotFoundError",
    ("langchain_anthropic", "text"): WORDS,
    ("langchain_anthropic", "structured"): VALUE,
    ("langchain_anthropic", "error"): "AnthropicModelNotFoundError",
    ("pydantic_ai", "text"): WORDS,
    ("pydantic_ai", "structured"): VALUE,
    ("pydantic_ai", "error"): "ModelNotFoundError",
    ("pydantic_ai", "message"): WORDS,
    ("pydantic_ai", "message structured"): VALUE,
    ("llm", "text"): WORDS,
    ("llm", "error"): "NotFoundError",
    ("litellm", "text"): WORDS,
    ("litellm", "structured"): VALUE,
    ("litellm", "error"): "NotFoundError",
    ("instructor", "structured"): VALUE,
    ("instructor", "error"): "InstructorRetryException",
}
STREAMS = ["openai", "anthropic", "langchain_openai", "langchain_anthropic", "pydantic_ai", "llm"]
# Of this set `make clients` alone runs; it takes a minute to install.
LARGE = {"litellm", "instructor"}


@cache
def played(url: str, folder: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What each scene of the set has come to, by client and scene."""
    python = HERE / folder / ".venv" / "bin" / "python"
    if not python.exists():
        if folder == "litellm":
            pytest.skip("make clients installs it")
        missing("tests/clients/sdks/.venv", "make .venv/.stamps/sdks")
    done = subprocess.run(  # noqa: PLW1510 - asserted below
        [python, HERE / "sdks" / "scenes.py", url],
        capture_output=True,
        text=True,
        timeout=240,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(HERE / folder / ".venv"),
            "OPENAI_API_KEY": "any",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LANGSMITH_TRACING": "false",
            "NO_PROXY": "*",
        },
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(line["client"], line["scene"]): line for line in lines}


def got(stage: Stage, client: str, scene: str) -> Any:
    """What the client gets, or the kind of its error."""
    line = played(stage.server.url, "litellm" if client in LARGE else "sdks")[client, scene]
    return line["got"] if "got" in line else line["error"] if "error" in scene else line


@pytest.mark.parametrize(("client", "scene"), EXPECTED)
def test_a_client_gets_what_it_asks_for(stage: Stage, client: str, scene: str) -> None:
    assert got(stage, client, scene) == EXPECTED[client, scene]


@pytest.mark.parametrize("client", [*STREAMS, "litellm"])
def test_a_client_gets_an_answer_piece_by_piece(stage: Stage, client: str) -> None:
    pieces = [each for each in got(stage, client, "stream") if each]
    if client == "pydantic_ai":  # it puts those together that come within a moment
        assert "".join(pieces) == WORDS
        return
    assert pieces[:3] == PIECES
    if client == "anthropic":
        assert pieces[3] == "True"  # the usage


def test_the_models_are_listed_once(stage: Stage) -> None:
    for client in ("openai", "anthropic"):
        found = got(stage, client, "models")
        assert found[0] == "cowork"
        assert len(set(found)) == len(found)


def test_a_response_is_taken_up_where_it_was_cut(stage: Stage) -> None:
    assert got(stage, "openai", "response resumed") == PIECES[1:]
