"""`/approvals`: what turns wait for a person to allow."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import g, request

from cowork.errors import Forbidden
from cowork.model import Approval
from cowork.turns.approvals.answers import ApprovalAnswer
from cowork.turns.approvals.approvals import Approvals, Caller
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.client_address import ClientAddresses
from cowork.web.schemas.approvals import ApprovalBody, ApprovalReply, ApprovalsQuery, ApprovalsReply
from cowork.web.schemas.problems import ProblemReply
from cowork.web.timestamps import rfc3339

# How many are looked through for those of a project or a turn.
FILTERED_LIMIT = 2000


def blueprint(approvals: Approvals, addresses: ClientAddresses) -> CoworkBlueprint:
    """The caller's own, or everybody's for those whom the operator has named."""
    routes = CoworkBlueprint("approvals", __name__, description="What a person is to allow")

    def caller() -> Caller:
        return Caller(g.owner, addresses.source(request.environ))

    @routes.get("/approvals")
    @routes.arguments(ApprovalsQuery, location="query")
    @routes.response(200, ApprovalsReply)
    def list_approvals(query: dict[str, Any]) -> dict[str, Any]:
        """Approvals that wait, oldest first; or those that were resolved, newest first."""
        pending = query["state"] == "pending"
        is_filtered = query["project"] is not None or query["turn"] is not None
        most = FILTERED_LIMIT if is_filtered else query["limit"]
        found = approvals.list(caller(), pending=pending, limit=most)
        shown = [
            approval_reply(each)
            for each in found
            if query["project"] in {None, each.project.name}
            and query["turn"] in {None, each.turn_id}
        ][: query["limit"]]
        return {"approvals": shown, "count": len(shown)}

    @routes.post("/approvals/<approval_id>")
    @routes.arguments(ApprovalBody)
    @routes.response(200, ApprovalReply)
    @routes.alt_response(403, schema=ProblemReply, description="This key may not answer")
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="Somebody else was quicker")
    @routes.alt_response(410, schema=ProblemReply, description="Nobody waits for it any more")
    def resolve_approval(body: dict[str, Any], approval_id: str) -> dict[str, Any]:
        """Allow or deny it, or answer the question; the first answer counts."""
        _check_origin()
        answer = ApprovalAnswer(
            decision=body["decision"],
            input=body["input"],
            message=body["message"],
            interrupt=body["interrupt"],
            remember=body["remember"],
            answers=body["answers"],
            permission_mode=body["permission_mode"],
        )
        return approval_reply(approvals.resolve(approval_id, caller(), answer))

    return routes


def _check_origin() -> None:
    """Refuse a page of another origin, also of one that may call: what it shows is not ours."""
    origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
    site = request.headers.get("Sec-Fetch-Site", "same-origin").strip().lower()
    is_foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    if is_foreign or site not in {"same-origin", "none"}:
        raise Forbidden("approvals are not answered from a page of another origin")


def approval_reply(approval: Approval) -> dict[str, Any]:
    """An approval as it stands; what was asked is shown while it waits."""
    done = approval.resolution
    said = {
        "id": approval.id,
        "turn_id": approval.turn_id,
        "project_id": approval.project.told_name,
        "key": approval.project.owner or None,
        "kind": approval.kind,
        "tool": approval.tool,
        "state": "pending" if done is None else "resolved",
        "input_digest": approval.input_digest,
        "subagent_id": approval.subagent_id,
        "reason": approval.reason,
        "created_at": rfc3339(approval.created),
        "expires_at": rfc3339(approval.expires),
    }
    if done is None:
        return {**said, **asked(approval.kind, approval.input, approval.suggestions)}
    return {
        **said,
        "decision": done.decision,
        "decided_by": done.by,
        "decided_at": rfc3339(done.at),
        "address": done.address,
        "applied_at": rfc3339(approval.applied) if approval.applied else None,
    }


def asked(kind: str, given: Any, suggestions: Any) -> dict[str, Any]:
    """What an approval asks, by its kind."""
    said: dict[str, Any] = {"input": given, "suggestions": list(suggestions)}
    if kind == "question":
        said["questions"] = given.get("questions", [])
    if kind == "plan":
        said["plan"] = given.get("plan")
    return said
