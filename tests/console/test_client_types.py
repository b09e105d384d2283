"""The types of `/client.js` say what it does, as far as TypeScript can tell."""

from __future__ import annotations

import re
import subprocess

from cowork.web import console
from tests.clients.node import node_binary
from tests.console.browser import HERE
from tests.patience import PATIENCE_S

OPTIONS = (
    "--noEmit --strict --target es2022 --module es2022 --moduleResolution bundler --lib es2022,dom"
)


def test_a_program_on_the_client_is_typed() -> None:
    done = subprocess.run(
        [node_binary("tsc"), *OPTIONS.split(), str(HERE / "typed.ts")],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=HERE,
    )
    assert done.returncode == 0, done.stdout


def test_every_method_of_the_client_has_its_type() -> None:
    code, types = (
        (console.FOLDER / name).read_text() for name in (console.CLIENT, console.CLIENT_TYPES)
    )
    body = code.partition("export class CoworkClient {")[2].partition("\n}\n")[0]
    methods = set(re.findall(r"(?m)^  (?:async )?\*?(\w+)\(.*\) \{", body)) - {"constructor"}
    assert len(methods) > 25
    typed = types.partition("export class CoworkClient {")[2]
    assert {name for name in methods if f"  {name}(" not in typed} == set()
