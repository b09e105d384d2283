"""`GET /workers` of a server that is alone, and who may see it."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.serving import Client, Served

A, B = "a" * 40, "b" * 40


def test_a_server_that_is_alone_is_the_one_worker(served: Served) -> None:
    served.ask("hi")
    (worker,) = served.get("/workers").json()["workers"]
    assert (worker["pid"], worker["projects"], worker["processes"]) == (os.getpid(), 1, 1)
    assert worker["started_at"] <= worker["last_beat"]


def test_t10_only_operators_see_how_much_others_do(
    serve: Callable[..., Served], another: Callable[..., Client]
) -> None:
    served = serve(COWORK_API_KEYS=f"a={A},b={B}", COWORK_ADMIN_KEYS="a")
    assert another(served, A).get("/workers").json()["count"] == 1
    refused = another(served, B).get("/workers")
    assert (refused.status_code, refused.json()["detail"]["code"]) == (403, "forbidden")
    assert served.get("/workers").status_code == 401


def test_a_hint_for_a_proxy_decides_nothing(served: Served) -> None:
    body = {"project_name": "häuser", "question": "hi"}
    for given in ("h%C3%A4user", "h%c3%a4user"):
        reply = served.post("/ask_question", body, headers={"X-Cowork-Project": given})
        assert reply.status_code == 200
        assert reply.json()["project_id"] == "häuser"
    for path in ("/sessions/häuser/interrupt", "/sessions/häuser/warm"):
        assert served.post(path, headers={"X-Cowork-Project": "garden"}).status_code == 422
    refused = served.post("/ask_question", body, headers={"X-Cowork-Project": "garden"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["header", "X-Cowork-Project"]
