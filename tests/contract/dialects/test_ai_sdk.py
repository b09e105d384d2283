"""`/api/chat`: the AI SDK's chats."""

from __future__ import annotations

import json
from typing import Any

import requests

from tests.serving import Client, Served, wait_for

PNG = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def user(text: str, *parts: Any) -> dict[str, Any]:
    return {"id": f"u-{text}", "role": "user", "parts": [{"type": "text", "text": text}, *parts]}


def assistant(frames: list[Any]) -> dict[str, Any]:
    """The message that the hook makes of a stream."""
    text = "".join(each["delta"] for each in frames if each["type"] == "text-delta")
    name = frames[0]["messageId"]
    return {"id": name, "role": "assistant", "parts": [{"type": "text", "text": text}]}


def chat(client: Client, messages: list[Any], name: str = "chat-1", **more: Any) -> Any:
    body = {"id": name, "messages": messages, "trigger": "submit-message", **more}
    return client.post("/api/chat", body)


def frames_of(reply: requests.Response) -> list[Any]:
    """The JSON of each frame, without the end, which has to be there."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert reply.headers["x-vercel-ai-ui-message-stream"] == "v1"
    *data, end = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert end == "[DONE]"
    return [json.loads(each) for each in data]


def text_of(frames: list[Any]) -> str:
    return str(assistant(frames)["parts"][0]["text"])


def state_of(reply: requests.Response) -> str:
    return str(reply.headers["X-Session-State"])


def test_an_answer_is_a_message_whose_id_is_its_turns(served: Served) -> None:
    reply = chat(served, [user("[[words 3]]")])
    frames = frames_of(reply)
    assert text_of(frames) == "w1 w2 w3"
    turn = served.get(f"/turns/{reply.headers['X-Turn-ID']}").json()
    assert frames[0]["messageId"] == turn["turn_id"]
    assert turn["project_id"] == "chat-1"
    finish = frames[-1]
    assert finish["type"] == "finish"
    assert finish["messageMetadata"]["session_id"] == turn["session_id"]
    assert finish["messageMetadata"]["usage"] == turn["usage"]


def test_a_chat_goes_on_and_an_edited_message_forks(served: Served) -> None:
    first = frames_of(chat(served, [user("[[count]] one")]))
    said = [user("[[count]] one"), assistant(first)]
    reply = chat(served, [*said, user("[[count]] two")])
    assert state_of(reply) == "continued"
    assert text_of(frames_of(reply)).startswith("I see 2 questions")
    edited = chat(served, [*said, user("[[count]] two, I mean")], messageId="u-two")
    assert state_of(edited) == "forked"
    assert text_of(frames_of(edited)).startswith("I see 2 questions")


def test_the_first_message_regenerated_begins_the_chat_anew(served: Served) -> None:
    frames_of(chat(served, [user("[[count]] one")]))
    again = chat(served, [user("[[count]] one")], trigger="regenerate-message")
    assert state_of(again) == "new"
    frames = frames_of(again)
    assert text_of(frames).startswith("I see 1 question")
    listed = served.get("/api/chat/chat-1/messages").json()
    assert [each["id"] for each in listed if each["role"] == "assistant"] == [
        frames[0]["messageId"]
    ]


def test_a_message_alone_goes_on_with_what_the_server_knows(served: Served) -> None:
    body = {"id": "chat-1", "message": user("[[count]] one")}
    assert state_of(served.post("/api/chat", body)) == "new"
    reply = served.post("/api/chat", {"id": "chat-1", "message": user("[[count]] two")})
    assert state_of(reply) == "continued"
    assert text_of(frames_of(reply)).startswith("I see 2 questions")


def test_an_image_is_an_attachment(served: Served) -> None:
    part = {"type": "file", "mediaType": "image/png", "url": PNG}
    assert frames_of(chat(served, [user("[[words 1]]", part)]))
    foreign = {"type": "file", "mediaType": "image/png", "url": "https://example.com/a.png"}
    refused = chat(served, [user("[[words 1]]", foreign)])
    assert refused.status_code == 400
    assert refused.headers["X-Error-Code"] == "invalid_value"


def test_a_failure_before_the_stream_is_its_sentence(served: Served) -> None:
    reply = chat(served, [user("[[fail 529]]")])
    assert reply.status_code == 503
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert reply.headers["X-Error-Code"] == "claude_overloaded"
    assert reply.headers["x-should-retry"] == "false"
    assert "{" not in reply.text


def test_a_failure_in_the_stream_is_its_error(served: Served) -> None:
    frames = frames_of(chat(served, [user("[[die]]")]))
    assert frames[-1]["type"] == "error"
    assert frames[-1]["errorText"]


def test_a_chat_that_is_answered_is_read_again_from_its_first_frame_and_stopped(
    served: Served, background: Any
) -> None:
    assert served.get("/api/chat/chat-1/stream").status_code == 204
    asked = background(chat, served, [user("[[words 4000]] [[delay 15]]")])
    wait_for(lambda: has_words(served, "chat-1"))
    with served.get("/api/chat/chat-1/stream", stream=True) as again:
        assert served.post("/api/chat/chat-1/stop", None).status_code == 204
        first, second = frames_of(asked.result()), frames_of(again)
    assert first[0]["messageId"] == second[0]["messageId"]
    assert first[-1]["type"] == second[-1]["type"] == "abort"
    assert served.get("/api/chat/chat-1/stream").status_code == 204
    assert served.post("/api/chat/chat-1/stop", None).status_code == 204


def has_words(client: Client, project: str) -> bool:
    """Whether the project's turn has begun to answer."""
    turn = client.get(f"/sessions/{project}").json().get("running_turn_id")
    return turn is not None and bool(client.get(f"/turns/{turn}").json()["message"])


def test_a_new_chat_has_no_messages(served: Served) -> None:
    reply = served.get("/api/chat/never/messages")
    assert (reply.status_code, reply.json()) == (200, [])


def test_another_owners_chat_is_not_there(serve: Any) -> None:
    keys = {name: f"{name}-" + 32 * name[0] for name in ("ann", "bob")}
    given = ",".join(f"{name}={key}" for name, key in keys.items())
    server = serve(COWORK_API_KEYS=given)
    ann, bob = (Client(server.url, key) for key in keys.values())
    first = frames_of(chat(ann, [user("[[count]] one")]))
    assert bob.get("/api/chat/chat-1/messages").json() == []
    reply = chat(bob, [user("[[count]] one"), assistant(first), user("[[count]] two")])
    assert state_of(reply) == "rebuilt"
