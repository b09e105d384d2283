"""What a tool of the real CLI reads may be longer than any line that we keep."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from tests.e2e.environment import Stage

pytestmark = pytest.mark.e2e

SIZE = 7 * 2**20
HEAD = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>endobj
4 0 obj<</Length 7340032>>stream
"""
TAIL = b"\nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def test_fault_t4_a_pdf_of_seven_mebibytes_is_read_and_its_frame_says_that_it_is_cut(
    staged: Callable[..., Stage],
) -> None:
    stage = staged()
    pdf = stage.workspace / "a.pdf"
    pdf.write_bytes(HEAD + os.urandom(SIZE) + TAIL)
    tool = json.dumps({"file_path": str(pdf)})
    frames = stage.server.streamed(f"[[tool Read {tool}]] [[say read]]", "p", events=["tool"])
    told = [frame.data for frame in frames]
    (given_back,) = [data for data in told if data.get("type") == "tool_result"]
    assert given_back["truncated"] is True
    assert told[-1]["success"] is True
    (process,) = stage.clis()
    stage.answers_again()
    assert list(stage.clis()) == [process]
