"""T23: nothing turns a debugger on, and an error says nothing of how it came about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cowork.app import create_app
from cowork.composition import open_services
from cowork.settings.settings import load
from tests.contract.replies import says_nothing_private
from tests.serving import Gunicorn

SECRET = "a path /etc/cowork and a word"
DEBUG = {
    "DEBUG": "1",
    "FLASK_DEBUG": "1",
    "FLASK_ENV": "development",
    "WERKZEUG_DEBUG_PIN": "off",
    "PYTHONDEVMODE": "0",
}


def test_t23_no_variable_turns_a_debugger_on(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(**DEBUG)
    for path in ("/console", "/?__debugger__=yes&cmd=resource&f=debugger.js", "/nope"):
        reply = server.get(path)
        assert "debugger" not in reply.text.lower()
        assert "werkzeug" not in (reply.text + str(reply.headers)).lower()
        says_nothing_private(reply.text)
    assert server.get("/nope").json() == {"detail": "Not Found"}


def test_t23_what_breaks_is_told_without_why(fake_environ: dict[str, str], tmp_path: Path) -> None:
    environ = {**fake_environ, **DEBUG}
    services = open_services(load(environ, dotenv=tmp_path / "none"), environ)
    try:
        app = create_app(services)

        def boom() -> str:
            raise RuntimeError(SECRET)

        app.add_url_rule("/boom", view_func=boom)
        assert app.debug is False
        assert app.testing is False
        reply = app.test_client().get("/boom", headers={"Host": "localhost"})
        assert reply.status_code == 500
        assert reply.get_json()["detail"]["code"] == "internal"
        assert SECRET not in reply.text
        assert "RuntimeError" not in reply.text
    finally:
        services.close()
