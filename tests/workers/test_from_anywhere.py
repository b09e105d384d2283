"""A turn, seen from anywhere: from the worker that runs it, its sister, and another machine's.

Every endpoint that reads or commands a turn or a session does the same in each of them.
"""

from __future__ import annotations

import json
import time
from random import Random

from tests.background import BackgroundCalls
from tests.serving import Client, Frame, Gunicorn, frames, joined, wait_for
from tests.workers.places import Places, begun

LONG = "[[words 60]] [[delay 15]]"
WORDS = " ".join(f"w{number}" for number in range(1, 61))
QUEUE_LIMIT = 24
CUTS = 100
GONE = {404, 410}
ENDLESS = "[[words 4000]] [[delay 15]]"


def state_of(server: Client, turn: str) -> str:
    return str(server.get(f"/turns/{turn}").json()["state"])


def events(server: Client, turn: str, **headers: str) -> list[Frame]:
    reply = server.get(f"/turns/{turn}/events", headers=headers, stream=True)
    assert reply.status_code == 200, reply.text
    return list(frames(reply))


# -- questions


def test_an_answer(via: Gunicorn, project: str, places: Places) -> None:
    reply = via.ask("[[words 5]]", project)
    assert (reply.status_code, reply.json()["message"]) == (200, "w1 w2 w3 w4 w5")
    assert reply.headers["X-Turn-ID"] == reply.json()["turn_id"]
    assert places.starts(project) == 1


def test_a_stream_comes_token_by_token_with_the_same_numbers(
    via: Gunicorn, project: str, places: Places
) -> None:
    turn, rest = begun(via, LONG, project)
    assert state_of(via, turn) == "running"  # it did not come all at once
    seen = rest()
    assert joined(seen) == WORDS
    assert seen == events(places.home, turn)
    assert seen[-1].data["success"] is True


def test_its_events_of_every_kind(via: Gunicorn, project: str) -> None:
    question = "[[tool]] [[retry 1 10]] [[words 3]]"
    seen = via.streamed(question, project, events=["tool", "status"])
    kinds = {frame.data.get("type") for frame in seen}
    assert {"turn", "status", "tool_use", "tool_result", "token", "done"} <= kinds


def test_a_question_waits_behind_another(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, LONG, project)
    with via.stream("[[say second]]", project, events=["status"]) as reply:
        coming = frames(reply)
        first = next(coming)
        assert (first.data["type"], first.data["state"]) == ("turn", "queued")
        assert state_of(via, turn) in {"running", "succeeded"}
        assert joined(list(coming)) == "second"
    assert joined(rest()) == WORDS


def test_a_busy_project_rejects(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, ENDLESS, project)
    begin = time.monotonic()
    reply = via.ask("[[say no]]", project, on_busy="reject")
    assert (reply.status_code, reply.json()["detail"]["code"]) == (409, "project_busy")
    assert time.monotonic() - begin < 10
    assert via.post(f"/turns/{turn}/interrupt").json()["state"] == "interrupted"
    rest()


def test_a_question_may_interrupt(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, ENDLESS, project)
    reply = via.ask("[[say instead]]", project, on_busy="interrupt")
    assert (reply.status_code, reply.json()["message"]) == (200, "instead")
    assert rest()[-1].data["success"] is False
    assert state_of(places.home, turn) == "interrupted"


def test_a_full_queue_says_so(via: Gunicorn, project: str, places: Places) -> None:
    _, rest = begun(places.home, ENDLESS, project)
    waiting = [via.stream("[[say next]]", project) for _ in range(QUEUE_LIMIT)]
    refused = via.ask("[[say one more]]", project)
    assert (refused.status_code, refused.json()["detail"]["code"]) == (429, "queue_full")
    assert refused.headers["Retry-After"]
    assert via.delete(f"/sessions/{project}").status_code == 200
    for reply in waiting:
        reply.close()
    rest()


def test_a_failure_has_the_same_status(via: Gunicorn, project: str) -> None:
    reply = via.ask("[[fail 529]]", project)
    assert (reply.status_code, reply.json()["detail"]["code"]) == (503, "claude_overloaded")


def test_bad_input_is_refused_before_it_is_sent_on(via: Gunicorn, project: str) -> None:
    assert via.ask("[[say hi]]", project, permission_mode="acceptEdits").status_code == 422
    assert via.ask("[[say hi]]", project, agent_type="nonesuch").status_code == 422


def test_a_large_question_arrives_whole(via: Gunicorn, project: str) -> None:
    # A megabyte, of few words: each comes back as an event.
    text = "[[count]] " + ("lang" * 25 + " ") * 10_000 + "\U0001f600 \x00 end"
    assert via.ask(text, project).json()["message"].endswith(text.removeprefix("[[count]] "))


# -- asked once


def test_a_key_is_one_question_wherever_it_comes(
    via: Gunicorn, project: str, places: Places
) -> None:
    body = {"project_name": project, "question": "[[words 4]]"}
    key = {"Idempotency-Key": f"k-{project}"}
    first = places.home.post("/ask_question", body, headers=key)
    again = via.post("/ask_question", body, headers=key)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    other = via.post("/ask_question", {**body, "question": "another"}, headers=key)
    assert (other.status_code, other.json()["detail"]["code"]) == (422, "idempotency_mismatch")


def test_ten_equal_posts_at_once_are_one_question(
    via: Gunicorn, project: str, places: Places, background: BackgroundCalls
) -> None:
    text = f"[[words 5]] [[delay 20]] ten {project}"
    body = {"project_name": project, "question": text}
    servers = [via if number % 2 else places.home for number in range(10)]

    def post(server: Gunicorn) -> tuple[int, str]:
        client = Client(server.url)
        reply = client.post("/ask_question", body, headers={"Idempotency-Key": f"t-{project}"})
        client.close()
        return reply.status_code, reply.text

    answers = [each.result() for each in [background(post, server) for server in servers]]
    assert {status for status, _ in answers} == {200}, answers
    assert len({json.loads(text)["turn_id"] for _, text in answers}) == 1
    assert len([asked for asked in places.fakes.asked if asked == text]) == 1


# -- reading


def test_a_turn_tells_its_text_so_far(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, LONG, project, tokens=2)
    wait_for(lambda: "w2" in via.get(f"/turns/{turn}").json()["message"], what="its text")
    assert via.get(f"/turns/{turn}").json()["started_at"]
    rest()
    told = via.get(f"/turns/{turn}").json()
    assert (told["state"], told["message"]) == ("succeeded", WORDS)
    assert told == places.home.get(f"/turns/{turn}").json()


def test_a_stream_that_was_cut_goes_on_exactly(via: Gunicorn, project: str, places: Places) -> None:
    reply = places.home.stream(LONG, project)
    coming = frames(reply)
    seen = [next(coming) for _ in range(20)]
    reply.close()
    turn = reply.headers["X-Turn-ID"]
    seen += events(via, turn, **{"Last-Event-ID": str(seen[-1].id)})
    assert joined(seen) == WORDS
    assert seen == events(places.home, turn)


def test_a_post_goes_on_behind_its_last_event(via: Gunicorn, project: str, places: Places) -> None:
    reply = places.home.stream(LONG, project)
    coming = frames(reply)
    seen = [next(coming) for _ in range(20)]
    reply.close()
    body = {"project_name": project, "question": LONG}
    headers = {"Last-Event-ID": str(seen[-1].id), "Accept": "text/event-stream"}
    more = via.post("/ask_question_streaming", body, headers=headers, stream=True)
    assert joined(seen + list(frames(more))) == WORDS


def test_a_place_that_is_none_is_refused(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, LONG, project)
    reply = via.get(f"/turns/{turn}/events", params={"after": "100000"})
    assert reply.status_code == 422
    rest()
    last = events(places.home, turn)[-1].id
    assert via.get(f"/turns/{turn}/events", params={"after": last}).status_code == 204


def test_a_turn_that_ended_elsewhere_is_read_whole(
    via: Gunicorn, project: str, places: Places
) -> None:
    turn = places.home.ask("[[words 6]]", project).json()["turn_id"]
    assert joined(events(via, turn)) == "w1 w2 w3 w4 w5 w6"


def test_a_ticket_is_good_everywhere(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, LONG, project)
    made = via.post(f"/turns/{turn}/ticket")
    assert made.status_code == 201
    for server in places.servers.values():
        reply = server.get(made.json()["url"], stream=True)
        assert next(frames(reply)).data["token"] == "w1 "
        reply.close()
    rest()


def test_no_turn_of_that_id(via: Gunicorn) -> None:
    assert via.get("/turns/00000000-0000-4000-8000-000000000000").status_code == 404


# -- commands


def test_a_turn_is_interrupted(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, ENDLESS, project)
    reply = via.post(f"/turns/{turn}/interrupt")
    assert reply.json() == {"success": True, "turn_id": turn, "state": "interrupted"}
    assert rest()[-1].data["success"] is False
    assert via.post(f"/turns/{turn}/interrupt").json()["state"] == "interrupted"


def test_one_that_waits_is_too(via: Gunicorn, project: str, places: Places) -> None:
    _, rest = begun(places.home, ENDLESS, project)
    reply = via.stream("[[say never]]", project)
    waiting = reply.headers["X-Turn-ID"]
    assert via.post(f"/turns/{waiting}/interrupt").json()["state"] == "interrupted"
    assert list(frames(reply))[-1].data["success"] is False
    assert via.post(f"/sessions/{project}/interrupt").json()["success"] is True
    rest()


def test_a_project_is_interrupted(via: Gunicorn, project: str, places: Places) -> None:
    nothing = via.post(f"/sessions/{project}/interrupt").json()
    assert (nothing["success"], nothing["turn_id"]) == (False, None)
    turn, rest = begun(places.home, ENDLESS, project)
    reply = via.post(f"/sessions/{project}/interrupt").json()
    assert (reply["success"], reply["turn_id"], reply["state"]) == (True, turn, "interrupted")
    assert rest()[-1].data["success"] is False


def test_a_deletion_ends_the_turn_and_leaves_nothing(
    via: Gunicorn, project: str, places: Places
) -> None:
    before = places.home.ask("[[words 3]]", project).json()["turn_id"]
    turn, rest = begun(via, ENDLESS, project)
    for server in places.servers.values():
        assert server.get(f"/turns/{before}").json()["message"] == "w1 w2 w3"
    reply = via.delete(f"/sessions/{project}")
    assert (reply.status_code, reply.json()["success"]) == (200, True)
    assert rest()[-1].data["success"] is False
    for server in places.servers.values():
        assert project not in server.get("/sessions").json()["sessions"]
        wait_for(lambda at=server: at.get(f"/turns/{before}").status_code in GONE, what="the end")
        told = server.get(f"/turns/{turn}").json()
        assert (told["state"], told["message"]) == ("interrupted", "")
    fresh = via.ask("[[count]] hello", project).json()
    assert fresh["is_new_session"] is True
    assert fresh["message"] == "I see 1 questions: hello"


def test_a_project_without_a_session_is_deleted_in_vain(via: Gunicorn) -> None:
    assert via.delete("/sessions/nobody").json()["success"] is False


def test_a_project_is_warmed_in_its_worker(via: Gunicorn, project: str, places: Places) -> None:
    assert via.post(f"/sessions/{project}/warm").status_code == 204
    assert places.starts(project) == 1
    assert places.home.ask("[[count]] x", project).json()["message"].startswith("I see 2")


# -- many


def test_twenty_questions_through_all_are_one_process_and_in_order(
    places: Places, project: str
) -> None:
    servers = list(places.servers.values())
    numbers = range(20)
    _, rest = begun(places.home, "[[words 60]] [[delay 20]]", project)
    waiting = [
        servers[number % 3].stream(f"[[say {number}]] order {project}", project)
        for number in numbers
    ]
    rest()
    answers = [joined(list(frames(reply))) for reply in waiting]
    assert answers == [str(number) for number in numbers]
    order = [text for text in places.fakes.asked if text.endswith(f"order {project}")]
    assert order == [f"[[say {number}]] order {project}" for number in numbers]
    assert places.starts(project) == 1


def test_a_hundred_streams_are_cut_and_go_on_in_a_random_worker(
    places: Places, background: BackgroundCalls
) -> None:
    dice = Random(7)  # noqa: S311
    servers = list(places.servers.values())
    projects = [places.project() for _ in range(5)]

    def cut(number: int) -> None:
        first, second = dice.choice(servers), dice.choice(servers)
        begin, end = Client(first.url), Client(second.url)
        try:
            reply = begin.stream("[[words 30]] [[delay 4]]", projects[number % 5])
            assert reply.status_code == 200, reply.text
            coming = frames(reply)
            seen = [next(coming) for _ in range(dice.randrange(1, 28))]
            reply.close()
            turn = reply.headers["X-Turn-ID"]
            seen += events(end, turn, **{"Last-Event-ID": str(seen[-1].id)})
            assert seen == events(begin, turn)
            assert joined(seen) == " ".join(f"w{n}" for n in range(1, 31))
        finally:
            begin.close()
            end.close()

    for call in [background(cut, number) for number in range(CUTS)]:
        call.result()


def test_the_workers_are_listed(places: Places, via: Gunicorn) -> None:
    told = via.get("/workers").json()
    assert told["count"] == len(told["workers"]) == len(places.servers)
    pids = {worker["pid"] for worker in told["workers"]}
    assert {pid for name in ("home", "sister") for pid in places.servers[name].workers()} <= pids
