"""A name in a URL is what the client wrote, slashes and percent signs included."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from flask import Flask, jsonify, url_for
from hypothesis import example, given
from hypothesis import strategies as st

from cowork.web import url_segments

app = Flask("paths", static_folder=None)
url_segments.register(app)


@app.route("/sessions/<project>", methods=["GET", "DELETE"])
def session(project):
    return jsonify([project])


@app.get("/sessions/<project>/turn/<string:turn>")
def turn(project, turn):
    return jsonify([project, turn])


@app.get("/sessions")
def sessions():
    return jsonify([])


def get(target, variable="RAW_URI"):
    """The names in a request target, as bytes on the wire; None for no such route."""
    environ = {"RAW_URI": "", "REQUEST_URI": "", "PATH_INFO": "/not/looked/at", variable: target}
    reply = app.test_client().get("/x", environ_overrides=environ)
    return reply.json if reply.status_code == 200 else None


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
awkward = st.text(st.sampled_from("/%2F5f.\\?#;&=+ ~\n\0é日"), min_size=1, max_size=12)


@given(names | awkward)
@example("..")
@example(".")
@example("/")
@example("%2F")
@example("%252F")
def test_any_name_comes_back_as_it_was_quoted(name):
    assert get(f"/sessions/{quote(name, safe='')}") == [name]


@given(awkward, awkward)
def test_two_names_do_not_run_together(name, other):
    target = f"/sessions/{quote(name, safe='')}/turn/{quote(other, safe='')}"
    assert get(target) == [name, other]


@given(names | awkward)
def test_a_url_that_we_write_leads_back_to_its_name(name):
    with app.test_request_context():
        assert get(url_for("session", project=name)) == [name]


TABLE = [
    ("/sessions/a%2Fb", ["a/b"]),
    ("/sessions/a%2fb", ["a/b"]),
    ("/sessions/%2Flead", ["/lead"]),
    ("/sessions/a%2F%2Fb", ["a//b"]),
    ("/sessions/a%252Fb", ["a%2Fb"]),
    ("/sessions/a%25252Fb", ["a%252Fb"]),
    ("/sessions/%25", ["%"]),
    ("/sessions/%2525", ["%25"]),
    ("/sessions/100%", ["100%"]),
    ("/sessions/%zz", ["%zz"]),
    ("/sessions/%2", ["%2"]),
    ("/sessions/%2e%2e", [".."]),
    ("/sessions/..", [".."]),
    ("/sessions/a%00b%0ac", ["a\0b\nc"]),
    ("/sessions/a+b%20c", ["a+b c"]),
    ("/sessions/%E6%97%A5", ["日"]),
    ("/sessions/%FF", ["\ufffd"]),
    ("/sessions/a?x=/b", ["a"]),
    ("/sessions/a%3Fx", ["a?x"]),
    ("/sessions/a%23x;y=1", ["a#x;y=1"]),
    ("/%73essions/a", ["a"]),
    ("/sessions", []),
    ("/sessions?x", []),
    ("http://anyone.example/sessions/a%2Fb?x=1", ["a/b"]),
    ("https://[::1]:5002/sessions/%252F", ["%2F"]),
    ("HTTP://localhost/sessions", []),
    ("/sessions/a/b", None),
    ("/sessions//a", None),
    ("/sessions%2Fa", None),
    ("/a%2F..%2Fsessions/a", None),
    ("/a/../sessions/a", None),
    ("http://localhost", None),
    ("*", None),
    ("localhost:5002", None),
]


@pytest.mark.parametrize(("target", "found"), TABLE)
def test_a_request_target_leads_where_it_says(target, found):
    assert get(target, "RAW_URI") == found
    assert get(target, "REQUEST_URI") == found


def test_without_a_raw_target_the_decoded_path_must_do():
    assert app.test_client().get("/sessions/a%20b").json == ["a b"]


@pytest.mark.parametrize("target", ["", None])
def test_a_server_that_gives_no_raw_target_is_served_too(target):
    environ = {"RAW_URI": target, "REQUEST_URI": target}
    reply = app.test_client().get("/sessions/ab", environ_overrides=environ)
    assert reply.json == ["ab"]
