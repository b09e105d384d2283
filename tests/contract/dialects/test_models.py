"""`GET /v1/models`: one list that clients of OpenAI and of Anthropic read."""

from __future__ import annotations

import pytest

from tests.contract.replies import send
from tests.serving import Served


def test_the_list_is_the_servers_own_and_the_clis(served: Served) -> None:
    said = served.get("/v1/models").json()
    ids = [each["id"] for each in said["data"]]
    assert ids == ["cowork", *(each["id"] for each in served.get("/models").json()["models"])]
    assert (said["object"], said["has_more"]) == ("list", False)
    assert (said["first_id"], said["last_id"]) == (ids[0], ids[-1])
    for each in said["data"]:
        assert (each["object"], each["type"]) == ("model", "model")
        assert isinstance(each["created"], int)
        assert each["created_at"].endswith("Z")
        assert each["display_name"]


def test_the_page_behind_any_other_is_empty(served: Served) -> None:
    said = served.get("/v1/models?after_id=cowork&limit=20").json()
    assert (said["data"], said["has_more"]) == ([], False)
    assert (said["first_id"], said["last_id"]) == (None, None)


def test_each_is_found_by_its_id(served: Served) -> None:
    for each in served.get("/v1/models").json()["data"]:
        assert served.get(f"/v1/models/{each['id']}").json() == each


@pytest.mark.parametrize("target", ["/v1/models/gpt-4o", "/v1/models/openai%2Fgpt-4o"])
def test_another_is_not_found(served: Served, target: str) -> None:
    reply = send(served, "GET", target)
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert error["code"] == "model_not_found"
    assert ("openai/gpt-4o" in error["message"]) is ("%2F" in target)
    anthropic = send(served, "GET", target, headers={"anthropic-version": "2023-06-01"})
    assert anthropic.json()["error"]["type"] == "not_found_error"
