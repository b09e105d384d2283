"""Debian's nginx with the site that we ship, in front of a server under test."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.serving import ROOT, Client, free_port, wait_for

SITE = ROOT / "deploy" / "nginx.conf"
MANY = ROOT / "deploy" / "nginx-many.conf"
_UPSTREAM = re.compile(r"^upstream \w+ \{.*?^\}\n", re.DOTALL | re.MULTILINE)
STOP_S = 5.0
MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def nginx_binary() -> str:
    """The path of nginx; absent, the test is skipped at home and fails in CI."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/sbin")
    if binary is None:
        missing("nginx", "apt-get install nginx-light")
    return str(binary)


@contextmanager
def nginx(folder: Path, server_port: int, second_port: int | None = None) -> Iterator[str]:
    """The URL of nginx with our site; only ports and the log's folder are others.

    With a second server there are two behind it, by our `nginx-many.conf`.
    """
    binary = nginx_binary()
    folder.mkdir()
    port = free_port()
    (folder / "site.conf").write_text(_site(folder, port, server_port, second_port))
    (folder / "main.conf").write_text(MAIN.format(folder=folder))
    with (folder / "stderr.log").open("wb") as said:
        child = subprocess.Popen(
            [binary, "-p", str(folder), "-c", str(folder / "main.conf"), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: child.poll() is not None or _answers(url), what="nginx")
        assert child.poll() is None, (folder / "stderr.log").read_text()
        yield url
    finally:
        child.terminate()
        child.wait(STOP_S)


def _site(folder: Path, port: int, server_port: int, second_port: int | None) -> str:
    text = SITE.read_text()
    if second_port is not None:
        text = _UPSTREAM.sub(lambda _: MANY.read_text(), text, count=1)
    changes = [
        ("    listen 80;", f"    listen 127.0.0.1:{port};"),
        ("server 127.0.0.1:5002", f"server 127.0.0.1:{server_port}"),
        ("/var/log/nginx/", f"{folder}/"),
    ]
    if second_port is not None:
        changes.append(("server 127.0.0.1:5003", f"server 127.0.0.1:{second_port}"))
    for ours, theirs in changes:
        assert ours in text, f"{SITE.name} has no {ours!r}"
        # The second `listen 80` is a comment.
        text = text.replace(ours, theirs)
    return text


def _answers(url: str) -> bool:
    client = Client(url)
    try:
        return client.get("/health/live").status_code == 200
    except OSError:  # requests' own errors are such
        return False
    finally:
        client.close()
