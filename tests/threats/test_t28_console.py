"""T28: the page that `/` gives a browser, what it may do there, and what is served with it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from cowork.web import console
from tests.serving import Served
from tests.threats.wire import tell

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data: blob:",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "object-src": "'none'",
}
MOST_BYTES = 100_000


def paths() -> list[str]:
    return [f"/console/{name}" for name in console.assets()]


def test_a_browser_gets_the_page_and_everybody_else_the_json(served: Served) -> None:
    page = served.get("/", headers=BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for accept in ("*/*", "application/json", "text/event-stream", "application/json, text/html"):
        reply = served.get("/", headers={"Accept": accept})
        assert reply.json() == {"status": "XO Cowork API running"}, accept
        assert "Accept" in reply.headers["Vary"]
    assert "Accept" in page.headers["Vary"]
    assert served.http.head(served.url + "/", headers=BROWSER).headers["ETag"]


def test_t28_whatever_is_served_with_the_page_keeps_other_scripts_and_frames_out(
    served: Served,
) -> None:
    for path in ["/", "/client.js", "/client.d.ts", *paths()]:
        reply = served.get(path, headers=BROWSER)
        assert reply.status_code == 200, path
        given = reply.headers["Content-Security-Policy"]
        assert dict(each.strip().split(" ", 1) for each in given.split(";")) == POLICY, path
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["Cache-Control"] == "no-cache"
    page = served.get("/", headers=BROWSER).headers
    assert page["X-Frame-Options"] == "DENY"
    assert page["Cross-Origin-Opener-Policy"] == "same-origin"
    assert page["X-DNS-Prefetch-Control"] == "off"


def test_t28_the_page_has_no_script_or_style_in_it_and_loads_its_own_files_alone(
    served: Served,
) -> None:
    page = served.get("/", headers=BROWSER).text
    assert not re.search(r"<script(?![^>]* src=)|<style|\bstyle=|\bon\w+=", page)
    named = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert len(named) > 10
    for name in named:
        assert served.get(f"/{name}").status_code == 200, name
    for name, asset in console.assets().items():
        if name.startswith("vendor/") or not name.endswith((".js", ".css", ".html")):
            continue
        text = asset.content.decode()
        for address in re.findall(r"https?://[^\s\"'`)]+", text):
            assert address.startswith("http://www.w3.org/"), (name, address)
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, (name, way)


def test_what_a_browser_has_is_not_sent_again(served: Served) -> None:
    for path in ("/", "/client.js", "/console/console.css"):
        tag = served.get(path, headers=BROWSER).headers["ETag"]
        again = served.get(path, headers={**BROWSER, "If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/console.py",
        "/console/../web/console.py",
        "/console/%2e%2e/web/console.py",
        "/console/..%2fweb%2fconsole.py",
        "/console/vendor/../../web/console.py",
        "/console/vendor%2fpurify.min.js.map",
        "/console//etc/passwd",
        "/console/%2fetc%2fpasswd",
        "/console/vendor/..%2f..%2fapp.py",
        "/console/app.js%00",
    ],
)
def test_t28_no_other_file_can_be_read_by_the_pages_paths(served: Served, path: str) -> None:
    said = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert tell(served, said.encode()).status == 404


def test_all_of_it_is_less_than_100_kb_gzipped() -> None:
    sizes = {
        name: len(gzip.compress(asset.content, 9, mtime=0))
        for name, asset in console.assets().items()
        if not name.endswith((".txt", ".ts"))
    }
    assert sum(sizes.values()) < MOST_BYTES, sizes


def test_what_is_served_is_what_stands_in_the_folder_but_for_comments_and_indentation() -> None:
    for name, asset in console.assets().items():
        source = (console.FOLDER / name).read_bytes()
        if asset.content == source:
            continue
        assert "/" not in name, name
        assert name.endswith((".css", ".js")), name
        said = [line.lstrip() for line in source.decode().splitlines()]
        served = asset.content.decode().splitlines()
        assert not [line for line in served if line.startswith(("//", "/*"))], name
        code = [line for line in said if line in served or not line.startswith(("//", "/*", "*"))]
        assert served == [line for line in code if line], name


def test_files_of_others_are_told_of_with_their_version_and_licence() -> None:
    folder = console.FOLDER / "vendor"
    told = (folder / "VENDOR.txt").read_text()
    for file in folder.glob("*.js"):
        (version,) = re.findall(
            rf"^{re.escape(file.name)}\s+\S+ (\d+\.\d+\.\d+)", told, re.MULTILINE
        )
        assert version in file.read_text()[:600], file.name
    named: list[Path] = [folder / name for name in re.findall(r"\((\S+\.LICENSE\.txt)\)", told)]
    assert len(named) == 2
    assert all(path.stat().st_size > 1000 for path in named)


def test_t28_the_example_loads_the_client_from_where_it_says_itself() -> None:
    text = (Path(__file__).parents[2] / "examples" / "chat.html").read_text()
    assert 'import { CoworkClient } from "http://localhost:5002/client.js";' in text
    for way in ("location.search", "location.hash", "import(", "innerHTML"):
        assert way not in text, way
